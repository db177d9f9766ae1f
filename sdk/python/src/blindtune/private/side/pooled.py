"""The pooled side network: a small MLP over a few vectors of each text, which its host made of the tokens.

    x = [x_1 ... x_L],  logits = gelu(x A^T + a) W^T + c

Owns: its parameters and their exact gradients. Must never: leave the label holder's machine, or see a token. Parameters
are a flat list of float32 arrays in the order of `names`, as those of `attentive.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...arrays import F32, AnyArray
from ...data.taps import Taps
from ..secret import SecretStream
from .layers import Masks, dropped, gelu, gelu_slope
from .network import Loss, Regularization, Shape


@dataclass
class Pooled:
    """`dense.weight` [m, L d], `dense.bias` [m], `out.weight` [O, m], `out.bias` [O].

    Each of L levels has one vector for each text. Dropout is that of the inputs and of the layer, while training.
    """

    parameters: list[F32]
    regularization: Regularization = field(default_factory=Regularization)
    kind: ClassVar[str] = "pooled"
    names: ClassVar[tuple[str, ...]] = ("dense.weight", "dense.bias", "out.weight", "out.bias")

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, regularization: Regularization) -> Pooled:
        """Weights from N(0, 1 / inputs), biases zero."""

        def drawn(size: tuple[int, int], name: str) -> F32:
            return np.asarray(secret.normal(size, "pooled", name) * size[1] ** -0.5, dtype=np.float32)

        m = shape.width
        return cls(
            [
                drawn((m, shape.levels * shape.features), "dense"),
                np.zeros(m, np.float32),
                drawn((shape.outputs, m), "out"),
                np.zeros(shape.outputs, np.float32),
            ],
            regularization,
        )

    @classmethod
    def of(cls, parameters: list[F32]) -> Pooled:
        """With these parameters, to predict."""
        return cls(parameters)

    def outputs(self, taps: Taps) -> F32:
        """Logits [B, O]."""
        return self.forward(taps).logits

    def loss_and_gradients(self, taps: Taps, loss: Loss, generator: np.random.Generator) -> tuple[float, list[F32]]:
        """With noise and dropout from `generator`."""
        masks = self.masks(len(taps), generator)
        passed = self.forward(self.regularization.noisy(taps, generator), masks)
        found, gradient = loss(passed.logits)
        return found, self.backward(passed, gradient)

    def forward(self, taps: Taps, masks: Masks | None = None) -> PooledPass:
        """Logits [B, O] of B texts, with what `backward` needs; `masks` are those of dropout, none when evaluating."""
        dense, dense_bias, out, out_bias = self.parameters
        x = dropped(_one_vector_a_level(taps), None if masks is None else masks.wide)
        inner = x @ dense.T + dense_bias
        narrow = dropped(gelu(inner), None if masks is None else masks.narrow)
        return PooledPass(np.asarray(narrow @ out.T + out_bias), x, inner, narrow, masks)

    def backward(self, of: PooledPass, dlogits: F32) -> list[F32]:
        """From dL/dlogits [B, O]: dL/dparameters in their order."""
        out = self.parameters[2]
        dinner = dropped(np.asarray(dlogits @ out), None if of.masks is None else of.masks.narrow)
        dinner = dinner * gelu_slope(of.inner)
        grads = [dinner.T @ of.x, dinner.sum(axis=0), dlogits.T @ of.narrow, dlogits.sum(axis=0)]
        return [np.asarray(g, dtype=np.float32) for g in grads]

    def masks(self, rows: int, generator: np.random.Generator) -> Masks | None:
        """Dropout's masks for a batch; None without dropout."""
        return Masks.around(self.parameters[0], rows, self.regularization.dropout, generator)


@dataclass(frozen=True)
class PooledPass:
    """One forward: its logits [B, O], and what its backward needs."""

    logits: F32
    x: AnyArray = field(repr=False)
    inner: AnyArray = field(repr=False)
    narrow: AnyArray = field(repr=False)
    masks: Masks | None = None


def _one_vector_a_level(taps: Taps) -> AnyArray:
    """[B, L d]; texts of any other number of vectors are refused."""
    lengths = np.diff(taps.offsets)
    if (lengths != 1).any():
        raise ValueError(f"side pooled reads one vector a text and level, not {int(lengths.max())}")
    return np.concatenate(taps.levels, axis=1)
