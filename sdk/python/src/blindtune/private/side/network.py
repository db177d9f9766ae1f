"""What training needs of a network at home, whatever it is made of.

Owns: that interface, the shape of a network, and the noise on its inputs. Must never: know a kind of network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ...arrays import F32
from ...data.taps import Taps
from ..secret import SecretStream

HEADS = 4

Loss = Callable[[F32], tuple[float, F32]]
"""Outputs [B, O] to the batch's loss and its gradient [B, O]."""


@dataclass(frozen=True)
class Shape:
    """L levels of d features, O outputs, attention heads, and the network's own width."""

    levels: int
    features: int
    outputs: int
    heads: int = HEADS
    width: int = 32


@dataclass(frozen=True)
class Regularization:
    """What keeps a network from learning rows by heart; in training alone.

    `input_noise` is the deviation of normal noise on standardised hidden states.
    """

    dropout: float = 0.2
    input_noise: float = 0.0

    def noisy(self, taps: Taps, generator: np.random.Generator) -> Taps:
        """The taps with their noise, in float32."""
        if self.input_noise == 0:
            return taps
        deviation = np.float32(self.input_noise)
        levels = (level + deviation * generator.standard_normal(level.shape, dtype=np.float32) for level in taps.levels)
        return Taps(tuple(levels), taps.offsets)


class Network(Protocol):
    """Standardised taps of B texts to outputs [B, O]. `parameters` are float32 arrays in the order of `names`.

    Whoever trains moves them in place.
    """

    kind: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    parameters: list[F32]

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, regularization: Regularization) -> Network:
        """Drawn from the secret."""
        ...

    @classmethod
    def of(cls, parameters: list[F32]) -> Network:
        """With these parameters, to predict."""
        ...

    def outputs(self, taps: Taps) -> F32:
        """[B, O], without noise and dropout."""
        ...

    def loss_and_gradients(self, taps: Taps, loss: Loss, generator: np.random.Generator) -> tuple[float, list[F32]]:
        """The loss with noise and dropout from `generator`, and its gradients in the order of the parameters."""
        ...


class Objective(Protocol):
    """What networks are trained for: outputs [B, O] against targets [B]."""

    @property
    def outputs(self) -> int:
        """O."""
        ...

    def loss(self, outputs: F32, targets: Any) -> tuple[float, F32]:
        """The batch's loss and its gradient [B, O]."""
        ...
