"""GELU with its slope, and dropout: what the networks that are written in numpy share.

Owns: this arithmetic. Must never: hold a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from ...arrays import F32, AnyArray


def gelu(x: AnyArray) -> F32:
    """x times the normal distribution function of x."""
    return np.asarray(0.5 * x * (1.0 + erf(x * 2.0**-0.5)), dtype=np.float32)


def gelu_slope(x: AnyArray) -> F32:
    """Its derivative."""
    density = np.exp(-0.5 * x * x) * (2.0 * np.pi) ** -0.5
    return np.asarray(0.5 * (1.0 + erf(x * 2.0**-0.5)) + x * density, dtype=np.float32)


def dropped(x: AnyArray, mask: F32 | None) -> AnyArray:
    """Under a mask of dropout, where there is one."""
    return x if mask is None else x * mask


def draw_masks(dropout: float, sizes: Sequence[tuple[int, int]], generator: np.random.Generator) -> tuple[F32, ...]:
    """One for each layer: 0, or 1 / (1 - dropout)."""
    scale = np.float32(1.0 / (1.0 - dropout))
    return tuple((generator.random(size, dtype=np.float32) >= dropout) * scale for size in sizes)


@dataclass(frozen=True)
class Masks:
    """Dropout around a dense layer: of what it reads, and of what it gives."""

    wide: F32
    narrow: F32

    @classmethod
    def around(cls, dense: F32, rows: int, dropout: float, generator: np.random.Generator) -> Masks | None:
        """Of a layer with these weights [m, wide], for a batch; None without dropout."""
        if dropout == 0:
            return None
        narrow, wide = dense.shape
        return cls(*draw_masks(dropout, [(rows, wide), (rows, narrow)], generator))
