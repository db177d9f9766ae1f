"""Secret mixing of the activations of several adapter sets.

Owns: the weights w_i and the gradient through them. Must never: put a weight into a request.
Source: P3EFT (arXiv 2412.16669) section 3.3, `antisymmetric_n01` of the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import F32, F64
from .secret import SecretStream


@dataclass(frozen=True)
class Mixing:
    """Elementwise weights, `weights[i]` in R^H, which sum to one over the sets. Shape [n, H], float32."""

    weights: F32

    @classmethod
    def antisymmetric(cls, sets: int, hidden: int, secret: SecretStream, mult_std: float = 0.0) -> Mixing:
        """w_i = 1/n + sum_j A_ij with A_ij = -A_ji ~ N(0, 10^mult_std), elementwise."""
        weights: F64 = np.full((sets, hidden), 1.0 / sets)
        for i in range(sets):
            for j in range(i + 1, sets):
                noise = secret.normal((hidden,), "mixing", i, j) * 10.0 ** (mult_std / 2.0)
                weights[i] += noise
                weights[j] -= noise
        return cls(weights.astype(np.float32))

    def mix(self, activations: Sequence[F32]) -> F32:
        """h = sum_i w_i * h_i. Each h_i is [B, H]; so is the result."""
        stacked = np.stack(activations)
        return np.asarray(np.einsum("nbh,nh->bh", stacked, self.weights), dtype=self.weights.dtype)

    def backward(self, gradient: F32) -> list[F32]:
        """dL/dh_i = w_i * dL/dh for every set. `gradient` is [B, H]."""
        return [np.asarray(gradient * weight, dtype=weight.dtype) for weight in self.weights]
