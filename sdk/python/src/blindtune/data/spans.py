"""Rows whose labels stand in the text: characters from here to there, or a BIO tag for each word.

Owns: the reading of spans, and the way between spans and BIO tags. Must never: let a span out of its text, or two spans
overlap: BIO cannot say that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import F32
from .columns import SINGLE, TEXT, Wanted
from .source import DataError

SPANS = ("entities", "spans", "labels", "label")
TAGS = ("tags", "ner_tags")
TEXTS = (TEXT, SINGLE)
WORDS = ("words", "tokens")
"""Columns that are known: spans with a text, tags with a list of words."""


@dataclass(frozen=True, order=True)
class Span:
    """Characters `start` up to, not including, `end` of a text, and their label."""

    start: int
    end: int
    label: str


def joined(words: Iterable[str]) -> str:
    """The text of a list of words: what is sent, and what the spans of its predictions refer to."""
    return " ".join(words)


def from_tags(words: Sequence[str], tags: Sequence[str]) -> tuple[Span, ...]:
    """Spans in `joined(words)` of BIO tags (`O`, `B-NAME`, `I-NAME`).

    An `I-` that continues nothing of its label begins a span.
    """
    found: list[Span] = []
    start, before = 0, "O"
    for word, tag in zip(words, tags, strict=True):
        end, label = start + len(word), tag[2:]
        if tag[:2] == "I-" and before[2:] == label:
            found[-1] = Span(found[-1].start, end, label)
        elif tag != "O":
            found.append(Span(start, end, label))
        start, before = end + 1, tag
    return tuple(found)


def to_tags(words: Sequence[str], spans: Iterable[Span]) -> list[str]:
    """A BIO tag for each word, of spans in `joined(words)`; a word that a span touches is in it."""
    tags, start = [], 0
    known = sorted(spans)
    for word in words:
        end = start + len(word)
        of_word = next((span for span in known if span.start < end and span.end > start), None)
        tags.append("O" if of_word is None else f"{'I' if of_word.start < start else 'B'}-{of_word.label}")
        start = end + 1
    return tags


def tagged(
    row: Mapping[str, object], wanted: Wanted, place: str, names: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[str, tuple[Span, ...]]:
    """The text of a row and its spans: of a text with spans, or of words with tags; `names` are those of whole numbers.

    The text is left as it is, blanks at its ends included: places in it count from its first character.
    """
    label = _column(row, wanted.label, (*SPANS, *TAGS), place, "spans or tags")
    cell = row[label]
    with_words = label in TAGS or label in (names or {}) or _is_tags(cell)
    field = _column(row, wanted.text, WORDS if with_words else TEXTS, place, "words" if with_words else "text")
    content = row[field]
    if with_words:
        return _of_words(_strings(content, f"{place}: `{field}`"), _tags(cell, place, label, (names or {}).get(label)))
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{place}: no `{field}`")
    return content, _spans(cell, content, f"{place}: `{label}`")


def span_names(rows: Iterable[Iterable[Span]]) -> tuple[str, ...]:
    """The labels that occur, sorted."""
    return tuple(sorted({span.label for spans in rows for span in spans}))


def kinds_of(rows: Sequence[Sequence[Span]], names: Sequence[str]) -> F32:
    """[N, C]: 1 where a text has a span of a kind."""
    present = [[any(span.label == name for span in spans) for name in names] for spans in rows]
    return np.array(present, dtype=np.float32).reshape(len(rows), len(names))


def _column(row: Mapping[str, object], wanted: str | None, known: Sequence[str], place: str, what: str) -> str:
    found = [name for name in ([wanted] if wanted is not None else known) if row.get(name) is not None]
    if not found:
        asked = wanted if wanted is not None else " or ".join(f"`{name}`" for name in known)
        raise DataError(f"{place}: no {what} (column {asked}); there are {', '.join(map(str, row)) or 'none'}")
    return found[0]


def _is_tags(cell: object) -> bool:
    return not isinstance(cell, str) and isinstance(cell, Iterable) and any(isinstance(item, str) for item in cell)


def _strings(cell: object, place: str) -> list[str]:
    if isinstance(cell, str) or not isinstance(cell, Iterable):
        raise DataError(f"{place} is not a list of words")
    words = list(cell)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise DataError(f"{place} is not a list of words; none may be empty")
    return words


def _tags(cell: Any, place: str, field: str, names: tuple[str, ...] | None) -> list[str]:
    """BIO tags, of words or of numbers into `names`."""
    tags = []
    for item in cell:
        tag = item
        if names is not None and not isinstance(item, str):
            tag = names[int(item)] if 0 <= int(item) < len(names) else None
        if not isinstance(tag, str) or (tag != "O" and (tag[:2] not in ("B-", "I-") or len(tag) < 3)):
            raise DataError(f"{place}: `{field}` has {item!r}, which is not a BIO tag (O, B-NAME, I-NAME)")
        tags.append(tag)
    return tags


def _of_words(words: list[str], tags: list[str]) -> tuple[str, tuple[Span, ...]]:
    if len(words) != len(tags):
        raise DataError(f"{len(words)} words and {len(tags)} tags, of {joined(words)[:40]!r}")
    return joined(words), from_tags(words, tags)


def _spans(cell: object, text: str, place: str) -> tuple[Span, ...]:
    """In order; blanks at the edges of a span are not of it, since no token has them."""
    if isinstance(cell, (str, Mapping)) or not isinstance(cell, Iterable):
        raise DataError(f"{place} is not a list of spans")
    spans = sorted(_span(item, text, place) for item in cell)
    for before, after in pairwise(spans):
        if after.start < before.end:
            raise DataError(f"{place}: spans {_shown(before)} and {_shown(after)} overlap")
    return tuple(spans)


def _span(item: Any, text: str, place: str) -> Span:
    try:
        given = item if isinstance(item, Span) else Span(int(item["start"]), int(item["end"]), str(item["label"]))
    except (TypeError, KeyError, ValueError, IndexError):
        raise DataError(f'{place}: {item!r} is not a span ({{"start": 0, "end": 4, "label": "NAME"}})') from None
    if not 0 <= given.start < given.end <= len(text) or not given.label:
        raise DataError(f"{place}: span {_shown(given)} is not within a text of {len(text)} characters")
    covered = text[given.start : given.end]
    start = given.start + len(covered) - len(covered.lstrip())
    if not covered.strip():
        raise DataError(f"{place}: span {_shown(given)} covers blanks alone")
    return Span(start, start + len(covered.strip()), given.label)


def _shown(span: Span) -> str:
    return f"{span.start}-{span.end} {span.label!r}"
