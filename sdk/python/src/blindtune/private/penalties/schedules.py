"""Weights of the penalty over a run: constant, ramped, or steered by what an attacker finds.

Owns: the schedule and the steering of the automatic weight. Must never: see a tensor; it is told how much leaked.

In runs of a few hundred steps the constant weight of the paper (arXiv 2412.16669) either leaks or keeps the task from
being learned: the regularizer must not win before the task has begun. A ramp leaves that to luck and to the length of
the run. The automatic weight is a thermostat: it rises while the attacks find more than they may, and falls while they
find less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEDULES = ("automatic", "ramp", "constant")

RAISE, LOWER = 1.15, 0.9
"""Factors of one look."""
MARGIN = 0.03
"""Between going up and going down. No lower: the best of dozens of attacks on 512 rows reads 0.56 on pure noise."""
LEAST, MOST = 0.25, 2.0
"""Bounds of the automatic weight, in multiples of the configured one. On SST-2 a bound of 16 kept the task from being
learned, and one of 4 cost five points of accuracy (0.807 at a tier 1 leak of 0.55)."""


@dataclass
class WeightSchedule:
    """The factor on the penalty at each step."""

    kind: str = "automatic"
    ramp_steps: int = 200
    max_leak: float = 0.6
    factor: float = 1.0
    """Of the automatic weight, now."""

    def at(self, step: int) -> float:
        """The factor at `step`, counted from 0: 0 at the start of a ramp, 1 from its end on."""
        if self.kind == "automatic":
            return self.factor
        if self.kind == "constant" or self.ramp_steps <= 0:
            return 1.0
        return min(1.0, step / self.ramp_steps)

    def look(self, leak: float) -> None:
        """Steer by what the attacks found just now."""
        if self.kind == "automatic":
            change = RAISE if leak > self.max_leak else LOWER if leak < self.max_leak - MARGIN else 1.0
            self.factor = min(MOST, max(LEAST, self.factor * change))

    def state(self) -> dict[str, float]:
        """What a resumed run needs."""
        return {"factor": self.factor}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Put back what `state` gave."""
        self.factor = float(state["factor"])
