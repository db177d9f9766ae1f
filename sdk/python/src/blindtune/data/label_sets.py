"""Rows with several labels at once, or none: how a cell names them, and the matrix that they become.

Owns: the reading of label sets. Must never: guess labels from anything but the label's column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..arrays import F32, I64, AnyArray
from .columns import Columns, label_of
from .source import DataError

LABEL_SETS = ("labels", "label")
"""Columns that are known."""
SEPARATOR = "|"


def labels_of(
    row: Mapping[str, object], columns: Columns, place: str, names: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """The names of a row's labels: of a list, or of a string with `|` between them; both may be empty.

    With `names` the items are numbers into them.
    """
    field = columns.label or LABEL_SETS[0]
    cell = row.get(field)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        raise DataError(f"{place}: no `{field}`; a row without labels has an empty list, or an empty string")
    if isinstance(cell, str):
        return tuple(dict.fromkeys(part.strip() for part in cell.split(SEPARATOR) if part.strip()))
    if isinstance(cell, Mapping) or not isinstance(cell, Iterable):
        raise DataError(f"{place}: `{field}` is neither a list of labels nor a string with {SEPARATOR} between them")
    items = sorted(cell, key=str) if isinstance(cell, (set, frozenset)) else list(cell)
    if any(isinstance(item, (list, tuple)) for item in items):
        raise DataError(f"{place}: `{field}` has a list within its list")
    only = Columns(columns.text, None, field)
    return tuple(dict.fromkeys(label_of({field: item}, only, place, names) for item in items))


def indicator(rows: Sequence[Sequence[str]], known: Sequence[str], places: Sequence[str]) -> F32:
    """[N, C], 1 where a row has a label; an unknown label is refused at its place."""
    numbers = {name: k for k, name in enumerate(known)}
    found = np.zeros((len(rows), len(known)), np.float32)
    for index, (names, place) in enumerate(zip(rows, places, strict=True)):
        for name in names:
            if name not in numbers:
                raise DataError(f"{place}: label {name!r} is not one of {', '.join(known)}")
            found[index, numbers[name]] = 1.0
    return found


def most_even(present: AnyArray) -> int:
    """The label that comes nearest to half of the rows, of `present` [N, C].

    Attacks ask for one thing of a row; this is the one that guessing helps least with.
    """
    return int(np.abs(present.mean(axis=0) - 0.5).argmin())


def nearest_half(present: AnyArray) -> I64:
    """[N]: whether a row has that label."""
    return (present[:, most_even(present)] > 0.5).astype(np.int64)
