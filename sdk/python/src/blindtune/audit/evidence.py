"""What stands beside the leaks of a report: whether the attacks could have seen one, what was not looked at, what is
proven.

Owns: the values, and how they read. Must never: measure; gates.py, channels.py, support.py and dose.py do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Literal, TypeAlias

from .share_bound import ShareBound

Status: TypeAlias = Literal["measured", "not measured", "never sent", "same for any labels"]
STANDARD_ERRORS = 4.0


@dataclass(frozen=True)
class DoseCurve:
    """How well one attack reads labels that were planted in label-free tensors, by the size of what was planted.

    `doses` are sizes over the tensors' own, ascending; `scores` lie in [1/C, 1]; `rows` were attacked.
    """

    attack: str
    tier: int
    doses: tuple[float, ...]
    scores: tuple[float, ...]
    rows: int
    classes: int

    @property
    def threshold(self) -> float:
        """Four standard errors of an AUC over so many rows above chance."""
        chance = 1.0 / self.classes
        return min(0.99, chance + STANDARD_ERRORS * 2.0 * (1.0 - chance) / sqrt(3.0 * self.rows))

    @property
    def seen_from(self) -> float | None:
        """The least dose from which on the attack sees what was planted; None where it misses the largest."""
        least = None
        for dose, score in zip(reversed(self.doses), reversed(self.scores), strict=True):
            if score < self.threshold:
                break
            least = dose
        return least

    @property
    def supports_a_claim(self) -> bool:
        """Whether a low reading of this attack means anything."""
        return self.seen_from is not None


@dataclass(frozen=True)
class Verdict:
    """One gate: its limit, what was measured, and whether it held; None where nothing was measured."""

    gate: str
    limit: float
    value: float | None
    passed: bool | None

    def sentence(self) -> str:
        """In words."""
        if self.value is None:
            return f"{self.gate} at most {self.limit:.2f}: not measured"
        return f"{self.gate} at most {self.limit:.2f}: {'pass' if self.passed else 'FAIL'} ({self.value:.3f})"


@dataclass(frozen=True)
class Channel:
    """A way to a host: whether it was looked at, and by what, or why not."""

    name: str
    status: Status
    remark: str

    def sentence(self) -> str:
        """In words."""
        return f"{self.name}: {self.status} ({self.remark})"


@dataclass(frozen=True)
class Support:
    """One share over all steps, in shares of 1. `rank` are the least and the largest of some steps, of `rows` rows."""

    name: str
    zeros: float
    """Entries that are exactly zero."""
    repeats: float
    """Rows that are bit for bit another row of the same step."""
    rank: tuple[int, int]
    rows: int
    norm_ratio: float
    """The longest row over the median one, the mean over steps."""

    def sentence(self) -> str:
        """In words."""
        low, high = self.rank
        return (
            f"{self.name}: {self.zeros:.1%} zeros, {self.repeats:.1%} repeated rows, rank {low} to {high} of "
            f"{self.rows} rows, longest row {self.norm_ratio:.1f} times the median"
        )


@dataclass(frozen=True)
class Evidence:
    """All of it for one audit; empty where nothing but attacks was asked for."""

    doses: tuple[DoseCurve, ...] = ()
    gates_sha256: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    channels: tuple[Channel, ...] = ()
    support: tuple[Support, ...] = ()
    share_bound: ShareBound | None = None
    shares_measured: float | None = None
    """The best attack on the shares that `share_bound` is about."""
    restarts: int = field(default=1)
    """How many starts the random attacks had; the best one counts."""

    @property
    def no_claim(self) -> tuple[str, ...]:
        """Attacks that missed the largest planted leak: what they read supports no claim."""
        return tuple(curve.attack for curve in self.doses if not curve.supports_a_claim)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        bound = None if self.share_bound is None else self.share_bound.to_dict()
        curves = [asdict(c) | {"seen_from": c.seen_from, "threshold": c.threshold} for c in self.doses]
        return {
            "doses": curves,
            "no_claim": list(self.no_claim),
            "gates": {"sha256": self.gates_sha256, "verdicts": [asdict(v) for v in self.verdicts]},
            "channels": [asdict(c) for c in self.channels],
            "support": [asdict(s) for s in self.support],
            "share_bound": bound,
            "restarts": self.restarts,
        }

    def lines(self) -> list[str]:
        """For people: what is proven, the gates, the attacks that support no claim, and what was not looked at."""
        bound = () if self.share_bound is None else self.share_bound.sentences(self.shares_measured)
        gates = f"Gates fixed before the run ({(self.gates_sha256 or '')[:12]}):"
        measured, rest = _parted(self.channels)
        return [
            *_under("Shares:", bound),
            *_under(gates, [v.sentence() for v in self.verdicts]),
            *_under("Shape of what was sent:", [s.sentence() for s in self.support]),
            *_under("Planted leaks:", self._dose_lines()),
            *_under("Channels looked at:", measured),
            *_under("Channels not looked at:", rest),
        ]

    def _dose_lines(self) -> list[str]:
        if not self.doses:
            return []
        largest, seen = max(self.doses[0].doses), len(self.doses) - len(self.no_claim)
        line = f"{seen} of {len(self.doses)} attacks see a planted leak {largest:g} times the tensors' size"
        blind = ", ".join(self.no_claim)
        return [line, *([f"support no claim, since they miss it: {blind}"] if blind else [])]


def _parted(channels: Sequence[Channel]) -> tuple[list[str], list[str]]:
    measured = [c.sentence() for c in channels if c.status == "measured"]
    return measured, [c.sentence() for c in channels if c.status != "measured"]


def _under(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  - {line}" for line in lines)] if lines else []
