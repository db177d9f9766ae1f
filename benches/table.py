"""Figures of a run: medians, spreads, ratios, and the table that is printed.

Owns: what "reached" means. Must never: drop a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sides import Sample


@dataclass(frozen=True)
class Spread:
    """Median, least and most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs: of the medians, and the median, least and most of the rounds' own."""

    of_medians: float
    by_round: Spread

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Rounds in the same order."""
        by_round = [one / other for one, other in zip(ours, theirs, strict=True)]
        return cls(statistics.median(ours) / statistics.median(theirs), Spread.of(by_round))


@dataclass(frozen=True)
class Row:
    """One comparison. `cpu` counts host, Postgres and client; `cpu_host` the host's process alone."""

    case: str
    title: str
    ours: str
    theirs: str
    wall_ours: Spread
    wall_theirs: Spread
    wall: Ratio
    cpu: Ratio
    cpu_host: Ratio
    # Largest relative difference of activations and gradients from the case's first side, of ours and of theirs.
    differs: dict[str, float]
    differs_theirs: dict[str, float]
    goal: float | None

    @property
    def verdict(self) -> str:
        """Reached when wall and all our CPU both are, by the median of the rounds' ratios."""
        if self.goal is None:
            return "no goal"
        missed = [name for name, ratio in (("wall", self.wall), ("CPU", self.cpu)) if ratio.by_round.median > self.goal]
        return f"MISSED ({', '.join(missed)})" if missed else "reached"

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Fact:
    """A figure that is not a comparison of two sides."""

    name: str
    value: float
    unit: str
    goal: float | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Reached when it is at most the goal."""
        if self.goal is None:
            return "no goal"
        return "reached" if self.value <= self.goal else "MISSED"

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Measured:
    """What a case gave: the samples of each side by round, and how far each side is from the first one."""

    samples: dict[str, list[Sample]]
    differs: dict[str, dict[str, float]]


def compare(case: tuple[str, str], names: tuple[str, str], measured: Measured, goal: float | None) -> Row:
    """The row of one comparison; `case` is its name and title."""
    ours, theirs = (measured.samples[name] for name in names)

    def ratio(pick: str) -> Ratio:
        return Ratio.of([getattr(one, pick) for one in ours], [getattr(one, pick) for one in theirs])

    return Row(
        *case,
        *names,
        wall_ours=Spread.of([one.wall for one in ours]),
        wall_theirs=Spread.of([one.wall for one in theirs]),
        wall=ratio("wall"),
        cpu=ratio("cpu_all"),
        cpu_host=ratio("cpu_main"),
        differs=measured.differs[names[0]],
        differs_theirs=measured.differs[names[1]],
        goal=goal,
    )


def render(rows: Sequence[Row], facts: Sequence[Fact], not_run: dict[str, str]) -> str:
    """The table: seconds as median (least-most), ratios as median of the rounds (least-most)."""
    lines: list[str] = []
    head = ("ours / theirs", "ours s", "theirs s", "wall", "CPU all", "CPU host", "gradients", "goal", "")
    widths = (24, 21, 21, 17, 17, 9, 10, 6, 0)
    title = ""
    for row in rows:
        if row.title != title:
            title = row.title
            lines += ["", title, _line(head, widths)]
        cells = (
            f"{row.ours} / {row.theirs}",
            _spread(row.wall_ours),
            _spread(row.wall_theirs),
            _spread(row.wall.by_round),
            _spread(row.cpu.by_round),
            f"{row.cpu_host.by_round.median:.3f}",
            f"{row.differs['G']:.1e}",
            "" if row.goal is None else f"{row.goal:.2f}",
            row.verdict,
        )
        lines.append(_line(cells, widths))
    if facts:
        lines.append("")
    for fact in facts:
        goal = "" if fact.goal is None else f"goal {fact.goal:g} {fact.unit}"
        note = f"  ({fact.note})" if fact.note else ""
        lines.append(f"{fact.name:<68}{fact.value:>10.4g} {fact.unit:<8}{goal:<16}{fact.verdict}{note}")
    lines += [f"NOT RUN: {name}: {why}" for name, why in not_run.items()]
    return "\n".join(lines).strip("\n")


def _spread(spread: Spread) -> str:
    return f"{spread.median:.3f} ({spread.least:.2f}-{spread.most:.2f})"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if place in (0, 8) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  " + " ".join(padded).rstrip()
