"""From which probability on a label is said: chosen on rows with labels, and used for predictions from then on.

Owns: the choice, over arrays, and what it makes of probabilities. Must never: be made on the rows that are reported, or
ask for anything: it is made of labels.

A threshold lies in the middle between the lowest probability at which the label is said and the highest at which it is
not: no row of the choice depends on the last bits of a host's answer. Rows closer together than `RESOLUTION` are said
together. Every such place is tried, also below all rows. Which one is taken:

    best F1          the highest F1, of equal ones the higher recall
    recall >= r      the highest precision, of equal ones the higher recall
    precision >= p   the highest recall, of equal ones the higher precision; refused with the best there is where none
                     reaches p

No row with the label: refused, since neither rate is defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

import numpy as np

from ..arrays import F32, F64, I64, AnyArray
from ..data.dataset import listed
from ..errors import RunError

RESOLUTION = 1e-6
"""Probabilities that are no further apart are one: a host's rounding moves them as far."""
USUAL = 0.5
"""Of a label that has no threshold of its own."""
ROUNDING = 1e-12


class ThresholdError(RunError, ValueError):
    """A threshold that cannot be chosen; the message says why, and what can be."""


@dataclass(frozen=True)
class Demand:
    """What a threshold is chosen for: the best F1, or one of two rates of which a threshold must reach so much."""

    recall: float | None = None
    precision: float | None = None

    def __post_init__(self) -> None:
        if self.recall is not None and self.precision is not None:
            raise ThresholdError("recall and precision: demand one of them; the other is made as high as it goes")
        for name, value in (("recall", self.recall), ("precision", self.precision)):
            if value is not None and not 0.0 < value <= 1.0:
                raise ThresholdError(f"{name} {value:g}: a share above 0, and 1 at most")

    def __str__(self) -> str:
        if self.recall is not None:
            return f"recall >= {self.recall:g}"
        return "best F1" if self.precision is None else f"precision >= {self.precision:g}"


@dataclass(frozen=True)
class Threshold:
    """The label in `column` of the probabilities is said from `value` on; the rates are on the rows of the choice."""

    label: str
    column: int
    value: float
    chosen_for: str
    """The demand, in words."""
    precision: float
    recall: float
    f1: float
    rows: int
    positive_rows: int
    data_sha256: str = ""
    """Of the rows it was chosen on."""

    def __str__(self) -> str:
        rates = f"precision {self.precision:.3f}, recall {self.recall:.3f}, F1 {self.f1:.3f}"
        where = f"{self.rows} rows, {self.positive_rows} with the label"
        return f"{self.label} is said from probability {self.value:.4g} on ({self.chosen_for}): {rates} on {where}"


@dataclass(frozen=True)
class Thresholds:
    """Those of a run: the one of the positive label of two, or of several labels one each. `print` it."""

    task: str
    """classification or multilabel."""
    of_labels: tuple[Threshold, ...]

    NOTE: ClassVar[str] = "chosen on these rows, so scores on them are a little too good: report others"

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Thresholds:
        """What `to_dict` gave."""
        return cls(body["task"], tuple(Threshold(**one) for one in body["thresholds"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"task": self.task, "thresholds": [asdict(one) for one in self.of_labels]}

    def also(self, others: Thresholds) -> Thresholds:
        """With those of more labels; of one that both have, that of `others`."""
        new = {one.column for one in others.of_labels}
        every = [*(one for one in self.of_labels if one.column not in new), *others.of_labels]
        return Thresholds(self.task, tuple(sorted(every, key=lambda one: one.column)))

    def used_on(self, data_sha256: str) -> tuple[str, ...]:
        """What is said of a report that they decide in; on rows that one was chosen on, that it is too good."""
        said = [f"{one.label} is said from probability {one.value:.4g} on ({one.chosen_for})" for one in self.of_labels]
        known = any(one.data_sha256 == data_sha256 for one in self.of_labels)
        return (*said, *([self.NOTE] if known else []))

    def guesses(self, probabilities: F32) -> AnyArray:
        """Of two classes the class [N] of each row, of several labels which [N, C] it has; probabilities [N, C]."""
        exact = probabilities.astype(np.float64)
        if self.task == "classification":
            (one,) = self.of_labels
            return np.where(exact[:, one.column] >= one.value, one.column, 1 - one.column)
        least = np.full(exact.shape[1], USUAL)
        for one in self.of_labels:
            least[one.column] = one.value
        return np.asarray(exact >= least)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.of_labels), self.NOTE])


