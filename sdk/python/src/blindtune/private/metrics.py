"""How good guesses are: counts, rates, ranks and calibration, as scikit-learn defines them.

Owns: the formulas, over arrays. Must never: train, or know where guesses come from. What is not defined on some data
(an AUC without both sides) is None, and what divides by nothing is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import F32, F64, I64, AnyArray

BINS = 10


@dataclass(frozen=True)
class Counts:
    """Per label [C]: guesses that are right, wrong ones, and what was missed."""

    hits: I64
    false_alarms: I64
    misses: I64

    @classmethod
    def of_confusion(cls, confusion: I64) -> Counts:
        """Of a matrix [C, C] with a row for each true class and a column for each guess."""
        hits = np.diag(confusion)
        return cls(hits, confusion.sum(axis=0) - hits, confusion.sum(axis=1) - hits)

    @classmethod
    def of_sets(cls, truth: AnyArray, guess: AnyArray) -> Counts:
        """Of labels [N, C], 1 (or true) where a row has one."""
        truth, guess = truth.astype(bool), guess.astype(bool)
        pairs = (truth & guess, ~truth & guess, truth & ~guess)
        return cls(*(part.sum(axis=0).astype(np.int64) for part in pairs))

    @classmethod
    def of_spans(
        cls, truth: Sequence[Collection[Any]], guess: Sequence[Collection[Any]], names: Sequence[str]
    ) -> Counts:
        """Of the spans of each text; one is right if place and label are exactly those of a true one (as seqeval)."""
        counts = np.zeros((3, len(names)), np.int64)
        place = {name: k for k, name in enumerate(names)}
        for right, guessed in zip(map(set, truth), map(set, guess), strict=True):
            for row, spans in zip(counts, (right & guessed, guessed - right, right - guessed), strict=True):
                for span in spans:
                    row[place[span.label]] += 1
        return cls(*counts)

    @property
    def support(self) -> I64:
        """How often each label is true."""
        return self.hits + self.misses

    @property
    def precision(self) -> F64:
        """Right guesses of all guesses [C]; 0 where there are none."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> F64:
        """What was found of what is true [C]; 0 where nothing is."""
        return _ratio(self.hits, self.support)

    @property
    def f1(self) -> F64:
        """The harmonic mean of the two [C]."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    def micro(self) -> dict[str, float]:
        """Precision, recall and F1 of all labels counted together."""
        return self._named(Counts(*(part.sum(keepdims=True) for part in self._parts)), "micro")

    def macro(self) -> dict[str, float]:
        """Their means over the labels that are true or guessed somewhere."""
        occurs = np.sum(self._parts, axis=0) > 0
        return self._named(Counts(*(part[occurs] for part in self._parts)), "macro")

    @property
    def _parts(self) -> tuple[I64, I64, I64]:
        return self.hits, self.false_alarms, self.misses

    @staticmethod
    def _named(of: Counts, kind: str) -> dict[str, float]:
        found = {"precision": of.precision, "recall": of.recall, "f1": of.f1}
        return {f"{name}_{kind}": float(value.mean()) if len(value) else 0.0 for name, value in found.items()}


def confusion_matrix(truth: I64, guess: I64, classes: int) -> I64:
    """[C, C]: rows are true classes, columns guesses."""
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def auc(positive: AnyArray, score: AnyArray) -> float | None:
    """How often a positive row [N] has the higher score [N] than a negative one; a tie counts half.

    None where all rows are of one side.
    """
    positive = positive.astype(bool)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2.0)[place.ravel()]
    return float((rank[positive].sum() - ones * (ones + 1) / 2.0) / (ones * zeros))


def auc_by_label(truth: AnyArray, probabilities: AnyArray) -> list[float | None]:
    """Of every label against the rest: `truth` and `probabilities` are [N, C]."""
    return [auc(truth[:, k], probabilities[:, k]) for k in range(truth.shape[1])]


def mean_known(values: Sequence[float | None]) -> float | None:
    """The mean of those that are defined; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities are what they say, in ten bins of equal width; bins without a guess are left out."""

    error: float
    """Expected calibration error: the mean |confidence - share that is right|, weighted by rows."""
    brier: float
    """Mean squared distance of probabilities to the truth: of one column with two classes, summed over more."""
    confidence: tuple[float, ...]
    right: tuple[float, ...]
    rows: tuple[int, ...]

    @classmethod
    def of_classes(cls, probabilities: F32, labels: I64) -> Calibration:
        """Of the likeliest class: probabilities [N, C], labels [N]."""
        exact = probabilities.astype(np.float64)
        truth = np.eye(exact.shape[1])[labels]
        distance = ((exact - truth) ** 2).sum(axis=1)
        brier = distance / 2.0 if exact.shape[1] == 2 else distance
        return cls._of(exact.max(axis=1), exact.argmax(axis=1) == labels, float(brier.mean()))

    @classmethod
    def of_sets(cls, probabilities: F32, truth: AnyArray) -> Calibration:
        """Of every label of every row, as one question each: both are [N, C]."""
        exact, right = probabilities.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
        return cls._of(exact, right, float(np.mean((exact - right) ** 2)))

    @classmethod
    def _of(cls, confidence: F64, right: AnyArray, brier: float) -> Calibration:
        """Bins are (0, 0.1] to (0.9, 1]; 0 itself is in the first."""
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        rows = np.bincount(bins, minlength=BINS)
        used = rows > 0
        sure = np.bincount(bins, confidence, BINS)[used] / rows[used]
        share = np.bincount(bins, right.astype(np.float64), BINS)[used] / rows[used]
        error = float((np.abs(sure - share) * rows[used]).sum() / max(1, len(confidence)))
        return cls(error, brier, tuple(sure.tolist()), tuple(share.tolist()), tuple(rows[used].tolist()))


def regression_errors(truth: AnyArray, guess: AnyArray) -> dict[str, float]:
    """MAE, RMSE, R2 and Pearson's correlation (0 where one side does not vary) of values [N]."""
    exact, found = truth.astype(np.float64), guess.astype(np.float64)
    residual = found - exact
    spread = float(((exact - exact.mean()) ** 2).sum())
    varies = len(exact) > 1 and np.ptp(exact) > 0 and np.ptp(found) > 0
    return {
        "mae": float(np.abs(residual).mean()),
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "r2": 1.0 - float((residual**2).sum()) / spread if spread > 0 else float(not residual.any()),
        "pearson": float(np.corrcoef(exact, found)[0, 1]) if varies else 0.0,
    }


def _ratio(part: I64, whole: I64) -> F64:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
