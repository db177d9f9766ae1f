"""Where each token of a backbone stands in its text, found out at home with the backbone's own tokenizer.

Owns: the tokenizer (extra `tokens`), and the check that it is the host's. Must never: hold a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import I64
from ..errors import RunError
from ..extras import need
from .columns import Text
from .taps import Taps


@dataclass(frozen=True)
class TokenPlaces:
    """Characters [T, 2] of all tokens, start and end in their own text; packed as `Taps`, with its `offsets` [N + 1].

    The two are equal where a token stands for nothing of the text, as those that a tokenizer adds.
    """

    characters: I64
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, row: int) -> I64:
        """Those of one text."""
        return self.characters[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: I64) -> TokenPlaces:
        """The texts named, in that order."""
        lengths = np.diff(self.offsets)[rows]
        parts = [self.of(int(row)) for row in rows]
        characters = np.concatenate(parts) if parts else self.characters[:0]
        return TokenPlaces(characters, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]))


@dataclass(frozen=True)
class PlacedTaps:
    """Hidden states of N texts, and where their tokens stand."""

    taps: Taps
    places: TokenPlaces

    def __len__(self) -> int:
        return len(self.taps)

    def take(self, rows: I64) -> PlacedTaps:
        """The texts named, in that order."""
        return PlacedTaps(self.taps.take(rows), self.places.take(rows))


class Aligner:
    """A backbone's `tokenizer.json`, as `content`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        tokenizers = need("tokenizers", "tokens", "task tokens")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the package raises Exception itself
            raise RunError(f"tokenizer: not a tokenizer.json ({error})") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def read(cls, path: str | Path) -> Aligner:
        """Of a `tokenizer.json`, or of the folder that has one."""
        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise RunError(f"tokenizer: no file {file}; it is the tokenizer.json of the backbone that the host runs")
        return cls(file.read_bytes())

    def place(self, texts: Sequence[Text], taps: Taps) -> PlacedTaps:
        """The host's tokens of these texts with their places. A tokenizer that cuts the texts otherwise is refused."""
        lengths = np.diff(taps.offsets)
        most = int(lengths.max(initial=0))
        found = [self._one(text, k, (int(lengths[k]), most)) for k, text in enumerate(texts)]
        characters = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
        return PlacedTaps(taps, TokenPlaces(characters, taps.offsets))

    def _one(self, text: Text, row: int, lengths: tuple[int, int]) -> I64:
        """Of one text; a host cuts at its limit, so that only the longest of all may be longer here."""
        if not isinstance(text, str):
            raise RunError(f"text {row + 1} is a pair: task tokens reads one text at a time")
        length, most = lengths
        encoded = self._tokenizer.encode(text)
        if len(encoded) > length == most:
            self._tokenizer.enable_truncation(length)
            encoded = self._tokenizer.encode(text)
            self._tokenizer.no_truncation()
        if len(encoded) != length:
            counts = f"text {row + 1} has {len(encoded)} tokens here and {length} on the host"
            raise RunError(f"tokenizer: {counts}; pass the tokenizer.json of the backbone that the host runs")
        return _trimmed(np.array(encoded.offsets, dtype=np.int64).reshape(-1, 2), text)


def _trimmed(characters: I64, text: str) -> I64:
    """Without the blanks that some tokenizers count to the word behind them."""
    for place in characters:
        while place[0] < place[1] and text[place[0]].isspace():
            place[0] += 1
        while place[0] < place[1] and text[place[1] - 1].isspace():
            place[1] -= 1
    return characters


def tokenizer_of(path: Any) -> Aligner:
    """`Aligner.read`, or what to do where there is no path."""
    if path is None:
        advice = "the tokenizer.json of the backbone that the host runs"
        raise RunError(f"task tokens needs to know where tokens stand in the text: pass tokenizer=, {advice}")
    return Aligner.read(path)
