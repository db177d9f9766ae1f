"""Which column is the text, its pair and the label, and what a cell has to be.

Owns: the known column names, GLUE's among them. Must never: guess a label's column from its values.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .source import DataError

TEXT, PAIR = "text", "text_pair"
PAIRS = (("sentence1", "sentence2"), ("question", "sentence"), ("premise", "hypothesis"), ("question1", "question2"))
"""GLUE: MRPC, RTE, STS-B, WNLI; QNLI; MNLI; QQP."""
SINGLE = "sentence"
LABELS = ("label", "gold_label")
VALUES = ("label", "score")
"""Columns of a regression; `score` is STS-B's."""

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Wanted:
    """Columns named by the user; None means the known names."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Columns:
    """Columns found. `pair` and `label` may be missing."""

    text: str
    pair: str | None
    label: str | None

    @classmethod
    def find(cls, names: Collection[str], wanted: Wanted, labels: tuple[str, ...], place: str) -> Columns:
        """The columns among `names`; a named one that is not there, or no text at all, is refused at `place`."""
        for name in (wanted.text, wanted.pair, wanted.label):
            if name is not None and name not in names:
                raise DataError(f"{place}: no column {name!r}; there are {', '.join(names) or 'none'}")
        text, pair = (wanted.text, wanted.pair) if wanted.text is not None else _known(names, place)
        found = next((name for name in labels if name in names), None)
        return cls(text, wanted.pair or pair, wanted.label or found)


def _known(names: Collection[str], place: str) -> tuple[str, str | None]:
    pair = PAIR if PAIR in names else None
    if TEXT in names:
        return TEXT, pair
    both = next(((a, b) for a, b in PAIRS if a in names and b in names), None)
    if both is not None:
        return both
    if SINGLE in names:
        return SINGLE, pair
    raise DataError(
        f"{place}: no column `text` or `sentence`, and no known pair, in {sorted(names)}; name yours: --text-column "
        "and --label-column (in Python text=, label=)"
    )


def text_of(row: Mapping[str, object], columns: Columns, place: str) -> Text:
    """The text of a row, stripped; a pair where the row has one."""
    text = row.get(columns.text)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: no `{columns.text}`")
    pair = row.get(columns.pair) if columns.pair is not None else None
    if pair is None:
        return text.strip()
    if not isinstance(pair, str) or not pair.strip():
        raise DataError(f"{place}: `{columns.pair}` is empty")
    return text.strip(), pair.strip()


def label_of(row: Mapping[str, object], columns: Columns, place: str, names: tuple[str, ...] | None = None) -> str:
    """The name of a row's label; with `names` the cell is a number into them (-1 is Hugging Face's "unknown")."""
    value = row.get(columns.label) if columns.label is not None else None
    if isinstance(value, float) and math.isnan(value):
        value = None
    if names is not None and value is not None:
        number = _whole(value)
        if number is None or not -1 <= number < len(names):
            raise DataError(f"{place}: label {value!r} is not a number below {len(names)}")
        value = names[number] if number >= 0 else None
    if isinstance(value, (list, tuple)):
        raise DataError(f"{place}: `{columns.label}` is a list; rows with several labels are task multilabel")
    if columns.label is None:
        named = ", ".join(row) or "none"
        raise DataError(f"{place}: no `{LABELS[0]}` among the columns {named}; name it with --label-column")
    if value is None or isinstance(value, dict) or not str(value).strip():
        raise DataError(f"{place}: no `{columns.label or LABELS[0]}`")
    whole = _whole(value) if isinstance(value, float) else None  # a column of 0.0 and 1.0 was whole numbers once
    return str(value if whole is None else whole).strip()


def value_of(row: Mapping[str, object], columns: Columns, place: str) -> float:
    """The number of a row, for a regression."""
    cell = row.get(columns.label) if columns.label is not None else None
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise DataError(f"{place}: no `{columns.label or VALUES[0]}`")
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        comma = "; write a point for the decimal comma" if isinstance(cell, str) and "," in cell else ""
        raise DataError(f"{place}: `{columns.label}` is not a number ({cell!r}){comma}") from None
    if not math.isfinite(value):
        raise DataError(f"{place}: `{columns.label}` is {value}")
    return value


def _whole(value: object) -> int | None:
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == value else None
