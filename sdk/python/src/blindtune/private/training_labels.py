"""The labels of a run's rows in every form that training uses, drawn once from the run's secret.

Owns: which form may reach what: the true ones serve the audit's score and nothing that is trained. Must never: draw a
row anew, in another epoch or after a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import I64


@dataclass(frozen=True)
class TrainingLabels:
    """Of N rows, or of a batch of them."""

    true: I64
    """As the data has them; for a regression whether above the median."""
    targets: Any
    """What the head learns: classes (flipped under `label_epsilon`), or values."""
    pseudo: I64 | None
    """What trains the adapters under pslf."""
    decoys: tuple[I64, ...]
    """Other labellings of what trains the adapters."""

    def take(self, rows: I64) -> TrainingLabels:
        """Those of a batch."""
        pseudo = None if self.pseudo is None else self.pseudo[rows]
        return TrainingLabels(self.true[rows], self.targets[rows], pseudo, tuple(decoy[rows] for decoy in self.decoys))
