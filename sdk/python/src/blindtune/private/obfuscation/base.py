"""What every obfuscation gives: tensors that travel, weights that stay, and a statement of what they are worth.

Owns: the interface, and reconstruction. Must never: put a weight into a request, or claim more than was measured. The
host computes J^T s for every tensor s it gets; that is linear, so sum_j w_j J^T s_j = J^T g whenever sum_j w_j s_j = g.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...arrays import F32
from ..secret import SecretStream
from .shares import Obfuscated


@dataclass(frozen=True)
class Context:
    """What an obfuscation may draw on.

    `name` names the draw (step, set): the same name and gradient give the same bytes, so a repeated step reveals no
    more. `plausible(k)` is the gradient [B, H] that the same rows would give under the k-th other labelling.
    """

    name: tuple[str | int, ...]
    secret: SecretStream
    plausible: Callable[[int], F32] | None = None


@dataclass(frozen=True)
class Statement:
    """What an obfuscation promises, and what it does not. `noise_scale` is what hides over the gradient, in size."""

    name: str
    tensors: int
    kappa: float
    noise_scale: float
    host_can: str
    precision: str
    error: float
    """Expected relative error of the reconstructed gradient."""


class Obfuscation(Protocol):
    """Hides gradients [B, H], one at a time."""

    @property
    def name(self) -> str:
        """As the setting `obfuscation` has it."""
        ...

    def obfuscate(self, gradient: F32, context: Context) -> Obfuscated:
        """Tensors that say less than `gradient` does, and the way back."""
        ...

    def statement(self, hosts: int, precision: str = "float32") -> Statement:
        """Over `hosts` hosts that share the tensors of one gradient, on a backbone of this precision."""
        ...