def choose(probabilities: F32, truth: AnyArray, labels: Mapping[int, str], demand: Demand) -> tuple[Threshold, ...]:
    """A threshold for each of `labels`, names by column; probabilities [N, C], truth [N, C] of 0 and 1.

    All that are refused are named at once.
    """
    found, refused = [], []
    for column, name in labels.items():
        scores, positive = probabilities[:, column].astype(np.float64), truth[:, column].astype(bool)
        try:
            value, hits, said = _best(scores, positive, demand, name)
        except ThresholdError as error:
            refused.append(str(error))
            continue
        total = int(positive.sum())
        one = Threshold(
            label=name,
            column=column,
            value=value,
            chosen_for=str(demand),
            precision=hits / said,
            recall=hits / total,
            f1=2 * hits / (said + total),
            rows=len(scores),
            positive_rows=total,
        )
        found.append(one)
    if refused:
        raise ThresholdError("; ".join(refused))
    return tuple(found)


def _best(scores: F64, positive: AnyArray, demand: Demand, name: str) -> tuple[float, int, int]:
    """The threshold of one label, and how many rows of it are right and said."""
    total = int(positive.sum())
    if not total:
        raise ThresholdError(f"none of the {len(scores)} rows has the label {name}: choose on rows that have it")
    values, hits, said = _cuts(scores, positive)
    recall, precision = hits / total, hits / said
    if demand.recall is not None:
        allowed, order = recall >= demand.recall - ROUNDING, (recall, precision)
    elif demand.precision is not None:
        allowed, order = precision >= demand.precision - ROUNDING, (precision, recall)
    else:
        allowed, order = np.ones(len(values), bool), (recall, 2 * hits / (said + total))
    if not allowed.any():
        best = int(np.lexsort((recall, precision))[-1])
        reached = f"the highest is {precision[best]:.3f}, with recall {recall[best]:.3f}"
        raise ThresholdError(f"no threshold for {name} has {demand} on these {len(scores)} rows; {reached}")
    places = np.flatnonzero(allowed)
    best = int(places[np.lexsort(tuple(part[places] for part in order))[-1]])
    return float(values[best]), int(hits[best]), int(said[best])


def _cuts(scores: F64, positive: AnyArray) -> tuple[F64, I64, I64]:
    """Every place where a threshold can be, from the highest down: its value, and how many rows are right and said."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    below = np.append(falling[1:], 0.0)
    apart = falling - below > RESOLUTION
    apart[-1] = True
    hits, said = np.cumsum(positive[order]), np.arange(1, len(scores) + 1)
    return ((falling + below) / 2.0)[apart], hits[apart], said[apart]


def columns(task: str, names: Sequence[str], positive: str | None) -> dict[int, str]:
    """The labels to choose for, by column; `names` are the run's. Refused where the task has no such choice."""
    if task not in ("classification", "multilabel"):
        raise ThresholdError(f"the run is of task {task}: only labels with probabilities have thresholds")
    if task == "classification" and len(names) != 2:
        advice = "a run with more takes the likeliest; several labels for a row are task multilabel"
        raise ThresholdError(f"the run knows {len(names)} labels: a threshold is for one of two; {advice}")
    if positive is None:
        if task == "classification":
            raise ThresholdError(f"say which label is the positive one: {' or '.join(names)}")
        return dict(enumerate(names))
    if positive not in names:
        raise ThresholdError(f"there is no label {positive!r}{_meant(positive, names)}")
    return {list(names).index(positive): positive}


def _meant(name: str, names: Sequence[str]) -> str:
    lower = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), list(lower), n=1)
    if near:
        return f"; did you mean {lower[near[0]]}?"
    return f"; there are {listed(names)}"
