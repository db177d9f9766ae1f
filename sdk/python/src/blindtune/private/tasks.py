"""What the head is to learn: classes, or a number. The loss, its gradient, and how good a guess is.

Owns: losses and scores. Must never: know where activations come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy.stats import spearmanr

from ..arrays import F32, F64, I64
from ..data import Dataset
from ..errors import RunError
from .evaluation import EvaluationReport, report_classes
from .heads import cross_entropy, softmax
from .label_privacy import corrected_cross_entropy
from .metrics import regression_errors

LEAST_PROBABILITY = 1e-12


class Task(Protocol):
    """Outputs [B, O] of the head against targets [B]: class numbers, or values."""

    kind: ClassVar[str]
    """What `Dataset.task` is for it."""

    @property
    def outputs(self) -> int:
        """How many outputs the head has."""
        ...

    @property
    def label_count(self) -> int:
        """How many label names its data has."""
        ...

    def loss(self, outputs: F32, targets: Any) -> tuple[float, F32]:
        """The mean loss of the batch and its gradient [B, O]."""
        ...

    def guarded(self, targets: Any) -> I64:
        """The labels [B] that regularizers hide and audits look for."""
        ...

    def correct(self, outputs: F32, targets: Any) -> int:
        """How many rows are on the right side."""
        ...

    def probabilities(self, outputs: F32) -> F32:
        """[B, C]; refused of a regression."""
        ...

    def answers(self, outputs: F32, names: Sequence[str]) -> list[Any]:
        """What is predicted of each row, in the words of the data."""
        ...

    def report(self, outputs: F32, data: Dataset) -> EvaluationReport:
        """How good outputs [N, O] are on these rows, which `check_kind` lets through."""
        ...


@dataclass(frozen=True)
class Classification:
    """`classes` classes by cross entropy; with `transition` [C, C] the targets are flipped labels, and it corrects."""

    kind: ClassVar[str] = "classification"

    classes: int
    transition: F64 | None = None

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return self.classes

    @property
    def label_count(self) -> int:
        """The classes."""
        return self.classes

    def loss(self, outputs: F32, targets: I64) -> tuple[float, F32]:
        """Cross entropy, corrected for the flips where there are any."""
        if self.transition is None:
            return cross_entropy(outputs, targets)
        return corrected_cross_entropy(outputs, targets, self.transition)

    def guarded(self, targets: I64) -> I64:
        """The classes themselves."""
        return targets

    def correct(self, outputs: F32, targets: I64) -> int:
        """Rows whose largest logit is the target's."""
        return int(np.sum(outputs.argmax(axis=1) == targets))

    def probabilities(self, outputs: F32) -> F32:
        """The softmax of the logits."""
        return softmax(outputs)

    def answers(self, outputs: F32, names: Sequence[str]) -> list[Any]:
        """The name of the likeliest class of each row."""
        return [names[int(k)] for k in outputs.argmax(axis=1)]

    def report(self, outputs: F32, data: Dataset) -> EvaluationReport:
        """On true labels, whatever was trained on."""
        probabilities, labels = softmax(outputs), data.labels
        likely = probabilities[np.arange(len(labels)), labels]
        loss = float(-np.log(np.maximum(likely, LEAST_PROBABILITY)).mean())
        return report_classes(labels, probabilities, loss, data.label_names)


@dataclass(frozen=True)
class Regression:
    """One number by squared error. `mean`, `spread` (standard deviation) and `median` are those of the training values.

    The head predicts (value - mean) / spread; losses are in that unit, errors in the values' own.
    """

    kind: ClassVar[str] = "regression"

    mean: float
    spread: float
    median: float

    @classmethod
    def of(cls, values: F32) -> Regression:
        """Of the training values [N]."""
        exact = values.astype(np.float64)
        return cls(float(exact.mean()), float(exact.std()) or 1.0, float(np.median(exact)))

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def label_count(self) -> int:
        """Two halves."""
        return 2

    def loss(self, outputs: F32, targets: F32) -> tuple[float, F32]:
        """The mean squared error in units of the spread."""
        residual = outputs[:, 0].astype(np.float64) - (targets.astype(np.float64) - self.mean) / self.spread
        gradient = (2.0 / len(residual)) * residual[:, None]
        return float(np.mean(residual**2)), np.asarray(gradient, dtype=outputs.dtype)

    def guarded(self, targets: F32) -> I64:
        """1 above the training median, 0 elsewhere."""
        return (np.asarray(targets) > self.median).astype(np.int64)

    def correct(self, outputs: F32, targets: F32) -> int:
        """Rows whose prediction is on the target's side of the training median."""
        return int(np.sum(self.guarded(self.values(outputs)) == self.guarded(targets)))

    def values(self, outputs: F32) -> F32:
        """Predicted values [B] in the data's unit."""
        return np.asarray(outputs[:, 0] * self.spread + self.mean, dtype=np.float32)

    def scores(self, outputs: F32, values: F32) -> dict[str, float]:
        """Rank and linear correlation (0 when undefined), errors in the data's unit, R2, and the right side's share."""
        guess = self.values(outputs).astype(np.float64)
        varied = len(values) > 1 and np.ptp(guess) > 0 and np.ptp(values) > 0
        return {
            "spearman": float(spearmanr(guess, values).statistic) if varied else 0.0,
            "accuracy": self.correct(outputs, values) / len(values),
            "loss": self.loss(outputs, values)[0],
            "rows": float(len(values)),
            **regression_errors(values, guess),
        }

    def probabilities(self, outputs: F32) -> F32:  # noqa: ARG002
        """There are none."""
        raise RunError("the run is a regression: use predict_values")

    def answers(self, outputs: F32, names: Sequence[str]) -> list[Any]:  # noqa: ARG002
        """The values; `names` are those of halves."""
        return [float(value) for value in self.values(outputs)]

    def report(self, outputs: F32, data: Dataset) -> EvaluationReport:
        """Scores alone: there are no classes."""
        assert data.values is not None, "a regression's data has values"
        return EvaluationReport(self.kind, self.scores(outputs, data.values))


def check_kind(task: Task, data: Dataset) -> None:
    """Refuse data that was read for another task, or has another number of labels."""
    if data.task != task.kind:
        raise RunError(f"the run is a {task.kind}: read the data with task={task.kind!r}, not {data.task!r}")
    if data.classes != task.label_count:
        advice = "read the data with label_names=tuner.label_names"
        raise RunError(f"the run knows {task.label_count} labels and the data {data.classes}: {advice}")


def exchange_labels(dlogits: F32, labels: I64, other: I64) -> F32:
    """dL/dlogits [B, C] had the rows `other` labels and the model been as sure of them: two entries of a row change."""
    rows, exchanged = np.arange(len(labels)), dlogits.copy()
    exchanged[rows, labels], exchanged[rows, other] = dlogits[rows, other], dlogits[rows, labels]
    return exchanged
