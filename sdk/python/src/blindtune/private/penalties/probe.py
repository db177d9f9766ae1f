"""Pushes activations towards carrying no label that a linear probe can read.

Owns: the probe of each batch, its loss and its gradient. Must never: keep a probe longer than its batch. R(a) fits an
L2 logistic regression to the batch and its labels, then asks the activations for the opposite: the cross entropy
towards the flipped label (two classes), or of the negated logits (more). The fitted weights count as constants in the
gradient. Source: `regularizing_logreg_loss` of the authors' code (mean over the batch, C = 1, 150 iterations).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ...arrays import F32, F64, I64

MAX_ITERATIONS = 150


@dataclass(frozen=True)
class Probe:
    """Logits = a W^T + b. W is [1, H] for two classes (the logit of class 1), else [C, H]."""

    weight: F64
    bias: F64


@dataclass(frozen=True)
class RegularizerWeights:
    """Weight of the regularizer on each kind of tensor. Defaults: docs/privacy.md has what they reach."""

    activations: float = 0.3
    shifts: float = 0.3
    differences: float = 0.3

    def scaled(self, factor: float) -> tuple[float, float, float]:
        """(activations, shifts, differences), each times what the schedule says."""
        return self.activations * factor, self.shifts * factor, self.differences * factor

    @property
    def needs_base(self) -> bool:
        """Whether the host has to send the bare backbone's activations too."""
        return self.shifts > 0


def fit_probe(a: F32, labels: I64, classes: int) -> Probe | None:
    """Fit the probe to a batch [B, H]; None when the batch lacks a class."""
    if len(np.unique(labels)) < classes or not np.isfinite(a).all():
        return None
    model = LogisticRegression(C=1.0, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(a.astype(np.float64), labels)
    return Probe(np.asarray(model.coef_, dtype=np.float64), np.asarray(model.intercept_, dtype=np.float64))


def probe_loss(a: F32, labels: I64, probe: Probe) -> tuple[float, F64]:
    """Loss towards the flipped label and its gradient [B, H], with the probe held constant."""
    logits = a.astype(np.float64) @ probe.weight.T + probe.bias
    if probe.weight.shape[0] == 1:
        z, flipped = logits[:, 0], 1.0 - labels
        loss = float(np.mean(np.logaddexp(0.0, z) - flipped * z))
        dlogits = ((_sigmoid(z) - flipped) / len(labels))[:, None]
    else:
        rows, z = np.arange(len(labels)), -logits
        z = z - z.max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - z[rows, labels]))
        dz = np.exp(z) / total
        dz[rows, labels] -= 1.0
        dlogits = -dz / len(labels)
    return loss, dlogits @ probe.weight


def regularize(
    activations: Sequence[F32],
    base: F32 | None,
    labels: I64,
    classes: int,
    weights: tuple[float, float, float],
) -> tuple[float, list[F32]]:
    """a sum_i R(h_i) + b sum_i R(h_i - h_base) + c sum_{i<j} R(h_i - h_j), and its gradient for every h_i.

    `weights` is (a, b, c); a term of weight zero is not computed. h_i and base are [B, H].
    """
    total = 0.0
    gradients: list[F64] = [np.zeros(h.shape) for h in activations]

    def add(tensor: F32, weight: float, signs: dict[int, float]) -> None:
        nonlocal total
        probe = fit_probe(tensor, labels, classes) if weight > 0 else None
        if probe is None:
            return
        loss, gradient = probe_loss(tensor, labels, probe)
        total += weight * loss
        for index, sign in signs.items():
            gradients[index] += sign * weight * gradient

    on_activations, on_shifts, on_differences = weights
    for i, h in enumerate(activations):
        add(h, on_activations, {i: 1.0})
        if base is not None:
            add(h - base, on_shifts, {i: 1.0})
        for j in range(i + 1, len(activations)):
            add(h - activations[j], on_differences, {i: 1.0, j: -1.0})
    return total, [g.astype(np.float32) for g in gradients]


def _sigmoid(z: F64) -> F64:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))
