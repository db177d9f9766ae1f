"""What a trained private model says, whatever its inputs are: classes, values, and how good they are.

Owns: outputs into answers. Must never: know where inputs come from.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ..arrays import F32, AnyArray
from ..data import Dataset
from ..errors import RunError
from .evaluation import EvaluationReport, guessed_otherwise
from .tasks import Regression, Task, check_kind
from .temperature import Temperature
from .thresholds import Thresholds

X = TypeVar("X")


class Predicting(ABC, Generic[X]):
    """A private model with inputs of kind X for N texts."""

    task: Task
    thresholds: Thresholds | None = None
    """From which probability on labels are said, where that was chosen; else the likeliest, or from 0.5 on."""
    temperature: Temperature | None = None
    """What outputs are divided by before they become probabilities, where that was fitted."""

    @abstractmethod
    def outputs(self, inputs: X) -> F32:
        """[N, O]."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, F32]:
        """Everything learned at home, by name."""

    @property
    def regression(self) -> bool:
        """Whether it predicts values, and not classes."""
        return isinstance(self.task, Regression)

    def deciding_by(self, thresholds: Thresholds | None) -> Predicting[X]:
        """The same model, which says labels by these thresholds."""
        other = copy.copy(self)
        other.thresholds = thresholds
        return other

    def calibrated_by(self, temperature: Temperature | None) -> Predicting[X]:
        """The same model, which is as sure as this temperature has it."""
        other = copy.copy(self)
        other.temperature = temperature
        return other

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
        return self._likely(self._scaled(self.outputs(inputs)))

    def answers(self, inputs: X, names: Sequence[str]) -> list[Any]:
        """What is predicted for each of N texts, in the words of the data: `names` are the run's labels."""
        outputs = self.outputs(inputs)
        if self.thresholds is None:
            return self.task.answers(outputs, names)  # which no temperature changes
        guess = self.thresholds.guesses(self._likely(self._scaled(outputs)))
        if guess.ndim == 1:
            return [names[int(k)] for k in guess]
        return [[name for name, yes in zip(names, row, strict=True) if yes] for row in guess]

    def values(self, inputs: X) -> F32:
        """[N] in the data's unit, of a regression."""
        assert isinstance(self.task, Regression), "only a regression predicts values"
        return self.task.values(self.outputs(inputs))

    def report(self, inputs: X, data: Dataset) -> EvaluationReport:
        """How good the predictions are on the labels or values of `data`, whose inputs these are."""
        outputs = self._scaled(self.outputs(inputs))
        found = self.task.report(outputs, data)
        if self.temperature is not None:
            found = replace(found, calibrated_by=self.temperature.used_on(data.sha256()))
        if self.thresholds is None:
            return found
        truth = data.labels if data.sets is None else data.sets
        guess = self.thresholds.guesses(self._likely(outputs))
        return guessed_otherwise(found, truth, guess, self.thresholds.used_on(data.sha256()))

    def scores(self, inputs: X, data: Dataset) -> dict[str, float]:
        """The report's numbers."""
        return self.report(inputs, data).scores

    def _scaled(self, outputs: F32) -> AnyArray:
        """The outputs that probabilities are of."""
        return outputs if self.temperature is None else self.temperature.scaled(outputs)

    def _likely(self, scaled: AnyArray) -> F32:
        return np.asarray(self.task.probabilities(scaled), dtype=np.float32)
