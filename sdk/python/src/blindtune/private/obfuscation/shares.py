"""Splits a gradient into shares before it leaves, and joins what comes back.

Owns: the noise and alpha. Must never: send alpha, or reuse noise for another gradient. The host computes J^T s for
each share s; it is linear, so sum_j alpha_j J^T s_j = J^T g.

A share is s_j = (g / m + s * rms(g) * v_j) / alpha_j, where v_1..v_m are standard normal and sum to zero. The part of
g in it is 1 / (m s) of its noise, whatever alpha is: little about one row, which `audit/share_bound.py` bounds, more
about what many rows have in common. All m together hide nothing: their shortest combination is g, so shares protect
only when no single host gets all of them (`audit.combine_shares`). Alpha has a random sign and is drawn anew for each
set and step, so that a plain mean over epochs cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import F32, F64
from ..secret import SecretStream

NOISE_SCALE = 100.0
"""Standard deviation of the noise over the root mean square of the gradient. Measured: leak 0.513, error 4.5e-5."""


@dataclass(frozen=True)
class Obfuscated:
    """One gradient on its way. `tensors` travel, each shaped as the gradient; `weights` are secret."""

    tensors: tuple[F32, ...]
    kappa: float
    """sum_j |w_j| |s_j| / |g|: by how much rounding errors grow at reconstruction."""
    weights: tuple[float, ...]

    def reconstruct(self, parts: Sequence[F32]) -> F32:
        """sum_j w_j parts_j, summed in float64. `parts[j]` is what tensor j became, of any one shape."""
        if len(parts) != len(self.weights):
            raise ValueError(f"{len(parts)} parts for {len(self.weights)} tensors")
        total: F64 = np.zeros(parts[0].shape)
        for weight, part in zip(self.weights, parts, strict=True):
            total += weight * part.astype(np.float64)
        return total.astype(np.float32)


def relative_kappa(weights: Sequence[float], tensors: Sequence[F32], norm: float) -> float:
    """sum_j |w_j| |s_j| over the gradient's `norm`; 1 for a gradient of zeros."""
    length = sum(abs(w) * float(np.linalg.norm(t)) for w, t in zip(weights, tensors, strict=True))
    return length / norm if norm else 1.0


def split(
    gradient: F32, count: int, secret: SecretStream, name: tuple[str | int, ...], scale: float = NOISE_SCALE
) -> Obfuscated:
    """Split `gradient` (any shape) into `count` shares of its shape; one share is the gradient itself.

    `name` names the draw (step, set): the same name and gradient give the same bytes, so a repeated step reveals no
    more.
    """
    if count < 1:
        raise ValueError(f"shares must be at least 1, not {count}")
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    if count == 1:
        return Obfuscated((gradient.astype(np.float32),), 1.0, (1.0,))
    alpha = _draw_alpha(count, secret, name)
    noise = secret.normal((count, *gradient.shape), "noise", *name)
    noise -= noise.mean(axis=0)
    noise *= scale * (norm / np.sqrt(gradient.size) or 1.0) / np.sqrt(1.0 - 1.0 / count)
    exact = gradient.astype(np.float64)
    tensors = [((exact / count + noise[j]) / alpha[j]).astype(np.float32) for j in range(count - 1)]
    rest = exact - sum(alpha[j] * tensors[j].astype(np.float64) for j in range(count - 1))
    tensors.append((rest / alpha[-1]).astype(np.float32))
    return Obfuscated(tuple(tensors), relative_kappa(alpha, tensors, norm), alpha)


def _draw_alpha(count: int, secret: SecretStream, name: tuple[str | int, ...]) -> tuple[float, ...]:
    """Random signs and sizes in [1/2, 2], log-uniform: the size of a share does not tell the size of the gradient."""
    u = secret.uniform(2 * count, "alpha", *name)
    signs = np.where(u[:count] < 0.5, -1.0, 1.0)
    return tuple(float(a) for a in signs * 2.0 ** (2.0 * u[count:] - 1.0))
