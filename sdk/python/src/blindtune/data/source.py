"""Where rows come from, and the error that names a place in it.

Owns: `Source` and `DataError`. Must never: know a format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BlindtuneError

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
    notes: tuple[str, ...] = ()
    """What was found out while it was opened, for people."""

    @property
    def head(self) -> str:
        """The place of the column names."""
        return f"{self.name}, line 1" if self.name.endswith((".tsv", ".csv")) else self.name
