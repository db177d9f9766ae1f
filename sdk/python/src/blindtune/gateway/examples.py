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

from ..data import Dataset
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


def text_of(messages: Any, place: str = "messages") -> str:
    """What is classified of a chat: all that the user says. A system message, the same in every row, says nothing."""
    said = [_content(one, place) for one in _messages(messages, place) if one.get("role") == "user"]
    text = "\n".join(said).strip()
    if not text:
        raise _bad(f"{place}: no message of the user.")
    return text


def _rows(content: bytes) -> Iterator[Example]:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise _bad(f"The file is not UTF-8 (byte {error.start}).") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise _bad(f"Line {number} is not JSON.") from None
        if not isinstance(row, dict):
            raise _bad(f"Line {number} is not a JSON object.")
        yield _example(row, f"Line {number}")


def _example(row: Mapping[str, Any], place: str) -> Example:
    if "messages" in row:
        text, label = text_of(row["messages"], place), _answer(row["messages"], place)
    elif "prompt" in row and "completion" in row:
        text, label = _text(row, "prompt", place), _text(row, "completion", place)
    elif "text" in row and "label" in row:
        text, label = _text(row, "text", place), _text(row, "label", place)
    else:
        raise _bad(f"{place}: a row is {FORMS}.")
    if len(label) > LONGEST_LABEL:
        raise _bad(
            f"{place}: the answer has {len(label)} characters. This gateway trains classifiers, whose answers are "
            f"labels of at most {LONGEST_LABEL}; it cannot train a model that writes text."
        )
    return Example(text, label)


def _answer(messages: Any, place: str) -> str:
    said = [one for one in _messages(messages, place) if one.get("role") == "assistant"]
    if len(said) != 1:
        raise _bad(f"{place}: a chat must have one answer of the assistant, which is its label, and not {len(said)}.")
    return _content(said[0], place).strip() or _empty(f"{place}: the assistant's message")


def _messages(messages: Any, place: str) -> list[Mapping[str, Any]]:
    if not isinstance(messages, list) or not messages or not all(isinstance(one, Mapping) for one in messages):
        raise _bad(f"{place}: messages must be a list of objects with role and content.")
    return messages


def _content(message: Mapping[str, Any], place: str) -> str:
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, Mapping) and part.get("type") == "text" for part in parts):
        raise _bad(f"{place}: the content of a message must be text.")
    return "\n".join(str(part.get("text", "")) for part in parts)


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row[name]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _bad(f"{place}: {name} must be a text.")
    return str(value).strip() or _empty(f"{place}: {name}")


def _empty(what: str) -> str:
    raise _bad(f"{what} is empty.")


def _bad(message: str) -> Refused:
    return Refused(400, "invalid_file", message, "file")
