"""From points to what they say: seeds together, the pareto front, the recommendation, what fails.

Owns: the judgement, in numbers. Must never: average a leak over seeds; the worst seed counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..audit.gates import for_classes
from ..training.protection import BLIND_METHODS, Protection, strength
from .point import TIERS, Point, TierLeak

GATED = (0, 1)
"""Tiers that the recommendation must pass; the others are told beside it."""
LIMIT_OF_TWO = 0.60
ABOVE_CHANCE = 4.0
"""Standard errors by which an accuracy must be above the larger class's share, to be called more than chance."""
COLLAPSE = 0.6
CONTROL_OFF = 0.05


@dataclass(frozen=True)
class Row:
    """One setting over its seeds: mean accuracy, the worst leak, mean cost."""

    name: str
    points: tuple[Point, ...]

    @property
    def first(self) -> Point:
        """A point to read the settings from."""
        return self.points[0]

    @property
    def method(self) -> str:
        """p3eft, lora, frozen, side, dc or pslf."""
        return self.first.method

    @property
    def protection(self) -> Protection:
        """The class of protection: blind, bounded, hurdle or open."""
        return self.first.protection

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were measured."""
        return tuple(point.seed for point in self.points)

    @property
    def accuracy(self) -> float:
        """Mean over seeds."""
        return sum(point.accuracy for point in self.points) / len(self.points)

    @property
    def accuracy_range(self) -> tuple[float, float]:
        """The lowest and the highest end of the seeds' intervals."""
        return min(p.accuracy_low for p in self.points), max(p.accuracy_high for p in self.points)

    @property
    def chance_accuracy(self) -> float:
        """What saying the commonest label always reaches; guessing, where a file does not say."""
        return max(p.majority if p.majority is not None else 1.0 / p.classes for p in self.points)

    @property
    def above_chance(self) -> bool:
        """Whether the accuracy is more than chance. All seeds are measured on the same rows, which count once."""
        base, rows = self.chance_accuracy, self.first.rows_dev
        return self.accuracy > base + ABOVE_CHANCE * math.sqrt(base * (1.0 - base) / max(1, rows))

    @property
    def seconds(self) -> float:
        """Mean over seeds."""
        return sum(point.seconds for point in self.points) / len(self.points)

    @property
    def megabytes(self) -> tuple[float, float]:
        """Sent and received, mean over seeds."""
        up, down = (
            sum(getattr(p, name) for p in self.points) / len(self.points) for name in ("bytes_up", "bytes_down")
        )
        return up / 1e6, down / 1e6

    @property
    def norm_ratio(self) -> float | None:
        """The smallest over seeds."""
        known = [p.norm_ratio for p in self.points if p.norm_ratio is not None]
        return min(known, default=None)

    def tier(self, tier: int) -> TierLeak | None:
        """The worst seed's leak in this tier; None where it was not attacked in any."""
        return max((p.tiers[tier] for p in self.points if tier in p.tiers), key=lambda leak: leak.score, default=None)

    def tier_range(self, tier: int) -> tuple[float, float] | None:
        """The lowest and the highest end of the seeds' intervals."""
        leaks = [p.tiers[tier] for p in self.points if tier in p.tiers]
        if not leaks:
            return None
        lows = [leak.score if leak.low is None else leak.low for leak in leaks]
        return min(lows), max(leak.score if leak.high is None else leak.high for leak in leaks)

    def worst(self, tiers: Iterable[int] = GATED) -> float | None:
        """The worst leak over these tiers; None where a tier has not been attacked."""
        leaks = [self.tier(tier) for tier in tiers if tier in expected_tiers(self.method) or self.tier(tier)]
        known = [leak.score for leak in leaks if leak is not None]
        return max(known) if known and len(known) == len(leaks) else None


@dataclass(frozen=True)
class Cost:
    """p3eft with n=2 sets and m=2 tensors per gradient against plain LoRA, as ratios."""

    name: str
    against: str
    seconds: float
    bytes_up: float
    bytes_down: float


def expected_tiers(method: str) -> tuple[int, ...]:
    """The tiers that apply: with a frozen backbone no adapter and no gradient travels."""
    return (0,) if method in BLIND_METHODS else TIERS


