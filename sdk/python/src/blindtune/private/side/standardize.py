"""Hidden states with mean 0 and deviation 1 in every feature of every level.

Owns: the statistics, of the label holder's own texts and of no label. Must never: be fitted on what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import F32, F64, AnyArray
from ...data.taps import Taps

LEAST_DEVIATION = 1e-6
TOKENS = 8192
"""Tokens that are summed at a time: taps may be larger than memory."""


@dataclass(frozen=True)
class Standardize:
    """x -> (x - mean) / deviation, with both [L, d] over all tokens."""

    mean: F32
    deviation: F32

    @classmethod
    def of(cls, taps: Taps) -> Standardize:
        """The statistics of these texts."""
        means = np.stack([_mean(level, np.zeros(level.shape[1])) for level in taps.levels])
        levels = zip(taps.levels, means, strict=True)
        squares = np.stack([_mean(level, mean, power=2) for level, mean in levels])
        deviation = np.maximum(np.sqrt(squares), LEAST_DEVIATION)
        return cls(means.astype(np.float32), deviation.astype(np.float32))

    def apply(self, taps: Taps) -> Taps:
        """The standardised taps, in float32."""
        parts = zip(taps.levels, self.mean, self.deviation, strict=True)
        levels = tuple(np.asarray((level - mean) / deviation, dtype=np.float32) for level, mean, deviation in parts)
        return Taps(levels, taps.offsets)


def _mean(level: AnyArray, centre: F64, power: int = 1) -> F64:
    """The mean over tokens of (x - centre) ** power, [d]."""
    total = np.zeros(level.shape[1])
    for first in range(0, len(level), TOKENS):
        total += ((level[first : first + TOKENS].astype(np.float64) - centre) ** power).sum(axis=0)
    return total / max(1, len(level))
