"""The attentive side network: a few learned attention heads on every level of a frozen backbone, and a small MLP.

    a = softmax_t(x_lt . q_lk),  z_lk = (sum_t a_t x_lt) W_l,  logits = MLP(gelu([z_11 ... z_LK]))

Owns: its parameters and their exact gradients. Must never: leave the label holder's machine, or know a host. Parameters
are a flat list of float32 arrays in the order of `names`, as those of `private.heads`.
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
from .segments import Segments


@dataclass
class Attentive:
    """`q` [L, K, d], `w` [L, d, m], `dense.weight` [m, L K m], `dense.bias` [m], `out.weight` [O, m], `out.bias` [O].

    K heads of m features on each of L levels. Dropout is that of the two layers, while training.
    """

    parameters: list[F32]
    regularization: Regularization = field(default_factory=Regularization)
    kind: ClassVar[str] = "attentive"
    names: ClassVar[tuple[str, ...]] = ("q", "w", "dense.weight", "dense.bias", "out.weight", "out.bias")

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, regularization: Regularization) -> Attentive:
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
            regularization,
        )

    @classmethod
    def of(cls, parameters: list[F32]) -> Attentive:
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

    def forward(self, taps: Taps, masks: Masks | None = None) -> Pass:
        """Logits [B, O] of B texts, with what `backward` needs; `masks` are those of dropout, none when evaluating."""
        q, w, dense, dense_bias, out, out_bias = self.parameters
        texts = Segments.of(taps)
        read = [Level.read(level, texts, q[k], w[k]) for k, level in enumerate(taps.levels)]
        flat = np.stack([level.pooled(texts) for level in read], axis=1).reshape(len(taps), -1)
        wide = dropped(gelu(flat), None if masks is None else masks.wide)
        inner = wide @ dense.T + dense_bias
        narrow = dropped(gelu(inner), None if masks is None else masks.narrow)
        return Pass(np.asarray(narrow @ out.T + out_bias), texts, read, flat, wide, inner, narrow, masks)

    def backward(self, of: Pass, dlogits: F32) -> list[F32]:
        """From dL/dlogits [B, O]: dL/dparameters in their order."""
        q, _, dense, _, out, _ = self.parameters
        narrow, wide = (None, None) if of.masks is None else (of.masks.narrow, of.masks.wide)
        dinner = dropped(np.asarray(dlogits @ out), narrow) * gelu_slope(of.inner)
        dflat = dropped(np.asarray(dinner @ dense), wide) * gelu_slope(of.flat)
        dz = dflat.reshape(len(dlogits), len(of.levels), q.shape[1], -1)
        pairs = [level.backward(of.texts, dz[:, k]) for k, level in enumerate(of.levels)]
        dq, dw = (np.stack(parts) for parts in zip(*pairs, strict=True))
        grads = [dq, dw, dinner.T @ of.wide, dinner.sum(axis=0), dlogits.T @ of.narrow, dlogits.sum(axis=0)]
        return [np.asarray(g, dtype=np.float32) for g in grads]

    def masks(self, rows: int, generator: np.random.Generator) -> Masks | None:
        """Dropout's masks for a batch; None without dropout."""
        return Masks.around(self.parameters[2], rows, self.regularization.dropout, generator)


@dataclass(frozen=True)
class Level:
    """One level while it is read: its tokens x [T, d], what they weigh [T, K], and what they say [T, m].

    x W is summed, and not x: m is a tenth of d, and nothing as large as x is written twice.
    """

    x: AnyArray
    attention: AnyArray
    said: AnyArray

    @classmethod
    def read(cls, x: AnyArray, texts: Segments, q: F32, w: F32) -> Level:
        """With the level's queries [K, d] and its W [d, m]: one product for both."""
        both = x @ np.concatenate([q.T, w], axis=1)
        return cls(x, texts.softmax(both[:, : len(q)]), np.ascontiguousarray(both[:, len(q) :]))

    def pooled(self, texts: Segments) -> AnyArray:
        """z [B, K, m]."""
        return texts.sum(self.attention[:, :, None] * self.said[:, None, :])

    def backward(self, texts: Segments, dz: AnyArray) -> tuple[AnyArray, AnyArray]:
        """From dL/dz [B, K, m]: dL/dq [K, d] and dL/dW [d, m]."""
        heads = self.attention.shape[1]
        dz = dz[texts.owner]
        dattention = np.einsum("tkm,tm->tk", dz, self.said)
        dsaid = np.einsum("tk,tkm->tm", self.attention, dz)
        weighed = self.attention * dattention
        dscores = weighed - self.attention * texts.sum(weighed)[texts.owner]
        both = self.x.T @ np.concatenate([dscores, dsaid], axis=1)
        return both[:, :heads].T, both[:, heads:]


@dataclass(frozen=True)
class Pass:
    """One forward: its logits [B, O], and what its backward needs."""

    logits: F32
    texts: Segments = field(repr=False)
    levels: list[Level] = field(repr=False)
    flat: AnyArray = field(repr=False)
    wide: AnyArray = field(repr=False)
    inner: AnyArray = field(repr=False)
    narrow: AnyArray = field(repr=False)
    masks: Masks | None = None
