"""Sums and softmax over the tokens of each text, where texts lie one after the other.

Owns: this arithmetic. Must never: pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...arrays import I64, AnyArray
from ...data.taps import Taps


@dataclass(frozen=True)
class Segments:
    """N texts of T tokens together: where each begins [N], and how many tokens it has [N]."""

    starts: I64
    lengths: I64

    @classmethod
    def of(cls, taps: Taps) -> Segments:
        """Those of these taps; a text without a token has nothing to sum, and is refused."""
        lengths = np.diff(taps.offsets)
        if len(lengths) and not lengths.all():
            raise ValueError(f"text {int(lengths.argmin())} of {len(lengths)} has no tokens")
        return cls(taps.offsets[:-1], lengths)

    @cached_property
    def owner(self) -> I64:
        """The text of each token, [T]."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def sum(self, x: AnyArray) -> AnyArray:
        """[T, ...] to [N, ...]."""
        return np.asarray(np.add.reduceat(x, self.starts, axis=0))

    def softmax(self, scores: AnyArray) -> AnyArray:
        """Of each column [T, K] over the tokens of each text."""
        most = np.maximum.reduceat(scores, self.starts, axis=0)
        shifted = np.exp(scores - most[self.owner])
        return np.asarray(shifted / self.sum(shifted)[self.owner])
