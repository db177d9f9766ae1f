"""Training rows out of files as OpenAI's fine-tuning takes them, and texts out of requests.

Owns: what is a text, what is a label, and what is no classification. Must never: cut or guess: a row that does not fit
is refused with its line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data import DataError, Dataset
from ..data.chats import ChatReader, chat_text
from .errors import Refused

FEWEST_ROWS = 10
"""As OpenAI has it."""
MOST_LABELS = 100
LONGEST_LABEL = 200
FORMS = '{"messages": [...]}, {"prompt": ..., "completion": ...} or {"text": ..., "label": ...}'


@dataclass(frozen=True)
class Example:
    """One row."""

    text: str
    label: str
    lead: str = ""
    """The blank before a completion, which OpenAI asks for and its models then write."""


def read_examples(content: bytes) -> list[Example]:
    """The rows of a file, checked: a file of free answers is refused, since what is trained here chooses from few."""
    rows = list(_rows(content))
    if len(rows) < FEWEST_ROWS:
        raise _bad(f"The file has {len(rows)} rows; at least {FEWEST_ROWS} are needed.")
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        raise _bad("All rows have the same answer: there is nothing to learn.")
    if len(counts) > MOST_LABELS or 2 * len(counts) > len(rows):
        raise _bad(
            f"The {len(rows)} rows have {len(counts)} different answers. This gateway trains classifiers: answers must "
            f"be labels, at most {MOST_LABELS} and each in two rows or more on average. It cannot train a model that "
            "writes free text; no host here could, without reading the answers."
        )
    return rows


def dataset(rows: Sequence[Example], label_names: Sequence[str] | None = None) -> Dataset:
    """Rows to train on. With `label_names` those of another file, which the labels must be of."""
    return Dataset.from_lists([row.text for row in rows], [row.label for row in rows], label_names)


def lead_of(rows: Sequence[Example]) -> str:
    """What completions begin with: a blank, where all rows have one."""
    return " " if rows and all(row.lead for row in rows) else ""


def text_of(messages: Any) -> str:
    """What is classified of a chat, as the rows of a file of chats have it."""
    try:
        return chat_text(messages, "messages").strip()
    except DataError as error:
        raise Refused(400, "invalid_messages", f"{error}.", "messages") from None


def _rows(content: bytes) -> Iterator[Example]:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise _bad(f"The file is not UTF-8 (byte {error.start}).") from None
    chats = ChatReader()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise _bad(f"Line {number} is not JSON.") from None
        if not isinstance(row, dict):
            raise _bad(f"Line {number} is not a JSON object.")
        yield _example(row, chats, f"Line {number}")


def _example(row: Mapping[str, Any], chats: ChatReader, place: str) -> Example:
    lead = ""
    if "messages" in row:
        text, label = (part.strip() for part in _chat(chats, row["messages"], place))
    elif "prompt" in row and "completion" in row:
        text, label = _text(row, "prompt", place), _text(row, "completion", place)
        lead = " " if str(row["completion"]).startswith(" ") else ""
    elif "text" in row and "label" in row:
        text, label = _text(row, "text", place), _text(row, "label", place)
    else:
        raise _bad(f"{place}: a row is {FORMS}.")
    if not label:
        raise _bad(f"{place}: the assistant's message is empty.")
    if len(label) > LONGEST_LABEL:
        raise _bad(
            f"{place}: the answer has {len(label)} characters. This gateway trains classifiers, whose answers are "
            f"labels of at most {LONGEST_LABEL}; it cannot train a model that writes text."
        )
    return Example(text, label, lead)


def _chat(chats: ChatReader, messages: Any, place: str) -> tuple[str, str]:
    try:
        return chats.read(messages, place)
    except DataError as error:
        raise _bad(f"{error}.") from None


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row[name]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _bad(f"{place}: {name} must be a text.")
    return str(value).strip() or _empty(f"{place}: {name}")


def _empty(what: str) -> str:
    raise _bad(f"{what} is empty.")


def _bad(message: str) -> Refused:
    return Refused(400, "invalid_file", message, "file")
