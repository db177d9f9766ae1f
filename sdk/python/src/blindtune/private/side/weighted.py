"""Classes that count more or less than their rows do.

Owns: the weighted loss, and the weights that make classes count the same. Must never: leave rows out or repeat them:
what is asked of a host depends on no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import F32, I64
from ..heads import cross_entropy, softmax

LEAST_PROBABILITY = 1e-12


def balanced(labels: I64, classes: int) -> tuple[float, ...]:
    """N / (C n_c) for each class, as scikit-learn has it: every class that has rows weighs the same."""
    counts = np.bincount(labels, minlength=classes)
    return tuple((len(labels) / (classes * np.maximum(counts, 1))).tolist())


@dataclass(frozen=True)
class Weighted:
    """Cross entropy in which a row counts as much as its class; `weights` [C]."""

    weights: Sequence[float]

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.weights)

    def loss(self, outputs: F32, targets: I64) -> tuple[float, F32]:
        """The mean over rows of weight times cross entropy, and its gradient [B, C]."""
        rows = np.asarray(self.weights, np.float32)[targets]
        likely = softmax(outputs)[np.arange(len(targets)), targets]
        losses = -np.log(np.maximum(likely, LEAST_PROBABILITY))
        gradient = cross_entropy(outputs, targets)[1] * rows[:, None]
        return float(np.mean(rows * losses)), np.asarray(gradient, dtype=outputs.dtype)
