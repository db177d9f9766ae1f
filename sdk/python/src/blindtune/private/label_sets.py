"""Several labels at once: one yes or no for each label, by binary cross entropy.

Owns: the task's loss and answers. Must never: know where activations come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from ..arrays import F32, I64
from ..data import Dataset
from ..data.label_sets import nearest_half
from .evaluation import EvaluationReport, report_sets

THRESHOLD = 0.5
"""A label is answered from this probability on."""


@dataclass(frozen=True)
class LabelSets:
    """`labels` questions for each row. Targets [B, C] are 1 where a row has a label, 0 elsewhere."""

    kind: ClassVar[str] = "multilabel"

    labels: int

    @property
    def outputs(self) -> int:
        """One logit for each label."""
        return self.labels

    @property
    def label_count(self) -> int:
        """The labels."""
        return self.labels

    def loss(self, outputs: F32, targets: F32) -> tuple[float, F32]:
        """Binary cross entropy, the mean over rows and labels."""
        logits = outputs.astype(np.float64)
        loss = float(np.mean(np.logaddexp(0.0, logits) - targets * logits))
        return loss, np.asarray((expit(logits) - targets) / logits.size, dtype=outputs.dtype)

    def guarded(self, targets: F32) -> I64:
        """Of the label that comes nearest to half of the rows."""
        return nearest_half(targets)

    def correct(self, outputs: F32, targets: F32) -> int:
        """Rows whose labels are all right."""
        return int(np.sum(np.all((self.probabilities(outputs) >= THRESHOLD) == (targets > 0.5), axis=1)))

    def probabilities(self, outputs: F32) -> F32:
        """[B, C], each by itself: they do not add up to one."""
        return np.asarray(expit(outputs), dtype=np.float32)

    def answers(self, outputs: F32, names: Sequence[str]) -> list[Any]:
        """The names of each row's labels, in the order of `names`; none where no label is likely."""
        likely = self.probabilities(outputs) >= THRESHOLD
        return [[name for name, yes in zip(names, row, strict=True) if yes] for row in likely]

    def report(self, outputs: F32, data: Dataset) -> EvaluationReport:
        """Label by label, and rows that are right as a whole."""
        assert data.sets is not None, "data of several labels has sets"
        return report_sets(data.sets, self.probabilities(outputs), self.loss(outputs, data.sets)[0], data.label_names)
