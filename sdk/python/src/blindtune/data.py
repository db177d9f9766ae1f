"""Reads labelled text, keeps the labels here, and writes the file that may travel.

Owns: the mapping from label names to numbers, the row order and the batches. Must never: put a label, or an order
that follows from labels, into anything sent. The upload holds the texts in a secret order, since data files are often
sorted by label.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .arrays import I64

TEXT_COLUMNS = ("text", "sentence")
PAIR_COLUMN = "text_pair"
LABEL_COLUMN = "label"
BATCHES_PER_CHUNK = 50
CHUNK_BYTES = 128 * 1024

Text = str | tuple[str, str]


class DataError(ValueError):
    """A file that cannot be read as labelled text; the message names file and line."""


@dataclass(frozen=True)
class Dataset:
    """Texts (or pairs), and their labels as numbers into `label_names`."""

    texts: tuple[Text, ...]
    labels: I64
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.label_names)

    def take(self, rows: I64) -> Dataset:
        """The rows named, in that order."""
        return Dataset(tuple(self.texts[int(r)] for r in rows), self.labels[rows], self.label_names)

    def sha256(self) -> str:
        """Names texts and labels; a run refuses to continue on other data. Stays at home."""
        body = json.dumps([self.texts, self.labels.tolist(), self.label_names], ensure_ascii=False)
        return hashlib.sha256(body.encode()).hexdigest()


def read_dataset(path: str | Path, label_names: Iterable[str] | None = None) -> Dataset:
    """Read TSV, CSV or JSONL with columns `text` (or `sentence`), optional `text_pair`, and `label`.

    `label_names` fixes the mapping, as for a dev file read after its train file; otherwise names are sorted, integers
    by value.
    """
    path = Path(path)
    texts: list[Text] = []
    names: list[str] = []
    for line, row in _records(path):
        texts.append(_text_of(row, path, line))
        label = row.get(LABEL_COLUMN)
        if label is None or isinstance(label, (dict, list)) or not str(label).strip():
            raise DataError(f"{path.name}, line {line}: no `{LABEL_COLUMN}`")
        names.append(str(label).strip())
    if not texts:
        raise DataError(f"{path.name}: no rows")
    known = tuple(label_names) if label_names is not None else _sorted_names(set(names))
    numbers = {name: k for k, name in enumerate(known)}
    for k, name in enumerate(names):
        if name not in numbers:
            raise DataError(f"{path.name}, row {k + 1}: label {name!r} is not one of {', '.join(known)}")
    if len(known) < 2:
        raise DataError(f"{path.name}: only one label ({known[0]}); a classifier needs two")
    return Dataset(tuple(texts), np.array([numbers[n] for n in names], dtype=np.int64), known)


def read_texts(path: str | Path) -> list[Text]:
    """Read the texts of a file with or without labels."""
    path = Path(path)
    return [_text_of(row, path, line) for line, row in _records(path)]


def upload_bytes(texts: Iterable[Text]) -> bytes:
    """The label-free JSONL that a host gets: `text`, and `text_pair` for pairs. Nothing else."""
    lines = []
    for text in texts:
        row = {"text": text} if isinstance(text, str) else {"text": text[0], PAIR_COLUMN: text[1]}
        lines.append(json.dumps(row, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True)
class Batches:
    """Which rows each step trains on.

    Shuffled anew each epoch, similar lengths together, a function of (seed, step) alone.

    Rows are shuffled, cut into chunks of 50 batches, sorted by length inside a chunk, cut into batches, and these are
    shuffled. A last batch that is not full is left out, unless it is the only one.
    """

    lengths: I64
    batch_size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps in one pass over the data."""
        return max(1, len(self.lengths) // self.batch_size)

    def rows(self, step: int) -> I64:
        """The rows of `step`, counted from 0 over all epochs."""
        epoch, index = divmod(step, self.per_epoch)
        return self.epoch(epoch)[index]

    def epoch(self, epoch: int) -> list[I64]:
        """All batches of one epoch."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        order = generator.permutation(len(self.lengths))
        chunk = self.batch_size * BATCHES_PER_CHUNK
        grouped = [order[k : k + chunk] for k in range(0, len(order), chunk)]
        ordered = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in grouped])
        batches = [ordered[k * self.batch_size : (k + 1) * self.batch_size] for k in range(self.per_epoch)]
        return [batches[int(k)].astype(np.int64) for k in generator.permutation(len(batches))]


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


def text_lengths(texts: Iterable[Text]) -> I64:
    """Characters per text: a stand-in for tokens that needs no tokenizer here."""
    return np.array([len(t) if isinstance(t, str) else len(t[0]) + len(t[1]) for t in texts], dtype=np.int64)


def _records(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    kind = path.suffix.lower()
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 (byte {error.start})") from None
    if kind in (".jsonl", ".ndjson"):
        return _json_records(content, path)
    if kind in (".tsv", ".csv"):
        return _table_records(content, path, kind)
    raise DataError(f"{path.name}: the name must end in .tsv, .csv or .jsonl")


def _json_records(content: str, path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path.name}, line {line}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path.name}, line {line}: not a JSON object")
        yield line, row


def _table_records(content: str, path: Path, kind: str) -> Iterator[tuple[int, dict[str, object]]]:
    quoting: Literal[0, 3] = 3 if kind == ".tsv" else 0  # QUOTE_NONE, QUOTE_MINIMAL
    delimiter = "\t" if kind == ".tsv" else ","
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] = []
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path.name}, line {reader.line_num}: {error}") from None
        if fields is None:
            return
        if not header:
            header = [name.strip() for name in fields]
            if not set(header) & set(TEXT_COLUMNS):
                raise DataError(f"{path.name}, line 1: no column `text` or `sentence` in the header {header}")
        elif fields and len(fields) != len(header):
            raise DataError(f"{path.name}, line {reader.line_num}: {len(fields)} columns, the header has {len(header)}")
        elif fields:
            yield reader.line_num, dict(zip(header, fields, strict=True))


def _text_of(row: dict[str, object], path: Path, line: int) -> Text:
    text = next((row[name] for name in TEXT_COLUMNS if name in row), None)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{path.name}, line {line}: no `text`")
    pair = row.get(PAIR_COLUMN)
    if pair is None:
        return text.strip()
    if not isinstance(pair, str) or not pair.strip():
        raise DataError(f"{path.name}, line {line}: `{PAIR_COLUMN}` is empty")
    return text.strip(), pair.strip()


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))
