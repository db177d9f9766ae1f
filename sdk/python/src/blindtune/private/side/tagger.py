"""The tagger: a small MLP over each token and its neighbours, on every level of a frozen backbone.

    u_t = [x_t1 ... x_tL],  v_t = gelu(u_t-1 A + u_t B + u_t+1 C + a),
    logits_t = gelu(v_t-1 D + v_t E + v_t+1 F + b) W^T + c

Owns: its parameters and their exact gradients. Must never: leave the label holder's machine, or look over the end of a
text. Parameters are a flat list of float32 arrays in the order of `names`, as those of `attentive.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...arrays import F32, I64, AnyArray
from ...data.taps import Taps
from ..secret import SecretStream
from .layers import draw_masks, dropped, gelu, gelu_slope
from .network import Loss, Regularization, Shape

REACH = (-1, 0, 1)
"""Which tokens a layer sees, from where a token stands."""


@dataclass
class Tagger:
    """`near.weight` [3, L d, m], `far.weight` [3, m, m], `out.weight` [O, m], and their biases [m], [m], [O].

    Dropout is that of both layers, while training.
    """

    parameters: list[F32]
    regularization: Regularization = field(default_factory=Regularization)
    kind: ClassVar[str] = "tagger"
    names: ClassVar[tuple[str, ...]] = ("near.weight", "near.bias", "far.weight", "far.bias", "out.weight", "out.bias")

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, regularization: Regularization) -> Tagger:
        """Weights from N(0, 1 / inputs), biases zero."""

        def drawn(size: tuple[int, ...], name: str, inputs: int) -> F32:
            return np.asarray(secret.normal(size, "tagger", name) * inputs**-0.5, dtype=np.float32)

        wide, m = shape.levels * shape.features, shape.width
        return cls(
            [
                drawn((len(REACH), wide, m), "near", len(REACH) * wide),
                np.zeros(m, np.float32),
                drawn((len(REACH), m, m), "far", len(REACH) * m),
                np.zeros(m, np.float32),
                drawn((shape.outputs, m), "out", m),
                np.zeros(shape.outputs, np.float32),
            ],
            regularization,
        )

    @classmethod
    def of(cls, parameters: list[F32]) -> Tagger:
        """With these parameters, to predict."""
        return cls(parameters)

    def outputs(self, taps: Taps) -> F32:
        """Logits [T, O]."""
        return self.forward(taps).logits

    def loss_and_gradients(self, taps: Taps, loss: Loss, generator: np.random.Generator) -> tuple[float, list[F32]]:
        """With noise and dropout from `generator`: loss of logits [T, O], gradients in the parameters' order."""
        masks = TokenDropout(self.regularization.dropout, generator)
        passed = self.forward(self.regularization.noisy(taps, generator), masks)
        found, gradient = loss(passed.logits)
        return found, self.backward(passed, gradient)

    def forward(self, taps: Taps, masks: TokenDropout | None = None) -> TaggerPass:
        """Logits [T, O] of the tokens of all texts, with what `backward` needs; no dropout where there are no masks."""
        near, near_bias, far, far_bias, out, out_bias = self.parameters
        x = np.concatenate(taps.levels, axis=1)
        sizes = [(len(x), len(near_bias)), (len(x), len(far_bias))]
        first, second = (None, None) if masks is None else masks.draw(sizes)
        inner = _gathered(x, near, taps.offsets) + near_bias
        v = dropped(gelu(inner), first)
        deep = _gathered(v, far, taps.offsets) + far_bias
        last = dropped(gelu(deep), second)
        logits = np.asarray(last @ out.T + out_bias, dtype=x.dtype)
        return TaggerPass(logits, x, inner, v, deep, last, (first, second), taps.offsets)

    def backward(self, of: TaggerPass, dlogits: F32) -> list[F32]:
        """From dL/dlogits [T, O]: dL/dparameters in their order."""
        _, _, far, _, out, _ = self.parameters
        first, second = of.masks
        ddeep = dropped(np.asarray(dlogits @ out), second) * gelu_slope(of.deep)
        dfar, dv = _spread(of.v, far, ddeep, of.offsets)
        dinner = dropped(dv, first) * gelu_slope(of.inner)
        dnear = np.stack([of.x.T @ _shifted(dinner, -by, of.offsets) for by in REACH])
        grads = [dnear, dinner.sum(axis=0), dfar, ddeep.sum(axis=0), dlogits.T @ of.last, dlogits.sum(axis=0)]
        return [np.asarray(g, dtype=np.float32) for g in grads]


@dataclass(frozen=True)
class TokenDropout:
    """Masks of 0 and 1 / (1 - p), out of a generator."""

    share: float
    generator: np.random.Generator

    def draw(self, sizes: list[tuple[int, int]]) -> tuple[F32, ...]:
        """One for each layer; all ones without dropout."""
        return draw_masks(self.share, sizes, self.generator)


@dataclass(frozen=True)
class TaggerPass:
    """One forward: its logits [T, O], and what its backward needs."""

    logits: F32
    x: AnyArray = field(repr=False)
    inner: AnyArray = field(repr=False)
    v: AnyArray = field(repr=False)
    deep: AnyArray = field(repr=False)
    last: AnyArray = field(repr=False)
    masks: tuple[F32 | None, ...] = field(repr=False)
    offsets: I64 = field(repr=False)


def _shifted(x: AnyArray, by: int, offsets: I64) -> AnyArray:
    """Row t is x[t + by] where that is a token of the same text, and zero elsewhere."""
    if by == 0:
        return x
    moved = np.zeros_like(x)
    if by > 0:
        moved[:-by] = x[by:]
        moved[offsets[1:] - 1] = 0.0
    else:
        moved[-by:] = x[:by]
        moved[offsets[:-1]] = 0.0
    return moved


def _gathered(x: AnyArray, weight: AnyArray, offsets: I64) -> AnyArray:
    """sum over the reach of x_t+by W_by: each token is multiplied where it stands, and the result is moved."""
    return np.asarray(sum(_shifted(x @ w, by, offsets) for by, w in zip(REACH, weight, strict=True)))


def _spread(x: AnyArray, weight: AnyArray, gradient: AnyArray, offsets: I64) -> tuple[AnyArray, AnyArray]:
    """From dL/d_gathered: dL/dW and dL/dx."""
    back = [_shifted(gradient, -by, offsets) for by in REACH]
    dx = sum(g @ w.T for g, w in zip(back, weight, strict=True))
    return np.stack([x.T @ g for g in back]), np.asarray(dx)
