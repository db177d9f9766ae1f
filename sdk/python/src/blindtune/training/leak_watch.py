"""Looks at what leaks while a run trains: the attacks of tiers 0 and 1 on the last rows the hosts computed.

Owns: those rows, and what follows from a look: a weight that is steered, or a run that ends. Must never: send anything,
or look at labels other than those the run trains on: under label_epsilon they are flipped, and so is what steers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..audit import LeakReport, look
from ..errors import RunError
from ..private.penalties.schedules import WeightSchedule

ROWS = 512
"""How many of the last rows a look attacks: older ones were computed with adapters of too long ago."""


class LeakError(RunError):
    """A look found more than the run may leak."""


@dataclass(frozen=True)
class Look:
    """What was found after `step` steps, under the penalty's weight of then."""

    step: int
    tiers: dict[str, float]
    weight: float
    leak: float
    """The worst of tiers 0 and 1: what the weight is steered by."""

    def record(self) -> dict[str, Any]:
        """As a line of `audits.jsonl`."""
        return {"step": self.step, "tiers": self.tiers, "weight": self.weight}


@dataclass
class LeakWatch:
    """Keeps the last rows; every so many steps there is a look, never where that is 0.

    With `stops`, a look that finds more than `max_leak` ends the run.
    """

    every: int
    classes: int
    max_leak: float
    stops: bool
    _batches: list[tuple[list[F32], F32, I64]] = field(default_factory=list, repr=False)

    @property
    def on(self) -> bool:
        """Whether it looks at all."""
        return self.every > 0

    def add(self, activations: Sequence[F32], base: F32 | None, labels: I64) -> None:
        """Keep a batch: h_i and h_base [B, H], labels [B]; forget what is older than 512 rows."""
        if not self.on or base is None:
            return
        self._batches.append(([np.asarray(h) for h in activations], np.asarray(base), np.asarray(labels)))
        while len(self._batches) > 1 and sum(len(y) for _, _, y in self._batches[1:]) >= ROWS:
            del self._batches[0]

    def due(self, step: int) -> bool:
        """Whether to look after `step` steps."""
        return self.on and step % self.every == 0 and bool(self._batches)

    def look(self, step: int, schedule: WeightSchedule) -> Look:
        """Attack the kept rows: tiers 0 and 1 without what takes long."""
        report = self._attacked()
        tiers = {str(tier): score for tier, score in report.tiers.items()}
        leak = max((report.tiers.get(tier, 0.0) for tier in (0, 1)), default=0.0)
        return Look(step, tiers, schedule.at(step), leak)

    def steer(self, found: Look, schedule: WeightSchedule) -> None:
        """End the run if it may not go on; else let the penalty's weight follow what was found."""
        if self.stops and found.leak > self.max_leak:
            raise LeakError(
                f"step {found.step}: a host can guess labels at {found.leak:.3f}, and max_leak is {self.max_leak:g}"
            )
        schedule.look(found.leak)

    def _attacked(self) -> LeakReport:
        sets = range(len(self._batches[0][0]))
        activations = [np.concatenate([batch[0][i] for batch in self._batches]) for i in sets]
        base = np.concatenate([batch[1] for batch in self._batches])
        return look(activations, base, np.concatenate([batch[2] for batch in self._batches]), self.classes)

    def state(self) -> dict[str, AnyArray]:
        """The kept rows, by name, so that a resumed run looks at the same."""
        named: dict[str, AnyArray] = {}
        for k, (activations, base, labels) in enumerate(self._batches):
            named |= {f"watch.{k}.h{i}": h for i, h in enumerate(activations)}
            named |= {f"watch.{k}.base": base, f"watch.{k}.labels": labels}
        return named

    def load_state(self, state: Mapping[str, AnyArray]) -> None:
        """Put back what `state` gave."""
        self._batches = []
        while f"watch.{len(self._batches)}.base" in state:
            k = len(self._batches)
            sets = sum(name.startswith(f"watch.{k}.h") for name in state)
            activations = [state[f"watch.{k}.h{i}"] for i in range(sets)]
            self._batches.append((activations, state[f"watch.{k}.base"], state[f"watch.{k}.labels"]))
