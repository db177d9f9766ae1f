"""Files with the columns that were named on the command line.

Owns: what is said of a file while it is read. Must never: print a row.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import Columns

if TYPE_CHECKING:
    from ..data import Dataset, Text
    from ..data.source import Source


def labelled(file: str, columns: Columns, names: Sequence[str] | None = None, task: str = "classification") -> Dataset:
    """Labelled rows; `names` are the labels of a run."""
    from ..data import read_dataset

    wanted = {"text": columns.text_column, "text_pair": columns.pair_column, "label": columns.label_column}
    return read_dataset(opened(file, columns), names, task=task, **wanted)


def unlabelled(file: str, columns: Columns) -> list[Text]:
    """Texts, with or without labels beside them."""
    from ..data import read_texts

    return read_texts(opened(file, columns), text=columns.text_column, text_pair=columns.pair_column)


def opened(file: str, columns: Columns) -> Source:
    """A file, saying on standard error what was found out about it."""
    from ..data.sources import open_source

    source = open_source(file, columns.encoding)
    for note in source.notes:
        tell(f"{source.name}: {note}")
    return source


def tell(line: str) -> None:
    """To standard error: results are on standard output."""
    print(line, file=sys.stderr)
