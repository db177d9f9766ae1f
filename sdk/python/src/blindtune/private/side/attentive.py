"""The attentive side network: a few learned attention heads on every level of a frozen backbone, and a small MLP.

    a = softmax_t(x_lt . q_lk),  z_lk = (sum_t a_t x_lt) W_l,  logits = MLP(gelu([z_11 ... z_LK]))

Owns: its parameters and their exact gradients. Must never: leave the label holder's machine, or know a host. Parameters
are a flat list of float32 arrays in the order of `names`, as those of `private.heads`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.special import erf

from ...arrays import F32, AnyArray
from ...data.taps import Taps
from ..secret import SecretStream

HEADS, WIDTH = 4, 32


@dataclass(frozen=True)
class Shape:
    """L levels of d features, K attention heads a level, m features of a head and of the hidden layer, O outputs."""

    levels: int
    features: int
    outputs: int
    heads: int = HEADS
    width: int = WIDTH


@dataclass
class Attentive:
    """`q` [L, K, d], `w` [L, d, m], `dense.weight` [m, L K m], `dense.bias` [m], `out.weight` [O, m], `out.bias` [O].

    `dropout` is that of the two layers, while training.
    """

    parameters: list[F32]
    dropout: float = 0.2
    names: ClassVar[tuple[str, ...]] = ("q", "w", "dense.weight", "dense.bias", "out.weight", "out.bias")

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, dropout: float = 0.2) -> Attentive:
        """Weights from N(0, 1 / inputs), biases zero; queries small, so that attention begins as a mean."""

        def drawn(size: tuple[int, ...], name: str, deviation: float) -> F32:
            return np.asarray(secret.normal(size, "attentive", name) * deviation, dtype=np.float32)

        levels, d, m = shape.levels, shape.features, shape.width
        wide = levels * shape.heads * m
        return cls(
            [
                drawn((levels, shape.heads, d), "q", 0.1 * d**-0.5),
                drawn((levels, d, m), "w", d**-0.5),
                drawn((m, wide), "dense", wide**-0.5),
                np.zeros(m, np.float32),
                drawn((shape.outputs, m), "out", m**-0.5),
                np.zeros(shape.outputs, np.float32),
            ],
            dropout,
        )

    @classmethod
    def of(cls, parameters: list[F32]) -> Attentive:
        """With these parameters, to predict."""
        return cls(parameters)

    def outputs(self, taps: Taps) -> F32:
        """Logits [B, O]."""
        return self.forward(taps).logits

    def loss_and_gradients(
        self, taps: Taps, loss: Callable[[F32], tuple[float, F32]], generator: np.random.Generator
    ) -> tuple[float, list[F32]]:
        """With dropout from `generator`: the loss of logits [B, O], and its gradients in the parameters' order."""
        passed = self.forward(taps, self.masks(len(taps), generator))
        found, gradient = loss(passed.logits)
        return found, self.backward(passed, gradient)

    def forward(self, taps: Taps, masks: Masks | None = None) -> Pass:
        """Logits [B, O] of B texts, with what `backward` needs; `masks` are those of dropout, none when evaluating."""
        q, w, dense, dense_bias, out, out_bias = self.parameters
        x, real = taps.padded()
        scores = np.where(real[:, None, :], q[:, None] @ x.transpose(0, 1, 3, 2), -np.inf)
        shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention = np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)
        pooled = attention @ x
        z = pooled @ w[:, None]
        flat = np.asarray(z.transpose(1, 0, 2, 3).reshape(len(taps), -1), dtype=z.dtype)
        wide = _dropped(_gelu(flat), None if masks is None else masks.wide)
        inner = wide @ dense.T + dense_bias
        narrow = _dropped(_gelu(inner), None if masks is None else masks.narrow)
        return Pass(np.asarray(narrow @ out.T + out_bias), x, attention, pooled, flat, wide, inner, narrow, masks)

    def backward(self, of: Pass, dlogits: F32) -> list[F32]:
        """From dL/dlogits [B, O]: dL/dparameters in their order."""
        _, w, dense, _, out, _ = self.parameters
        narrow, wide = (None, None) if of.masks is None else (of.masks.narrow, of.masks.wide)
        dinner = _dropped(np.asarray(dlogits @ out), narrow) * _gelu_slope(of.inner)
        dflat = _dropped(np.asarray(dinner @ dense), wide) * _gelu_slope(of.flat)
        levels, rows, heads, _ = of.pooled.shape
        dz = dflat.reshape(rows, levels, heads, -1).transpose(1, 0, 2, 3)
        dw = np.einsum("lbkd,lbkm->ldm", of.pooled, dz, optimize=True)
        dattention = (dz @ w[:, None].transpose(0, 1, 3, 2)) @ of.x.transpose(0, 1, 3, 2)
        mean = (of.attention * dattention).sum(axis=-1, keepdims=True)
        dscores = of.attention * (dattention - mean)
        dq = (dscores @ of.x).sum(axis=1)
        grads = [dq, dw, dinner.T @ of.wide, dinner.sum(axis=0), dlogits.T @ of.narrow, dlogits.sum(axis=0)]
        return [np.asarray(g, dtype=np.float32) for g in grads]

    def masks(self, rows: int, generator: np.random.Generator) -> Masks | None:
        """Dropout's masks for a batch; None without dropout."""
        if self.dropout == 0:
            return None
        keep, narrow = 1.0 - self.dropout, self.parameters[2].shape
        sizes = (rows, narrow[1]), (rows, narrow[0])
        wide, thin = (np.asarray(generator.random(size) < keep, np.float32) / np.float32(keep) for size in sizes)
        return Masks(wide, thin)


@dataclass(frozen=True)
class Masks:
    """Dropout of the two layers: 0, or 1 / (1 - p)."""

    wide: F32
    narrow: F32


@dataclass(frozen=True)
class Pass:
    """One forward: its logits [B, O], and what its backward needs."""

    logits: F32
    x: F32
    attention: AnyArray = field(repr=False)
    pooled: AnyArray = field(repr=False)
    flat: AnyArray = field(repr=False)
    wide: AnyArray = field(repr=False)
    inner: AnyArray = field(repr=False)
    narrow: AnyArray = field(repr=False)
    masks: Masks | None = None


def _gelu(x: AnyArray) -> F32:
    return np.asarray(0.5 * x * (1.0 + erf(x * 2.0**-0.5)), dtype=np.float32)


def _gelu_slope(x: AnyArray) -> F32:
    density = np.exp(-0.5 * x * x) * (2.0 * np.pi) ** -0.5
    return np.asarray(0.5 * (1.0 + erf(x * 2.0**-0.5)) + x * density, dtype=np.float32)


def _dropped(x: AnyArray, mask: F32 | None) -> AnyArray:
    return x if mask is None else x * mask
