"""Classifiers on top of the mixed activations, with gradients written by hand.

Owns: the head's parameters and the softmax cross entropy. Must never: leave the label holder's machine. Parameters
are a flat list of float32 arrays, in the order of `names`, so that optimizer and run folder need know nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import F32, I64
from .secret import SecretStream

INIT_STD = 0.02
HEADS = ("dense-tanh-linear", "linear")


class Head(Protocol):
    """What the trainer asks of a head: [B, H] activations in, [B, C] logits out."""

    names: tuple[str, ...]
    parameters: list[F32]

    def forward(self, h: F32) -> F32:
        """Logits [B, C] of activations [B, H]."""
        ...

    def backward(self, h: F32, dlogits: F32) -> tuple[F32, list[F32]]:
        """From dL/dlogits [B, C]: dL/dh [B, H], and dL/dparameters in their order."""
        ...


@dataclass
class LinearHead:
    """logits = h W^T + b, with W [C, H] and b [C]."""

    parameters: list[F32]
    names: tuple[str, ...] = ("out.weight", "out.bias")

    def forward(self, h: F32) -> F32:
        """Logits [B, C]."""
        weight, bias = self.parameters
        return h @ weight.T + bias

    def backward(self, h: F32, dlogits: F32) -> tuple[F32, list[F32]]:
        """dL/dh [B, H] and the gradients of W and b."""
        weight, _ = self.parameters
        return dlogits @ weight, [dlogits.T @ h, dlogits.sum(axis=0)]


@dataclass
class DenseTanhLinearHead:
    """logits = tanh(h D^T + d) W^T + b, with D [H, H]: the classification head of BERT and RoBERTa."""

    parameters: list[F32]
    names: tuple[str, ...] = ("dense.weight", "dense.bias", "out.weight", "out.bias")

    def forward(self, h: F32) -> F32:
        """Logits [B, C]."""
        dense, dense_bias, weight, bias = self.parameters
        return np.asarray(np.tanh(h @ dense.T + dense_bias) @ weight.T + bias)

    def backward(self, h: F32, dlogits: F32) -> tuple[F32, list[F32]]:
        """dL/dh [B, H] and the gradients of D, d, W and b."""
        dense, dense_bias, weight, _ = self.parameters
        inner = np.tanh(h @ dense.T + dense_bias)
        dinner = (dlogits @ weight) * (1.0 - inner * inner)
        grads = [dinner.T @ h, dinner.sum(axis=0), dlogits.T @ inner, dlogits.sum(axis=0)]
        return dinner @ dense, grads


def make_head(kind: str, hidden: int, classes: int, secret: SecretStream, purpose: str = "head") -> Head:
    """A fresh head: weights from N(0, 0.02), biases zero. `classes` is 1 for a regression; `purpose` names the draw."""

    def weight(rows: int, columns: int, name: str) -> F32:
        return (secret.normal((rows, columns), purpose, name) * INIT_STD).astype(np.float32)

    if kind == "linear":
        return LinearHead([weight(classes, hidden, "out"), np.zeros(classes, np.float32)])
    if kind == "dense-tanh-linear":
        dense = [weight(hidden, hidden, "dense"), np.zeros(hidden, np.float32)]
        return DenseTanhLinearHead([*dense, weight(classes, hidden, "out"), np.zeros(classes, np.float32)])
    raise ValueError(f"head must be one of {', '.join(HEADS)}, not {kind!r}")


def softmax(logits: F32) -> F32:
    """Row-wise softmax of [B, C]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=logits.dtype)


def cross_entropy(logits: F32, labels: I64) -> tuple[float, F32]:
    """Mean cross entropy of logits [B, C] with labels [B], and its gradient [B, C]."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1))
    loss = float((log_total - shifted[rows, labels]).mean())
    gradient = softmax(logits)
    gradient[rows, labels] -= 1.0
    return loss, np.asarray(gradient / len(labels), dtype=logits.dtype)
