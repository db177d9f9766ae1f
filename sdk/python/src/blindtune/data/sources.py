"""Where labelled texts come from: files, data frames and datasets, all as rows with a place to name in an error.

Owns: formats and their optional packages. Must never: know what a column means; see columns.py and dataset.py.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BlindtuneError
from ..extras import need

PARQUET_ROWS = 4096
SUFFIXES = ".tsv, .csv, .jsonl, .ndjson or .parquet"

Record = tuple[str, Mapping[str, object]]
"""Where a row stands ("notes.csv, line 3"), and its fields."""


class DataError(BlindtuneError, ValueError):
    """Data that cannot be read as labelled text; the message names the file and the line, or the row."""


@dataclass(frozen=True)
class Source:
    """Rows from anywhere. `columns` is None where rows may differ (JSONL)."""

    name: str
    records: Iterable[Record]
    columns: tuple[str, ...] | None = None
    label_names: Mapping[str, tuple[str, ...]] | None = None
    """Names of integer labels by column, as Hugging Face's ClassLabel keeps them."""

    @property
    def head(self) -> str:
        """The place of the column names."""
        return f"{self.name}, line 1" if self.name.endswith((".tsv", ".csv")) else self.name


def open_source(data: Any) -> Source:
    """A file by its suffix, a pandas DataFrame, a Hugging Face dataset, a mapping of columns, or a sequence of rows."""
    if isinstance(data, (str, Path)):
        return _from_file(Path(data))
    package = type(data).__module__.partition(".")[0]
    if package == "pandas" and hasattr(data, "columns"):
        return _from_pandas(data)
    if package == "datasets":
        return _from_hugging_face(data)
    if isinstance(data, Mapping):
        return _from_columns(data)
    if isinstance(data, Sequence) and all(isinstance(row, Mapping) for row in data):
        return Source("rows", ((f"row {k + 1}", row) for k, row in enumerate(data)))
    raise DataError(
        f"cannot read a {type(data).__name__}: pass a file ({SUFFIXES}), a pandas DataFrame, a Hugging Face dataset, "
        "a mapping of columns or a list of rows"
    )


# Files.


def _from_file(path: Path) -> Source:
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _from_parquet(path)
    if kind not in (".tsv", ".csv", ".jsonl", ".ndjson"):
        raise DataError(f"{path.name}: the name must end in {SUFFIXES}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 (byte {error.start})") from None
    if kind in (".jsonl", ".ndjson"):
        return Source(path.name, _json_records(content, path.name))
    lines = _table_lines(content, path.name, kind)
    _, header = next(lines, ("", []))
    columns = tuple(name.strip() for name in header)
    return Source(path.name, _table_records(lines, columns), columns)


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


def _table_lines(content: str, name: str, kind: str) -> Iterator[tuple[str, list[str]]]:
    quoting: Literal[0, 3] = 3 if kind == ".tsv" else 0  # QUOTE_NONE, QUOTE_MINIMAL
    delimiter = "\t" if kind == ".tsv" else ","
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


def _from_parquet(path: Path) -> Source:
    parquet = need("pyarrow.parquet", "parquet", f"{path.name}: reading parquet")
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # pyarrow's own classes, known only when it is installed
        raise DataError(f"{path.name}: not parquet ({error})") from None
    metadata = file.schema_arrow.metadata or {}
    return Source(
        path.name,
        _parquet_records(file, path.name),
        tuple(file.schema_arrow.names),
        _names_in_metadata(metadata.get(b"huggingface")),
    )


def _parquet_records(file: Any, name: str) -> Iterator[Record]:
    row = 0
    for batch in file.iter_batches(batch_size=PARQUET_ROWS):
        for fields in batch.to_pylist():
            row += 1
            yield f"{name}, row {row}", fields


def _names_in_metadata(body: bytes | None) -> dict[str, tuple[str, ...]]:
    """Label names that `datasets` leaves in a parquet file; anything else there is not for us."""
    try:
        features = json.loads(body or b"{}")["info"]["features"]
        return {key: tuple(map(str, f["names"])) for key, f in features.items() if "names" in f}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


# Objects. Their packages are not imported here: who passes one has it.


def _from_pandas(frame: Any) -> Source:
    columns = tuple(str(name) for name in frame.columns)
    missing = frame.isna()

    def records() -> Iterator[Record]:
        cells = frame.itertuples(index=False, name=None)
        rows = zip(frame.index, cells, missing.itertuples(index=False, name=None), strict=True)
        for index, values, absent in rows:
            fields = {c: None if gone else v for c, v, gone in zip(columns, values, absent, strict=True)}
            yield f"DataFrame, index {index!r}", fields

    return Source("DataFrame", records(), columns)


def _from_hugging_face(data: Any) -> Source:
    if isinstance(data, Mapping):
        raise DataError(f"a {type(data).__name__} holds several splits: pass one of {', '.join(map(str, data))}")
    features = data.features or {}
    of_items = {key: getattr(f, "feature", f) for key, f in features.items()}  # a list has the names of its items
    names = {key: tuple(map(str, f.names)) for key, f in of_items.items() if getattr(f, "names", None)}
    plain = data.with_format(None)
    records = ((f"{type(data).__name__}, row {k}", row) for k, row in enumerate(plain))
    return Source(type(data).__name__, records, tuple(features) or None, names)


def _from_columns(columns: Mapping[str, Any]) -> Source:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns of different length: {', '.join(f'{k} {n}' for k, n in lengths.items())}")
    rows = zip(*columns.values(), strict=True)
    records = ((f"row {k + 1}", dict(zip(columns, row, strict=True))) for k, row in enumerate(rows))
    return Source("columns", records, tuple(columns))
