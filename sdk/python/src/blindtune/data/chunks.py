"""Texts on their way to a host: cut into requests, or as a file.

Owns: how many go into one, and what is in the file. Must never: hold a label, or change an order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from .columns import PAIR, Text

CHUNK_BYTES = 128 * 1024


def evaluation_chunks(texts: Iterable[Text], rows: int) -> Iterator[list[Text]]:
    """Cut texts, in their order, into requests of at most `rows` texts and 128 KiB: a host limits JSON bodies."""
    chunk: list[Text] = []
    size = 0
    for text in texts:
        weight = len(json.dumps(text, ensure_ascii=False).encode())
        if chunk and (len(chunk) == rows or size + weight > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += weight
    if chunk:
        yield chunk


def upload_bytes(texts: Iterable[Text]) -> bytes:
    """The label-free JSONL that a host gets: `text`, and `text_pair` for pairs. Nothing else."""
    lines = []
    for text in texts:
        row = {"text": text} if isinstance(text, str) else {"text": text[0], PAIR: text[1]}
        lines.append(json.dumps(row, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()
