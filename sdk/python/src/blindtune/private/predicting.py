"""What a trained private model says, whatever its inputs are: classes, values, and how good they are.

Owns: outputs into answers. Must never: know where inputs come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Generic, TypeVar

from ..arrays import F32
from ..data import Dataset
from ..errors import RunError
from .evaluation import EvaluationReport
from .tasks import Regression, Task, check_kind

X = TypeVar("X")


class Predicting(ABC, Generic[X]):
    """A private model with inputs of kind X for N texts."""

    task: Task

    @abstractmethod
    def outputs(self, inputs: X) -> F32:
        """[N, O]."""

    @property
    def regression(self) -> bool:
        """Whether it predicts values, and not classes."""
        return isinstance(self.task, Regression)

    # Asked before inputs are asked of a host.

    def with_answers(self) -> Predicting[X]:
        """Itself; refused where it predicts values."""
        if self.regression:
            raise RunError("the run is a regression: use predict_values")
        return self

    def with_probabilities(self) -> Predicting[X]:
        """Itself; refused where there are no probabilities."""
        if self.task.kind == "tokens":
            raise RunError("the run finds spans in texts: use predict")
        return self.with_answers()

    def with_values(self) -> Predicting[X]:
        """Itself; refused where it predicts anything but values."""
        if not self.regression:
            raise RunError("the run is a classifier: use predict or predict_proba")
        return self

    def checked(self, data: Dataset) -> Predicting[X]:
        """Itself; refused where the data was read for another task."""
        check_kind(self.task, data)
        return self

    def description(self) -> dict[str, Any]:
        """What is kept as words and numbers: the task, and the unit of a regression."""
        unit = {"regression": asdict(self.task)} if isinstance(self.task, Regression) else {}
        return {"task": self.task.kind} | unit

    def probabilities(self, inputs: X) -> F32:
        """[N, C]."""
        return self.task.probabilities(self.outputs(inputs))

    def answers(self, inputs: X, names: Sequence[str]) -> list[Any]:
        """What is predicted for each of N texts, in the words of the data: `names` are the run's labels."""
        return self.task.answers(self.outputs(inputs), names)

    def values(self, inputs: X) -> F32:
        """[N] in the data's unit, of a regression."""
        assert isinstance(self.task, Regression), "only a regression predicts values"
        return self.task.values(self.outputs(inputs))

    def report(self, inputs: X, data: Dataset) -> EvaluationReport:
        """How good the predictions are on the labels or values of `data`, whose inputs these are."""
        return self.task.report(self.outputs(inputs), data)

    def scores(self, inputs: X, data: Dataset) -> dict[str, float]:
        """The report's numbers."""
        return self.report(inputs, data).scores
