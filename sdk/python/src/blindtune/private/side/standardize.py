"""Hidden states with mean 0 and deviation 1 in every feature of every level.

Owns: the statistics, of the label holder's own texts and of no label. Must never: be fitted on what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import F32, F64, AnyArray
from ...data.taps import Taps
from ...errors import RunError

LEAST_DEVIATION = 1e-6
TOKENS = 1024
"""Tokens that are summed at a time: in float32 here, in float64 from one sum to the next."""
HALF_MASK = np.int32(-0x70002000)
"""Sign, exponent and mantissa of a half that was shifted to the place of a float32's: 0x8fffe000."""


@dataclass(frozen=True)
class Standardize:
    """x -> (x - mean) / deviation, with both [L, d] over all tokens."""

    mean: F32
    deviation: F32

    @classmethod
    def of(cls, taps: Taps) -> Standardize:
        """The statistics of these texts. Hidden states that are not finite are refused."""
        for number, level in enumerate(taps.levels):
            _check_finite(number, level)
        means = np.stack([_mean(level, None) for level in taps.levels]).astype(np.float32)
        squares = np.stack([_mean(level, mean) for level, mean in zip(taps.levels, means, strict=True)])
        return cls(means, np.maximum(np.sqrt(squares), LEAST_DEVIATION).astype(np.float32))

    def apply(self, taps: Taps) -> Taps:
        """The standardised taps, in float32."""
        parts = zip(taps.levels, self.mean, np.float32(1.0) / self.deviation, strict=True)
        return Taps(tuple(_ready(level, mean, factor) for level, mean, factor in parts), taps.offsets)


def _ready(level: AnyArray, mean: F32, factor: F32) -> F32:
    """(level - mean) * factor, written once."""
    ready = to_float32(level)
    ready -= mean
    ready *= factor
    return ready


def to_float32(x: AnyArray) -> F32:
    """A copy in float32. Of halves by their bits, which is several times as fast as numpy; they must be finite."""
    if x.dtype != np.float16:
        return x.astype(np.float32)
    bits = np.ascontiguousarray(x).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= HALF_MASK
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)  # the exponents' biases are 15 and 127
    return values


def _check_finite(number: int, level: AnyArray) -> None:
    for first in range(0, len(level), TOKENS):
        if not np.isfinite(level[first : first + TOKENS]).all():
            raise RunError(f"level {number} has hidden states that are not finite: ask for them in float32")


def _mean(level: AnyArray, centre: F32 | None) -> F64:
    """The mean over tokens of x, or of (x - centre) ** 2, [d]."""
    total = np.zeros(level.shape[1])
    for first in range(0, len(level), TOKENS):
        x = to_float32(level[first : first + TOKENS])
        if centre is not None:
            x -= centre
            x *= x
        total += x.sum(axis=0)
    return total / max(1, len(level))
