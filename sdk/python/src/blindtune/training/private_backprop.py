"""Private backpropagation: forward on the hosts, and back through them with gradients that are hidden on the way.

Owns: what becomes of a gradient between the private model and the hosts: obfuscate, send, reconstruct. Every loop goes
through here. Must never: send a gradient as it is, unless the obfuscation is the plain one; or know a label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..arrays import F32, I64
from ..private.obfuscation import Context, Obfuscated, Obfuscation
from ..private.secret import SecretStream
from .host_group import HostGroup

Plausible = Callable[[int], Sequence[F32]]
"""k -> the gradients [B, H] of every set that the same rows would give under the k-th other labelling."""


@dataclass(frozen=True)
class PrivateBackprop:
    """A step's two halves, on all hosts."""

    group: HostGroup
    obfuscation: Obfuscation
    secret: SecretStream

    def forward(self, rows: I64, thetas: Sequence[F32], base: bool, step: int) -> tuple[list[F32], F32 | None]:
        """h_i [B, H] for every set under theta_i [P], and h_base if asked for; the hosts keep the graph."""
        return self.group.forward(rows, thetas, base, step)

    def backward(
        self, gradients: Sequence[F32], draw: tuple[str | int, ...], step: int, plausible: Plausible | None = None
    ) -> tuple[list[F32], float]:
        """dL/dtheta_i [P] for dL/dh_i [B, H], on the forward of the same step; and the largest kappa among the sets.

        `draw` names what the obfuscation draws from the secret: never the same for two gradients, always the same for
        a step that is repeated. Decoys are made of what is `plausible`.
        """
        hidden = self.hide(gradients, draw, plausible)
        table = {(i, j): tensor for i, one in enumerate(hidden) for j, tensor in enumerate(one.tensors)}
        answers = self.group.backward(table, step)
        found = [one.reconstruct([answers[(i, j)] for j in range(len(one.tensors))]) for i, one in enumerate(hidden)]
        # A gradient of zeros travels as noise like any other; what comes back is zero but for rounding.
        exact = [part if g.any() else np.zeros_like(part) for part, g in zip(found, gradients, strict=True)]
        return exact, max(one.kappa for one in hidden)

    def hide(
        self, gradients: Sequence[F32], draw: tuple[str | int, ...], plausible: Plausible | None = None
    ) -> list[Obfuscated]:
        """What becomes of dL/dh_i [B, H] of every set before it travels; arguments are those of `backward`."""
        others = None if plausible is None else cache(plausible)
        return [
            self.obfuscation.obfuscate(gradient, Context((*draw, i), self.secret, _of_set(others, i)))
            for i, gradient in enumerate(gradients)
        ]


def _of_set(others: Plausible | None, index: int) -> Callable[[int], F32] | None:
    return None if others is None else lambda k: others(k)[index]
