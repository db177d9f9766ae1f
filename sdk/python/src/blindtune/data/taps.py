"""Hidden states of texts, token by token and level by level, as a frozen backbone gives them.

Owns: how they lie in memory, and what is sent of them into a network. Must never: hold a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, I64, AnyArray


def level_name(number: int) -> str:
    """What the level of this place is called where taps are written down."""
    return f"level.{number}"


@dataclass(frozen=True)
class Taps:
    """`levels`: one array [T, d] for each tapped level, the tokens of all texts one after the other.

    Text i has the tokens `offsets[i]` to `offsets[i + 1]`; `offsets` is [N + 1].
    """

    levels: tuple[AnyArray, ...]
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, levels: Sequence[AnyArray], lengths: I64) -> Taps:
        """From packed levels [T, d] and the tokens of each text, [N]."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        if any(len(level) != offsets[-1] for level in levels):
            raise ValueError(f"levels of {[len(level) for level in levels]} tokens, lengths add up to {offsets[-1]}")
        return cls(tuple(levels), offsets)

    @classmethod
    def joined(cls, parts: Sequence[Taps]) -> Taps:
        """Several texts' taps, one after the other."""
        levels = [np.concatenate(columns) for columns in zip(*(part.levels for part in parts), strict=True)]
        return cls.of(levels, np.concatenate([np.diff(part.offsets) for part in parts]))

    def take(self, rows: I64) -> Taps:
        """The texts named, in that order."""
        tokens = np.concatenate([np.arange(self.offsets[r], self.offsets[r + 1]) for r in rows] or [np.zeros(0, int)])
        return Taps.of([level[tokens] for level in self.levels], np.diff(self.offsets)[rows])

    def padded(self) -> tuple[F32, AnyArray]:
        """x [L, N, T, d] in float32 with zeros behind each text's end, and the mask [N, T] of real tokens."""
        lengths = np.diff(self.offsets)
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        x = np.zeros((len(self.levels), *mask.shape, self.levels[0].shape[1]), np.float32)
        for level, packed in zip(x, self.levels, strict=True):
            level[mask] = packed
        return x, mask
