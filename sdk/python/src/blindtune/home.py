"""What never leaves the label holder: the head, the mixing weights, the loss, and one step of their calculus.

Owns: dL/dh_i for every adapter set. Must never: know a host, or anything about HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import F32, I64
from .heads import Head, cross_entropy, make_head, softmax
from .mixing import Mixing
from .regularizers import RegularizerWeights, regularize
from .secret import SecretStream
from .settings import Settings


@dataclass(frozen=True)
class HomeStep:
    """What one batch gives: the losses, and the gradients of their sum."""

    task_loss: float
    regularizer_loss: float
    correct: int
    activation_gradients: list[F32]
    """dL/dh_i, [B, H] for every set: secret until split."""
    head_gradients: list[F32]

    @property
    def loss(self) -> float:
        """Cross entropy plus the weighted regularizers."""
        return self.task_loss + self.regularizer_loss


@dataclass
class Home:
    """The private part of the model."""

    mixing: Mixing
    head: Head
    classes: int
    regularizer: RegularizerWeights

    @classmethod
    def fresh(cls, settings: Settings, hidden: int, classes: int, secret: SecretStream) -> Home:
        """Drawn from the run's secret: the host cannot guess it from the job's seed."""
        mixing = Mixing.antisymmetric(settings.adapter_sets, hidden, secret, settings.mult_std)
        return cls(mixing, make_head(settings.head, hidden, classes, secret), classes, settings.regularizer())

    def step(self, activations: Sequence[F32], base: F32 | None, labels: I64, step: int) -> HomeStep:
        """Loss and gradients for one batch: h_i and base are [B, H], labels [B]; `step` counts from 0 for the ramp."""
        h = self.mixing.mix(activations)
        logits = self.head.forward(h)
        task_loss, dlogits = cross_entropy(logits, labels)
        dh, head_gradients = self.head.backward(h, dlogits)
        weights = self.regularizer.at(step)
        penalty, from_penalty = regularize(activations, base, labels, self.classes, weights)
        gradients = [a + b for a, b in zip(self.mixing.backward(dh), from_penalty, strict=True)]
        correct = int(np.sum(logits.argmax(axis=1) == labels))
        return HomeStep(task_loss, penalty, correct, gradients, head_gradients)

    def probabilities(self, activations: Sequence[F32]) -> F32:
        """[B, C] for h_i [B, H]."""
        return softmax(self.head.forward(self.mixing.mix(activations)))
