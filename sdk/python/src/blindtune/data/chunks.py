"""Texts cut into requests.

Owns: how many go into one. Must never: hold a label, or change an order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from .columns import Text

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
