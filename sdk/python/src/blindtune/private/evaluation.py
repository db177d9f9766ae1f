"""What an evaluation found: scores, the confusion matrix, calibration; as a table, and as plain values.

Owns: which scores each kind of answer has, and how they are shown. Must never: leave the label holder's machine by
itself; it is made of labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..errors import RunError
from ..plots.scores import confusion_plot, labels_plot
from .metrics import Calibration, Counts, auc, auc_by_label, confusion_matrix, mean_known

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST_CONFUSION = 12
"""More classes than this are not printed as a matrix; `confusion` and `to_dict` have it."""
NAME = 24


@dataclass(frozen=True)
class LabelScores:
    """Of one label; `rows` is how often it is true. `auc` is None where it is not defined."""

    name: str
    precision: float
    recall: float
    f1: float
    rows: int
    auc: float | None = None


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that an evaluation found. `print` it, or keep `to_dict()`."""

    task: str
    """classification, regression, multilabel or tokens."""
    scores: dict[str, float]
    """What `Tuner.evaluate` gives, a number for each name. One that is not defined on these rows is not there.

    `accuracy`, `loss` (cross entropy) and `rows`; `precision`, `recall` and `f1`, `_macro` (the mean over labels that
    occur) and `_micro` (all counted together); `auc`, of the second label of two, else the mean of each against the
    rest; `ece` (calibration error) and `brier`. Of a regression `spearman`, `pearson`, `mae`, `rmse`, `r2`, and as
    accuracy the share on the right side of the median; of tokens all but `accuracy` and `loss` are of spans.
    """
    labels: tuple[LabelScores, ...] = ()
    """Label by label; none for a regression."""
    confusion: I64 | None = None
    """[C, C], a row for each true class and a column for each guess; of a classification."""
    calibration: Calibration | None = None
    """Of probabilities; None for a regression and for tokens."""
    decided_by: tuple[str, ...] = ()
    """The thresholds in use, in words; none where the likeliest label is said."""
    calibrated_by: tuple[str, ...] = ()
    """The temperature in use, in words; nothing where probabilities are as the model gives them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "task": self.task,
            "scores": dict(self.scores),
            "labels": [asdict(label) for label in self.labels],
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "decided_by": list(self.decided_by),
            "calibrated_by": list(self.calibrated_by),
        }

    def plot(self) -> Figure:
        """The confusion matrix; of several labels or of spans, precision and recall by label. Needs the extra `plot`.

        Like the report, the picture is made of labels.
        """
        if not self.labels:
            raise RunError("plot: a regression has no labels to compare; its scores are numbers: print the report")
        shown, names = f"{self.scores['rows']:.0f} rows, ", [label.name for label in self.labels]
        if self.confusion is not None:
            title = f"{shown}accuracy {self.scores['accuracy']:.2f}, F1 (macro) {self.scores['f1_macro']:.2f}"
            return confusion_plot(self.confusion, names, title)
        return labels_plot(self.labels, f"{shown}F1 (micro) {self.scores['f1_micro']:.2f}")

    def __str__(self) -> str:
        parts = [self._scores_table(), self._labels_table(), self._confusion_table(), self._calibration_table()]
        tables = ["\n".join(_aligned(part)) for part in parts if part]
        remarks = ["\n".join(said) for said in (self.decided_by, self.calibrated_by) if said]
        return "\n\n".join([*tables, *remarks])

    def _scores_table(self) -> list[list[str]]:
        rows = [[name, f"{value:.4f}"] for name, value in self.scores.items() if name != "rows"]
        return [["rows", f"{self.scores['rows']:.0f}"], *rows]

    def _labels_table(self) -> list[list[str]]:
        if not self.labels:
            return []
        with_auc = any(label.auc is not None for label in self.labels)
        table = [["label", "precision", "recall", "f1", *(["auc"] if with_auc else []), "rows"]]
        for label in self.labels:
            area = ["-" if label.auc is None else f"{label.auc:.3f}"] if with_auc else []
            rates = [f"{value:.3f}" for value in (label.precision, label.recall, label.f1)]
            table.append([label.name[:NAME], *rates, *area, str(label.rows)])
        return table

    def _confusion_table(self) -> list[list[str]]:
        if self.confusion is None or len(self.confusion) > WIDEST_CONFUSION:
            return []
        names = [label.name[:NAME] for label in self.labels]
        rows = zip(names, self.confusion.tolist(), strict=True)
        return [["true \\ guessed", *names], *([name, *map(str, row)] for name, row in rows)]

    def _calibration_table(self) -> list[list[str]]:
        if self.calibration is None:
            return []
        found = self.calibration
        bins = zip(found.confidence, found.right, found.rows, strict=True)
        return [["confidence", "right", "guesses"], *([f"{a:.3f}", f"{b:.3f}", str(n)] for a, b, n in bins)]


def report_classes(labels: I64, probabilities: F32, loss: float, names: Sequence[str]) -> EvaluationReport:
    """Of one class for each row: true labels [N], probabilities [N, C]."""
    guess = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, guess, len(names))
    counts, calibration = Counts.of_confusion(confusion), Calibration.of_classes(probabilities, labels)
    areas = auc_by_label(np.eye(len(names), dtype=bool)[labels], probabilities)
    area = auc(labels == 1, probabilities[:, 1]) if len(names) == 2 else mean_known(areas)
    scores = {"accuracy": float(np.mean(guess == labels)), "loss": loss, "rows": float(len(labels))}
    scores |= {**counts.macro(), "f1_micro": counts.micro()["f1_micro"]}
    scores |= _calibrated(area, calibration)
    return EvaluationReport("classification", scores, _by_label(counts, names, areas), confusion, calibration)


def report_sets(truth: AnyArray, probabilities: F32, loss: float, names: Sequence[str]) -> EvaluationReport:
    """Of several labels for each row: truth [N, C] of 0 and 1, probabilities [N, C]; guessed from 0.5 on.

    `accuracy` is the share of rows whose labels are all right.
    """
    guess = probabilities >= 0.5
    counts, calibration = Counts.of_sets(truth, guess), Calibration.of_sets(probabilities, truth)
    areas = auc_by_label(truth, probabilities)
    right = float(np.mean(np.all(guess == truth.astype(bool), axis=1)))
    scores = {"accuracy": right, "loss": loss, "rows": float(len(truth)), **counts.micro(), **counts.macro()}
    scores |= _calibrated(mean_known(areas), calibration)
    return EvaluationReport("multilabel", scores, _by_label(counts, names, areas), None, calibration)


def report_spans(
    truth: Sequence[Collection[Any]], guess: Sequence[Collection[Any]], scores: dict[str, float], names: Sequence[str]
) -> EvaluationReport:
    """Of spans in each text, exactly matched; `scores` are those of tokens, which come first."""
    counts = Counts.of_spans(truth, guess, names)
    found = scores | {"rows": float(len(truth)), **counts.micro(), **counts.macro()}
    return EvaluationReport("tokens", found, _by_label(counts, names, [None] * len(names)))


def guessed_otherwise(
    report: EvaluationReport, truth: AnyArray, guess: AnyArray, decided_by: tuple[str, ...]
) -> EvaluationReport:
    """The same report with other guesses than the likeliest: classes [N], or [N, C] of several labels.

    Loss, AUC and calibration are of probabilities, and stay.
    """
    names, areas = [one.name for one in report.labels], [one.auc for one in report.labels]
    if guess.ndim == 1:
        confusion = confusion_matrix(truth, guess, len(names))
        counts, right = Counts.of_confusion(confusion), guess == truth
    else:
        confusion, counts = None, Counts.of_sets(truth, guess)
        right = np.all(guess == truth.astype(bool), axis=1)
    new = {"accuracy": float(np.mean(right)), **counts.macro(), **counts.micro()}
    scores = {name: new.get(name, value) for name, value in report.scores.items()}
    labels = _by_label(counts, names, areas)
    return replace(report, scores=scores, labels=labels, confusion=confusion, decided_by=decided_by)


def _calibrated(area: float | None, calibration: Calibration) -> dict[str, float]:
    known = {} if area is None else {"auc": area}
    return known | {"ece": calibration.error, "brier": calibration.brier}


def _by_label(counts: Counts, names: Sequence[str], areas: Sequence[float | None]) -> tuple[LabelScores, ...]:
    rates = zip(names, counts.precision, counts.recall, counts.f1, counts.support, areas, strict=True)
    return tuple(LabelScores(name, float(p), float(r), float(f), int(n), a) for name, p, r, f, n, a in rates)


def _aligned(table: list[list[str]]) -> list[str]:
    """First column to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    first, rest = widths[0], widths[1:]
    return [
        "  ".join([row[0].ljust(first), *(c.rjust(w) for c, w in zip(row[1:], rest, strict=True))]) for row in table
    ]
