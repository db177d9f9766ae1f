"""What never leaves the label holder of a side run: networks and task.

Owns: their state, and what they say of taps. Must never: know a host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...arrays import F32
from ...data import Dataset
from ...data.alignment import PlacedTaps
from ...data.taps import Taps
from ..evaluation import EvaluationReport
from ..predicting import Predicting
from ..tagging import Tagging
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


@dataclass
class TaggerHome(Predicting[PlacedTaps]):
    """Networks that find spans, which need to know where tokens stand."""

    model: SideModel
    task: Tagging

    def outputs(self, inputs: PlacedTaps) -> F32:
        """The networks' mean output [T, O], for all tokens."""
        return self.model.outputs(inputs.taps)

    @property
    def parameters(self) -> dict[str, F32]:
        """Everything learned, by name."""
        return self.model.parameters()

    def answers(self, inputs: PlacedTaps, names: Sequence[str]) -> list[Any]:
        """The spans of each text."""
        return self.task.decode(self.outputs(inputs), inputs.places, names)

    def report(self, inputs: PlacedTaps, data: Dataset) -> EvaluationReport:
        """Spans that match exactly, kind by kind."""
        return self.task.report_placed(self.outputs(inputs), inputs.places, data)
