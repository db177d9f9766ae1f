"""What never leaves the label holder of a side run: networks and task.

Owns: their state, and what they say of taps. Must never: know a host.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arrays import F32
from ...data.taps import Taps
from ..predicting import Predicting
from ..tasks import Task
from .fit import SideModel


@dataclass
class SideHome(Predicting[Taps]):
    """Networks that were trained, and what for."""

    model: SideModel
    task: Task

    def outputs(self, inputs: Taps) -> F32:
        """The networks' mean output [N, O]."""
        return self.model.outputs(inputs)

    @property
    def parameters(self) -> dict[str, F32]:
        """Everything learned, by name."""
        return self.model.parameters()
