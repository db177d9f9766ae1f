"""Text files as rows: JSON lines, and tables with commas, semicolons, tabs or bars.

Owns: encodings and delimiters. Must never: guess in silence; what was found out stands in the source's notes.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from .chats import ChatReader
from .source import DataError, Record, Source

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def table(path: Path, kind: str, encoding: str | None) -> Source:
    """A .tsv, which has no quotes, or a .csv, whose delimiter is that of its header."""
    content, notes = text_of_file(path, encoding)
    delimiter = "\t" if kind == ".tsv" else delimiter_of(content)
    if kind == ".csv" and delimiter != ",":
        notes = (*notes, f"columns are separated by {DELIMITERS[delimiter]}")
    lines = _table_lines(content, path.name, kind, delimiter)
    _, header = next(lines, ("", []))
    columns = tuple(name.strip() for name in header)
    return Source(path.name, _table_records(lines, columns), columns, notes=notes)


def json_lines(path: Path, encoding: str | None) -> Source:
    """One JSON object a line. Chats as OpenAI's fine-tuning takes them become a text and a label."""
    content, notes = text_of_file(path, encoding)
    if not _starts_with_a_chat(content):
        return Source(path.name, _json_records(content, path.name), notes=notes)
    said = "a file of chats: the user's message is read as the text, the assistant's as the label"
    return Source(path.name, _chats(_json_records(content, path.name)), notes=(*notes, said))


def text_of_file(path: Path, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    """The text of a file: UTF-8 or UTF-16 by its mark, or as `encoding` says; with what was found out."""
    body = path.read_bytes()
    if encoding is not None and encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = None
    found = encoding or next((name for mark, name in MARKS.items() if body.startswith(mark)), "utf-8-sig")
    try:
        content = body.decode(found)
    except LookupError:
        raise DataError(f"{path.name}: there is no encoding {found!r}; latin-1, cp1252 and utf-16 are some") from None
    except UnicodeError as error:
        raise DataError(_not_decoded(path.name, body, found, error)) from None
    if encoding is None and "\0" in content[:1000]:
        raise DataError(f"{path.name}: has zero bytes, as UTF-16 without its mark does: --encoding utf-16-le")
    return content, (f"read as {found}",) if found == "utf-16" and encoding is None else ()


def _not_decoded(name: str, body: bytes, encoding: str, error: UnicodeError) -> str:
    at = error.start if isinstance(error, UnicodeDecodeError) else 0
    where = f"{name}, line {body[:at].count(10) + 1}"
    if encoding != "utf-8-sig":
        return f"{where}: not {encoding} (byte {at})"
    return (
        f"{where}: not UTF-8 (byte {at}). Say what it is, --encoding latin-1 (or cp1252, as Excel writes), or convert "
        f"it: iconv -f latin1 -t utf-8 {name} > utf8-{name}"
    )


def delimiter_of(content: str) -> str:
    """The one that divides the first line into most columns; a comma where none does."""
    first = content.lstrip("\r\n").split("\n", 1)[0].rstrip("\r")

    def columns(delimiter: str) -> int:
        return len(next(csv.reader([first], delimiter=delimiter), []))

    return max(DELIMITERS, key=columns)


def _json_records(content: str, name: str) -> Iterator[Record]:
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{name}, line {line}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise DataError(f"{name}, line {line}: not a JSON object")
        yield f"{name}, line {line}", row


def _starts_with_a_chat(content: str) -> bool:
    """Whether the first row has messages, and no text beside them."""
    first = next((line for line in content.split("\n") if line.strip()), "")
    try:
        row = json.loads(first)
    except ValueError:
        return False  # said with its line, as soon as rows are read
    return isinstance(row, dict) and isinstance(row.get("messages"), list) and not {"text", "label"} & row.keys()


def _chats(records: Iterator[Record]) -> Iterator[Record]:
    chats = ChatReader()
    for place, row in records:
        if "messages" not in row:
            raise DataError(f"{place}: no `messages`, as the first line has them")
        text, label = chats.read(row["messages"], place)
        yield place, {"text": text, "label": label}


def _table_lines(content: str, name: str, kind: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    quoting: Literal[0, 3] = 3 if kind == ".tsv" else 0  # QUOTE_NONE, QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{name}, line {reader.line_num}: {error}") from None
        if fields is None:
            return
        if fields:
            yield f"{name}, line {reader.line_num}", fields


def _table_records(lines: Iterator[tuple[str, list[str]]], columns: tuple[str, ...]) -> Iterator[Record]:
    for place, fields in lines:
        if len(fields) != len(columns):
            raise DataError(f"{place}: {len(fields)} columns, the header has {len(columns)}")
        yield place, dict(zip(columns, fields, strict=True))
