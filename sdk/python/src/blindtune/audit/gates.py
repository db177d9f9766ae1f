"""What a run must stay below, fixed before it starts.

Owns: the bounds, their hash, and the verdict on a report. Must never: be chosen after a report was seen; the trainer
writes the gates to the run folder before the first step, and an audit holds the run to those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .evidence import Verdict
from .report import LeakReport

COUNTED = (0, 1, 2)
"""Tiers whose controls are averages over eight shuffles of many rows; those of the others are luck to a larger part."""


@dataclass(frozen=True)
class Gates:
    """The largest leak allowed, by tier, and of attacks on shuffled labels; None asks for nothing.

    Leaks are those of two classes, in [1/2, 1]; for C classes a bound lies as far between guessing and knowing.
    """

    tier0: float | None = 0.60
    tier1: float | None = 0.60
    tier2: float | None = 0.60
    tier3: float | None = None
    tier4: float | None = None
    control: float | None = 0.60
    """What the same attacks may read on shuffled labels: above it, there are too few rows to say anything."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not 0.5 <= value <= 1.0:
                raise ValueError(f"gates: {one.name} must be in [0.5, 1] or None, not {value}")

    @property
    def sha256(self) -> str:
        """Names these bounds."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the hash."""
        return asdict(self) | {"sha256": self.sha256}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Gates:
        """From `to_dict`; a hash that is not that of the bounds is refused."""
        bounds = {one.name: body[one.name] for one in fields(cls)}
        gates = cls(**bounds)
        if gates.sha256 != body["sha256"]:
            raise ValueError("gates: the bounds were changed after they had been fixed (their hash is another)")
        return gates

    def judge(self, report: LeakReport) -> tuple[Verdict, ...]:
        """Every bound against the report. A tier that was not attacked has no value, and is no pass."""
        found = []
        for one in fields(self):
            bound = getattr(self, one.name)
            if bound is None:
                continue
            limit = for_classes(bound, report.classes)
            controls = (f.control for f in report.findings if not f.picked_with_labels and f.tier in COUNTED)
            value = _worst(controls) if one.name == "control" else report.tiers.get(int(one.name[-1]))
            found.append(Verdict(one.name, limit, value, None if value is None else value <= limit))
        return tuple(found)


def for_classes(bound: float, classes: int) -> float:
    """A bound of two classes, as far between guessing and knowing for `classes` of them."""
    chance = 1.0 / classes
    return chance + (bound - 0.5) / 0.5 * (1.0 - chance)


def _worst(values: Iterable[float]) -> float | None:
    return max(values, default=None)
