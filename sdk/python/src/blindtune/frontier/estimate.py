"""How long a point will take, from what the others took.

Owns: the cost model. Must never: look at a clock. A point costs `units` (row passes through the backbone) times a rate
learned from the points measured, and something fixed for evaluation and audit; a setting measured at another seed is
taken as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from ..training.protection import BLIND_METHODS
from ..training.settings import Settings
from .grid import GridPoint

FORWARD, BACKWARD = 1.0, 1.5
"""Row passes: a product with the adapters' Jacobian takes about one and a half forwards."""


def units(settings: Settings, hosts: int, rows: int) -> float:
    """Row passes through the backbone that training takes, over all hosts, for `rows` training rows."""
    if settings.method == "side":
        return rows * FORWARD
    steps = settings.steps or max(1.0, (settings.epochs or 1.0) * max(1, rows // settings.rows_per_batch))
    batch_rows = steps * min(settings.rows_per_batch, rows)
    if settings.method == "frozen":
        return min(batch_rows, float(rows)) * FORWARD
    base = FORWARD if settings.method in ("p3eft", "dc") else 0.0
    sets, shares = settings.sets, settings.shares or 1
    repeated = hosts if settings.placement == "shares" else 1  # each host runs forward for the shares it gets
    return batch_rows * (repeated * sets * FORWARD + base + sets * shares * BACKWARD)


@dataclass(frozen=True)
class Measured:
    """What one point took: training and, apart, evaluation and audit."""

    name: str
    method: str
    units: float
    training_s: float
    rest_s: float


@dataclass
class Estimator:
    """Learns from finished points; None until there is one."""

    measured: list[Measured] = field(default_factory=list)

    def add(self, one: Measured) -> None:
        """One more finished point."""
        self.measured.append(one)

    def seconds(self, point: GridPoint, settings: Settings, rows: int, done: int = 0) -> float | None:
        """Seconds that the point will still take, training and audit, when `done` steps of it are done."""
        left = 1.0 - min(1.0, done / settings.steps) if settings.steps else 1.0
        same = [left * m.training_s + m.rest_s for m in self.measured if m.name == point.name]
        if same:
            return max(same)
        if not self.measured:
            return None
        alike = [m for m in self.measured if m.method == settings.method] or self.measured
        trained = [m for m in alike if m.method not in BLIND_METHODS] or alike
        rate = median(m.training_s / max(m.units, 1.0) for m in trained)
        return left * rate * units(settings, point.hosts, rows) + max(m.rest_s for m in trained)


def clock(seconds: float | None) -> str:
    """Seconds in words: 45 s, 12 min, 1.5 h."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_budget(text: str) -> float:
    """Seconds of `90s`, `60m`, `1.5h`, or a bare number of minutes."""
    scale = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    number = text[:-1] if scale else text
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"a budget looks like 90s, 60m or 1.5h, not {text!r}") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"a budget must be above 0, not {text!r}")
    return value * (scale or 60.0)
