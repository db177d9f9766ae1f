"""A text that is longer than a model takes, read in overlapping pieces.

Owns: where a text is cut, and how its pieces become one text again. Must never: cut by anything but the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..client.step_calls import Text
from ..data.taps import Taps
from ..errors import ApiError

OVERLAP = 0.125
"""Of a piece, on each side: what stands at a cut is read with what is around it."""
MOST = 4096
"""Pieces of one text."""
WORD = re.compile(r"\S+")
PLACE = re.compile(r"input\[(\d+)\]")


def too_long(error: ApiError) -> int | None:
    """Which input of a call was refused because it has more tokens than the model takes, counted from 0."""
    found = PLACE.fullmatch(error.param or "")
    named = error.status == 422 and "longer than" in error.message
    return int(found[1]) if found and named else None


def counts() -> Iterator[int]:
    """In how many pieces to try: 2, 3, 4, 6, 9, ..."""
    count = 2
    while count <= MOST:
        yield count
        count += max(1, count // 2)


def pieces(text: Text, count: int) -> list[Text] | None:
    """So many windows of words of about the same number, each with a part of its neighbours; of a pair the longer text.

    A text of fewer words than pieces is cut between characters. None where it has not even so many.
    """
    if isinstance(text, str):
        parts = _windows(text, count)
        return None if parts is None else list(parts)
    first, second = text
    if len(first) > len(second):
        parts = _windows(first, count)
        return None if parts is None else [(part, second) for part in parts]
    parts = _windows(second, count)
    return None if parts is None else [(first, part) for part in parts]


def _windows(text: str, count: int) -> list[str] | None:
    spans = [found.span() for found in WORD.finditer(text)]
    if len(spans) < count:
        spans = [(k, k + 1) for k in range(len(text))]
    if len(spans) < count:
        return None
    edges = np.linspace(0, len(spans), count + 1).round().astype(int)
    margin = max(1, int(OVERLAP * len(spans) / count))
    inside = [(max(0, int(a) - margin), min(len(spans), int(b) + margin)) for a, b in pairwise(edges)]
    return [text[spans[a][0] : spans[b - 1][1]] for a, b in inside]


def read_in_pieces(text: Text, ask: Callable[[Sequence[Text]], Taps]) -> Taps | None:
    """The taps of as few pieces as the model takes each of; None where it takes none."""
    for count in counts():
        parts = pieces(text, count)
        if parts is None:
            return None
        try:
            return ask(parts)
        except ApiError as error:
            if too_long(error) is None:
                raise
    return None


def as_one(taps: Taps, picks: Sequence[str]) -> Taps:
    """Pieces as one text: their tokens one after the other; of picks the largest values, and the mean of the others.

    `picks` are those of each level, in the order of the levels; none where levels have tokens.
    """
    if not picks:
        return Taps.of(taps.levels, np.array([len(taps.levels[0])]))
    merged = []
    for number, level in enumerate(taps.levels):
        largest = picks[number % len(picks)] == "max"
        row = level.max(axis=0) if largest else level.mean(axis=0, dtype=np.float32)
        merged.append(row[None].astype(level.dtype))
    return Taps.of(merged, np.ones(1, np.int64))
