"""Where labelled texts come from: files, data frames and datasets, all as rows with a place to name in an error.

Owns: formats and their optional packages; text_files.py has those without one. Must never: know what a column means;
see columns.py and dataset.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..extras import need
from .source import DataError, Record, Source
from .text_files import json_lines, table

__all__ = ["DataError", "Record", "Source", "open_source"]

PARQUET_ROWS = 4096
SUFFIXES = ".tsv, .csv, .jsonl, .ndjson, .parquet or .xlsx"
ON_THE_HUB = "hf:"


def open_source(data: Any, encoding: str | None = None) -> Source:
    """A file by its suffix, `hf:NAME:SPLIT`, a data frame, a Hugging Face dataset, columns, or a sequence of rows."""
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, Path)):
        if str(data).startswith(ON_THE_HUB):
            return _from_hub(str(data))
        return _from_file(Path(data), encoding)
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
        f"cannot read a {type(data).__name__}: pass a file ({SUFFIXES}), hf:NAME:SPLIT, a pandas DataFrame, a Hugging "
        "Face dataset, a mapping of columns or a list of rows"
    )


# Files.


def _from_file(path: Path, encoding: str | None) -> Source:
    kind = path.suffix.lower()
    if path.is_dir():
        raise DataError(f"{path} is a folder: pass one file of it ({_files_in(path)})")
    if kind == ".parquet":
        return _from_parquet(path)
    if kind == ".xlsx":
        return _from_xlsx(path)
    if kind in (".jsonl", ".ndjson"):
        return json_lines(path, encoding)
    if kind in (".tsv", ".csv"):
        return table(path, kind, encoding)
    more = "; save it as .xlsx or .csv" if kind in (".xls", ".ods") else ""
    raise DataError(f"{path.name}: the name must end in {SUFFIXES}, or be hf:NAME:SPLIT{more}")


def _files_in(folder: Path) -> str:
    known = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in SUFFIXES.replace(",", " ").split())
    return ", ".join(known[:5]) if known else f"none here is {SUFFIXES}"


def _from_xlsx(path: Path) -> Source:
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    openpyxl = need("openpyxl", "xlsx", f"{path.name}: reading Excel files")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl's own classes, and those of zip and XML
        raise DataError(f"{path.name}: not an Excel file ({error})") from None
    sheet = book.worksheets[0]
    lines = sheet.iter_rows(values_only=True)
    header = next(lines, ())
    columns = tuple(str(name).strip() for name in header if name is not None)
    if len(columns) != len([name for name in header[: len(columns)] if name is not None]):
        raise DataError(f"{path.name}, row 1: a column in the middle has no name")
    others = len(book.worksheets) - 1
    notes = (f"the first sheet is read, {sheet.title!r}, and not the {others} others",) if others else ()
    return Source(path.name, _xlsx_records(lines, columns, path.name), columns, notes=notes)


def _xlsx_records(lines: Iterator[tuple[Any, ...]], columns: tuple[str, ...], name: str) -> Iterator[Record]:
    for row, cells in enumerate(lines, start=2):
        if all(cell is None for cell in cells):
            continue
        if any(cell is not None for cell in cells[len(columns) :]):
            raise DataError(f"{name}, row {row}: a cell stands beyond the last named column")
        yield f"{name}, row {row}", dict(zip(columns, cells, strict=False))


# Hugging Face's hub.


def _from_hub(name: str) -> Source:
    """`hf:NAME:SPLIT`, `hf:NAME/CONFIG:SPLIT` or `hf:OWNER/NAME/CONFIG:SPLIT`."""
    dataset, _, split = name.removeprefix(ON_THE_HUB).partition(":")
    if not split:
        raise DataError(f"{name}: say which split, as {ON_THE_HUB}{dataset}:train")
    datasets = need("datasets", "datasets", f"{name}: reading data sets of the hub")
    problem: Exception | None = None
    for where in _hub_names(dataset):
        try:
            return _from_hugging_face(datasets.load_dataset(*where, split=split))
        except DataError:
            raise
        except Exception as error:  # of datasets, its hub client and the network
            problem = problem or error
    raise DataError(f"{name}: {str(problem).splitlines()[0] if str(problem) else type(problem).__name__}")


def _hub_names(dataset: str) -> list[tuple[str, ...]]:
    """What `a/b` may be: the data set b of a, or the configuration b of a."""
    parts = dataset.split("/")
    if len(parts) == 2:
        return [(dataset,), (parts[0], parts[1])]
    return [("/".join(parts[:2]), *parts[2:])]


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
