"""Secret mixing of the activations of several adapter sets.

Owns: the weights w_i and the gradients through them and of them. Must never: put a weight into a request.
Source: P3EFT (arXiv 2412.16669) section 3.3, `antisymmetric_n01` and `averaged` of the authors' code, which trains the
weights beside the head unless `frozen_coefs` is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, F64, AnyArray
from .secret import SecretStream

COEFFICIENTS = ("antisymmetric_n01", "averaged")


@dataclass(frozen=True)
class Mixing:
    """Elementwise weights, `weights[i]` in R^H, float32 [n, H]. Antisymmetric ones sum to one over the sets.

    `blind` [n, K, H] are orthonormal directions of each set in which nothing is looked at: camouflage.py puts decoys
    there. `trained` weights belong to what is learned at home, and move in place.
    """

    weights: F32
    blind: F32 | None = None
    trained: bool = False

    @classmethod
    def fresh(cls, kind: str, shape: tuple[int, int], secret: SecretStream, mult_std: float = 0.0) -> Mixing:
        """Weights of one of `COEFFICIENTS`; `shape` is (n, H)."""
        if kind == "antisymmetric_n01":
            return cls.antisymmetric(*shape, secret, mult_std)
        if kind == "averaged":
            return cls.averaged(*shape, mult_std)
        raise ValueError(f"coefficients must be one of {', '.join(COEFFICIENTS)}, not {kind!r}")

    @classmethod
    def averaged(cls, sets: int, hidden: int, mult_std: float = 0.0) -> Mixing:
        """w_i = 10^(mult_std/2) / n, the same everywhere, so no secret; the factor is the authors'."""
        return cls(np.full((sets, hidden), 10.0 ** (mult_std / 2.0) / sets, dtype=np.float32))

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
        """h = sum_i w_i * (h_i without its blind part). Each h_i is [B, H]; so is the result."""
        stacked = np.stack(self._seen(activations))
        return np.asarray(np.einsum("nbh,nh->bh", stacked, self.weights), dtype=self.weights.dtype)

    def backward(self, gradient: F32) -> list[F32]:
        """dL/dh_i = w_i * dL/dh without its blind part, for every set. `gradient` is [B, H]."""
        return self._seen([np.asarray(gradient * weight, dtype=weight.dtype) for weight in self.weights])

    def weight_gradient(self, activations: Sequence[F32], gradient: F32) -> F32:
        """dL/dw_i, [n, H]: the sum of h_i * dL/dh over the batch; `gradient` is dL/dh, [B, H]."""
        stacked = np.stack(self._seen(activations))
        return np.asarray(np.einsum("nbh,bh->nh", stacked, gradient), dtype=self.weights.dtype)

    def state(self) -> dict[str, F32]:
        """What is kept of it, by name."""
        return {"mixing": self.weights} | ({} if self.blind is None else {"mixing.blind": self.blind})

    @classmethod
    def restored(cls, arrays: Mapping[str, AnyArray]) -> Mixing:
        """From what `state` gave."""
        blind = arrays.get("mixing.blind")
        return cls(arrays["mixing"].copy(), None if blind is None else blind.copy())

    def _seen(self, tensors: Sequence[F32]) -> list[F32]:
        """Each [B, H] less its projection on the set's blind directions."""
        if self.blind is None:
            return list(tensors)
        return [x - (x @ u.T.astype(x.dtype)) @ u.astype(x.dtype) for x, u in zip(tensors, self.blind, strict=True)]