def summarize(points: Sequence[Point]) -> tuple[Row, ...]:
    """One row per setting, by class of protection; within a class in the order of the points."""
    by_name: dict[str, list[Point]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    rows = [Row(name, tuple(sorted(same, key=lambda p: p.seed))) for name, same in by_name.items()]
    return tuple(sorted(rows, key=lambda row: strength(row.protection)))


def best_by_class(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The most accurate row of every class that there is, from the strongest class on."""
    classes = dict.fromkeys(row.protection for row in rows)
    return tuple(max((r for r in rows if r.protection == c), key=lambda row: row.accuracy) for c in classes)


def default_limit(classes: int) -> float:
    """0.60 for two classes; a fifth of the way from guessing to knowing for more."""
    return for_classes(LIMIT_OF_TWO, classes)


def pareto(rows: Sequence[Row], tiers: Iterable[int] = GATED) -> tuple[Row, ...]:
    """Rows that no other beats in both accuracy and worst leak over `tiers`, from the least leaking on."""
    wanted = tuple(tiers)
    judged = [(leak, row) for row in rows if (leak := row.worst(wanted)) is not None]
    front: list[Row] = []
    best = -1.0
    for _, row in sorted(judged, key=lambda pair: (pair[0], -pair[1].accuracy)):
        if row.accuracy > best:
            front.append(row)
            best = row.accuracy
    return tuple(front)


def recommend(rows: Sequence[Row], limit: float) -> Row | None:
    """The most accurate setting whose tier 0 and 1 leak is at most `limit` in every seed, if it is above chance."""
    best = most_accurate(rows, limit)
    return best if best is not None and best.above_chance else None


def most_accurate(rows: Sequence[Row], limit: float) -> Row | None:
    """The most accurate setting below the limit, though it may have learned nothing."""
    passing = [row for row in rows if (leak := row.worst()) is not None and leak <= limit]
    return max(passing, key=lambda row: row.accuracy, default=None)


def least_leaking(rows: Sequence[Row]) -> Row | None:
    """The setting with the smallest tier 0 and 1 leak."""
    judged = [row for row in rows if row.worst() is not None]
    return min(judged, key=lambda row: row.worst() or 0.0, default=None)


def plain_lora(rows: Sequence[Row]) -> Row | None:
    """The yardstick: LoRA with nothing added."""
    return next((row for row in rows if row.method == "lora" and is_plain(row.first)), None)


def is_plain(point: Point) -> bool:
    """Whether nothing was added to the method: no cap, no noise, no accumulation."""
    extras = ("label_epsilon", "update_noise", "update_clip")
    return not any(point.settings.get(name) for name in extras) and point.settings.get("accumulate", 1) == 1


def costs(rows: Sequence[Row]) -> tuple[Cost, ...]:
    """Every p3eft setting with n=2 and m=2 that was trained as long as plain LoRA was, against it."""
    lora = plain_lora(rows)
    if lora is None or min(lora.seconds, *lora.megabytes) <= 0:
        return ()
    found = []
    for row in rows:
        settings = row.first.settings
        two = (settings.get("adapter_sets"), settings.get("shares")) == (2, 2)
        if row.method == "p3eft" and two and is_plain(row.first) and row.first.steps == lora.first.steps:
            ratios = (mine / its for mine, its in zip(row.megabytes, lora.megabytes, strict=True))
            found.append(Cost(row.name, lora.name, row.seconds / lora.seconds, *ratios))
    return tuple(found)


def failures(rows: Sequence[Row], limit: float) -> list[str]:
    """What does not hold, setting by setting, in words."""
    return [line for row in rows for line in _row_failures(row, limit)] + _accuracy_failures(rows)


def _row_failures(row: Row, limit: float) -> list[str]:
    if row.protection == "blind":
        return []  # nothing that depends on a label was sent; what is read there, the texts tell
    found = []
    leaks = [(tier, leak) for tier in TIERS if (leak := row.tier(tier)) is not None]
    leaking = [f"tier {tier} {leak.score:.2f} ({leak.attack})" for tier, leak in leaks if leak.score > limit]
    if leaking:
        found.append(f"{row.name}: leaks more than {limit:.2f} in {', '.join(leaking)}")
    hidden = [
        f"tier {tier} up to {leak.oracle:.2f}"
        for tier, leak in leaks
        if leak.score <= limit and leak.oracle is not None and leak.oracle > limit
    ]
    if hidden:
        found.append(
            f"{row.name}: the best attack chosen with the labels, an upper bound, finds more: {', '.join(hidden)}"
        )
    absent = [str(tier) for tier in expected_tiers(row.method) if row.tier(tier) is None]
    if absent:
        found.append(f"{row.name}: not attacked in tier {', '.join(absent)}")
    blind = sorted({name for point in row.points for name in point.evidence.get("no_claim", ())})
    if blind:
        found.append(f"{row.name}: missed the largest planted leak, so that they support no claim: {', '.join(blind)}")
    if row.norm_ratio is not None and row.norm_ratio < COLLAPSE:
        found.append(f"{row.name}: activations fell to {row.norm_ratio:.2f} of the backbone's, which hides leaks")
    off = [tier for tier, leak in leaks if leak.control is not None and leak.control > row.first.chance + CONTROL_OFF]
    if off:
        found.append(f"{row.name}: the shuffled control is above chance in tier {', '.join(map(str, off))}: few rows")
    return found


def _accuracy_failures(rows: Sequence[Row]) -> list[str]:
    frozen = next((row for row in rows if row.method == "frozen" and is_plain(row.first)), None)
    if frozen is None:
        return []
    worse = [row for row in rows if row.accuracy <= frozen.accuracy and row.method != "frozen"]
    return [
        f"{row.name}: accuracy {row.accuracy:.3f} is not above the frozen backbone's {frozen.accuracy:.3f}, which "
        "needs no gradient at all"
        for row in worse
    ]
