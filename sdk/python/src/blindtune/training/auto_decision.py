"""What method auto found out: a score for each candidate on the same rows, which of them is the result, and why.

Owns: the comparison, its standard error, and the words for it. Must never: train, or call a run blind in which anything
but side was tried: what was sent for a candidate that lost was sent all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from ..arrays import I64
from .auto_rules import ORDER
from .protection import Protection, strength
from .settings import Settings

DECISION = "auto.json"
"""The file in a run folder of method auto."""

SCORES: Mapping[str, str] = {
    "classification": "accuracy",
    "regression": "spearman",
    "multilabel": "f1_micro",
    "tokens": "f1_micro",
}
"""What candidates are compared by, for each task."""
PARTS = 10
"""Parts of the rows that are left out in turn, for the standard error of a score that is no share of rows."""
OFFERS: Mapping[str, str] = {
    "lora": "what a host can learn of a label is bounded then (proven): accept='bounded' and label_epsilon",
    "p3eft": "its protection is a hurdle, measured and not proven: accept='hurdle'",
}


@dataclass(frozen=True)
class Candidate:
    """One method: its score with its standard error, or the reason why it was not tried."""

    method: str
    protection: Protection
    score: float | None = None
    standard_error: float | None = None
    fit: Mapping[str, Any] | None = None
    remark: str = ""

    @property
    def tried(self) -> bool:
        """Whether hosts were sent anything for it."""
        return self.score is not None

    def sentence(self, name: str) -> str:
        """In words; `name` is the score's."""
        if self.score is None:
            return f"{self.method} ({self.protection}): not tried; {self.remark}"
        return f"{self.method} ({self.protection}): {name} {self.score:.3f} +- {self.standard_error or 0.0:.3f}"


@dataclass(frozen=True)
class Decision:
    """Everything that was compared, on `rows` rows that none of the candidates was trained on."""

    score_name: str
    rows: int
    wanted: float | None
    candidates: tuple[Candidate, ...] = ()
    finished: bool = False

    @property
    def tried(self) -> tuple[Candidate, ...]:
        """Those with a score, from the strongest class of protection on."""
        return tuple(candidate for candidate in self.candidates if candidate.tried)

    @property
    def chosen(self) -> Candidate:
        """The best score; of equal ones the stronger protection."""
        return max(self.tried, key=lambda one: (one.score or 0.0, -strength(one.protection)))

    @property
    def reached(self) -> bool:
        """Whether nothing more is to be tried."""
        return bool(self.tried) and (self.wanted is None or (self.chosen.score or 0.0) >= self.wanted)

    @property
    def protection(self) -> Protection:
        """The class of all that was sent: the weakest of what was tried."""
        return max((candidate.protection for candidate in self.tried), key=strength)

    def also(self, candidate: Candidate) -> Decision:
        """With one more."""
        return replace(self, candidates=(*self.candidates, candidate))

    def over(self, settings: Settings, task: str) -> Decision:
        """Finished: with a reason for each method that was not tried."""
        known = {candidate.method: candidate for candidate in self.candidates}
        rest = {
            method: Candidate(method, needed, remark=_why_not(method, settings, task, self.reached))
            for method, needed in ORDER.items()
            if method not in known
        }
        return replace(self, candidates=tuple({**rest, **known}[method] for method in ORDER), finished=True)

    def sentences(self) -> list[str]:
        """For people: what was wanted, every candidate, and what the run is."""
        name, best = self.score_name, self.chosen
        asked = "nothing more was wanted" if self.wanted is None else f"wanted {self.wanted:.3f}"
        if self.wanted is not None:
            asked += ", reached" if self.reached else ", not reached"
        lines = [f"{name} on {self.rows} rows held out, with one standard error; {asked}"]
        lines += [candidate.sentence(name) for candidate in self.candidates]
        sent = f"; all that was sent is of class {self.protection}" if best.protection != self.protection else ""
        return [*lines, f"result: {best.method} ({best.protection}){sent}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | ({"chosen": self.chosen.method} if self.tried else {})

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Decision:
        """What `to_dict` gave."""
        known = tuple(Candidate(**candidate) for candidate in body["candidates"])
        return cls(body["score_name"], body["rows"], body["wanted"], known, body["finished"])


def standard_error(name: str, score: float, rows: int, score_of: Callable[[I64], float]) -> float:
    """Of an accuracy that of a share; of others the jackknife's over parts of the rows, with `score_of` the rest."""
    if name == "accuracy":
        return sqrt(score * (1.0 - score) / rows)
    parts = np.array_split(np.arange(rows), min(PARTS, rows))
    left = np.array([score_of(np.concatenate(_without(parts, k))) for k in range(len(parts))])
    return float(np.sqrt((len(left) - 1) / len(left) * np.sum((left - left.mean()) ** 2)))


def _without(parts: Sequence[I64], number: int) -> list[I64]:
    return [part for k, part in enumerate(parts) if k != number]


def why_it_cannot(method: str, task: str) -> str:
    """Why a candidate cannot learn a task; nothing where it can."""
    if method != "side" and task in ("multilabel", "tokens"):
        return "it learns one label for each row"
    if method == "lora" and task == "regression":
        return "label_epsilon flips classes, and a regression has none"
    return ""


def _why_not(method: str, settings: Settings, task: str, reached: bool) -> str:
    if settings.wanted is None:
        return "no more was wanted than side finds"
    if reached:
        return "what was wanted was reached without it"
    return why_it_cannot(method, task) or f"it may give more; {OFFERS[method]}"
