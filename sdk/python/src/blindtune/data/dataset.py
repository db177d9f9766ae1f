"""Reads labelled text, keeps the labels here, and writes the file that may travel.

Owns: the mapping from label names to numbers, the row order and the batches. Must never: put a label, or an order
that follows from labels, into anything sent. The upload holds the texts in a secret order, since data files are often
sorted by label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import F32, I64
from ..tasks import TASKS
from .columns import LABELS, PAIR, VALUES, Columns, Text, Wanted, label_of, text_of, value_of
from .label_sets import LABEL_SETS, indicator, labels_of, most_even, nearest_half
from .source import DataError, Source
from .sources import open_source
from .spans import Span, kinds_of, span_names, tagged

__all__ = ["Batches", "DataError", "Dataset", "Text", "read_dataset", "read_texts"]

HALVES = ("below", "above")
"""Label names of a regression: below or above the median, which is what attacks and regularizers go by."""
NAMES_SHOWN = 10
BATCHES_PER_CHUNK = 50
GROUPED_FROM = 200
"""Batches of an epoch from which on rows of similar lengths share one. In fewer they would meet the same rows in each
epoch, which costs accuracy: benches/README.md."""


@dataclass(frozen=True)
class Dataset:
    """Texts (or pairs), and their labels as numbers into `label_names`.

    For a regression `values` [N] are what is to be predicted, and the labels say below (0) or above (1) the median.
    With several labels at once `sets` [N, C] has a 1 where a row has a label, and the labels say whether a row has the
    one that comes nearest to half of the rows. With `spans` the label names are the kinds of spans, and the labels say
    the same of a row's kinds. Beside classes the labels are only what attacks and regularizers go by.
    """

    texts: tuple[Text, ...]
    labels: I64
    label_names: tuple[str, ...]
    values: F32 | None = None
    sets: F32 | None = None
    spans: tuple[tuple[Span, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.label_names)

    @property
    def task(self) -> str:
        """`classification`, `regression`, `multilabel` or `tokens`."""
        targets = {"regression": self.values, "multilabel": self.sets, "tokens": self.spans}
        return next((task for task, of in targets.items() if of is not None), TASKS[0])

    @property
    def sides(self) -> int:
        """How many values `labels` has: those of the classes, or two."""
        return self.classes if self.task == "classification" else 2

    @classmethod
    def from_lists(
        cls,
        texts: Iterable[Any],
        labels: Iterable[Any],
        label_names: Iterable[str] | None = None,
        *,
        task: str = "classification",
    ) -> Dataset:
        """From texts (or pairs) and as many labels, in lists, arrays or pandas Series: X and y of scikit-learn."""
        texts, labels = list(texts), list(labels)
        if len(texts) != len(labels):
            raise DataError(f"{len(texts)} texts and {len(labels)} labels")
        pairs = enumerate(zip(texts, labels, strict=True))
        row_of = _tagged_row if task == "tokens" else _row
        rows = ((f"row {k + 1}", row_of(text, label, k)) for k, (text, label) in pairs)
        return _labelled(Source("the lists", rows), label_names, task, Wanted())

    def take(self, rows: I64) -> Dataset:
        """The rows named, in that order."""
        texts = tuple(self.texts[int(r)] for r in rows)
        values, sets = (None if part is None else part[rows] for part in (self.values, self.sets))
        spans = None if self.spans is None else tuple(self.spans[int(r)] for r in rows)
        return Dataset(texts, self.labels[rows], self.label_names, values, sets, spans)

    def sided_as(self, other: Dataset) -> Dataset:
        """With labels that say of these rows what those of `other` say of its own, to compare attacks on both."""
        mine, theirs = self._present(), other._present()
        if mine is None or theirs is None:
            return self
        return replace(self, labels=mine[:, most_even(theirs)].astype(np.int64))

    def _present(self) -> F32 | None:
        """[N, C], 1 where a row has a label, of rows that may have several."""
        return self.sets if self.spans is None else kinds_of(self.spans, self.label_names)

    def sha256(self) -> str:
        """Names texts and labels; a run refuses to continue on other data. Stays at home."""
        parts: list[Any] = [self.texts, self.labels.tolist(), self.label_names]
        parts += [part.tolist() for part in (self.values, self.sets) if part is not None]
        if self.spans is not None:
            parts.append([[(span.start, span.end, span.label) for span in spans] for spans in self.spans])
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def read_dataset(
    data: Any,
    label_names: Iterable[str] | None = None,
    *,
    task: str = "classification",
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
) -> Dataset:
    """Read labelled texts from a file (TSV, CSV, JSONL, parquet), a pandas DataFrame or a Hugging Face dataset.

    Columns are `text` (or `sentence`), optional `text_pair`, and `label`; GLUE's pairs (sentence1/sentence2,
    question/sentence, premise/hypothesis, question1/question2) are known, and `text`, `text_pair` and `label` name
    others. `label_names` fixes the mapping, as for a dev file read after its train file; otherwise names are sorted,
    integers by value, or are those of the dataset's ClassLabel. With `task="regression"` labels are numbers. With
    `task="multilabel"` a row has any number of them, in the column `labels` (or `label`): a list, or a string with `|`
    between them. With `task="tokens"` they are spans: `text` with `entities` ([{"start": 0, "end": 4, "label":
    "NAME"}]), or `words` with `tags` (BIO: "B-NAME", "I-NAME", "O").
    """
    return _labelled(open_source(data), label_names, task, Wanted(text, text_pair, label))


def read_texts(data: Any, *, text: str | None = None, text_pair: str | None = None) -> list[Text]:
    """Read the texts of anything that `read_dataset` takes, with or without labels."""
    return [found for _, found in rows_with_texts(open_source(data), text, text_pair)]


def rows_with_texts(
    source: Source, text: str | None = None, text_pair: str | None = None
) -> list[tuple[Mapping[str, object], Text]]:
    """Every row with its text; the columns are found as `read_dataset` does it."""
    rows = _rows(source, Wanted(text, text_pair), LABELS)
    return [(row, text_of(row, columns, place)) for place, row, columns in rows]


@dataclass(frozen=True)
class Batches:
    """Which rows each step trains on.

    Shuffled anew each epoch, a function of (seed, step) alone.

    From 200 batches on similar lengths come together: rows are shuffled, cut into chunks of 50 batches, sorted by
    length inside a chunk, cut into batches, and these are shuffled. A last batch that is not full is left out, unless
    it is the only one.
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
        chunk = self.batch_size * (BATCHES_PER_CHUNK if self.per_epoch >= GROUPED_FROM else 1)
        grouped = [order[k : k + chunk] for k in range(0, len(order), chunk)]
        ordered = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in grouped])
        batches = [ordered[k * self.batch_size : (k + 1) * self.batch_size] for k in range(self.per_epoch)]
        return [batches[int(k)].astype(np.int64) for k in generator.permutation(len(batches))]


def text_lengths(texts: Iterable[Text]) -> I64:
    """Characters per text: a stand-in for tokens that needs no tokenizer here."""
    return np.array([len(t) if isinstance(t, str) else len(t[0]) + len(t[1]) for t in texts], dtype=np.int64)


def _rows(source: Source, wanted: Wanted, labels: tuple[str, ...]) -> Iterator[tuple[str, Any, Columns]]:
    """Every row with its place and its columns: found once for a table, row by row where rows may differ."""
    found = None
    if source.columns is not None:
        found = Columns.find(source.columns, wanted, labels, source.head)
    for place, row in source.records:
        yield place, row, found or Columns.find(tuple(row), wanted, labels, place)


def _labelled(source: Source, label_names: Iterable[str] | None, task: str, wanted: Wanted) -> Dataset:
    if task not in TASKS:
        raise DataError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    if task == "regression":
        return _regression(source, label_names, wanted)
    if task == "multilabel":
        return _multilabel(source, label_names, wanted)
    if task == "tokens":
        return _spanned(source, label_names, wanted)
    texts: list[Text] = []
    names: list[str] = []
    places: list[str] = []
    declared: tuple[str, ...] | None = None
    for place, row, columns in _rows(source, wanted, LABELS):
        declared = (source.label_names or {}).get(columns.label or "")
        texts.append(text_of(row, columns, place))
        names.append(label_of(row, columns, place, declared))
        places.append(place)
    if not texts:
        raise DataError(f"{source.name}: no rows")
    known = tuple(label_names) if label_names is not None else declared or _sorted_names(set(names))
    numbers = {name: k for k, name in enumerate(known)}
    for name, place in zip(names, places, strict=True):
        if name not in numbers:
            raise DataError(f"{place}: label {name!r} is not one of {_listed(known)}")
    if len(known) < 2:
        raise DataError(f"{source.name}: only one label ({known[0]}); a classifier needs two")
    return Dataset(tuple(texts), np.array([numbers[n] for n in names], dtype=np.int64), known)


def _regression(source: Source, label_names: Iterable[str] | None, wanted: Wanted) -> Dataset:
    if label_names is not None and tuple(label_names) != HALVES:
        raise DataError(f"{source.name}: a regression has the label names {', '.join(HALVES)}")
    texts: list[Text] = []
    numbers: list[float] = []
    for place, row, columns in _rows(source, wanted, VALUES):
        texts.append(text_of(row, columns, place))
        numbers.append(value_of(row, columns, place))
    if not texts:
        raise DataError(f"{source.name}: no rows")
    values = np.array(numbers, dtype=np.float32)
    if len(set(numbers)) == 1:
        raise DataError(f"{source.name}: every `label` is {numbers[0]:g}; there is nothing to predict")
    above = values > np.median(values)
    if not above.any():  # more than half of the rows have the largest value
        above = values == values.max()
    return Dataset(tuple(texts), above.astype(np.int64), HALVES, values)


def _multilabel(source: Source, label_names: Iterable[str] | None, wanted: Wanted) -> Dataset:
    texts: list[Text] = []
    names: list[tuple[str, ...]] = []
    places: list[str] = []
    declared: tuple[str, ...] | None = None
    for place, row, columns in _rows(source, wanted, LABEL_SETS):
        declared = (source.label_names or {}).get(columns.label or "")
        texts.append(text_of(row, columns, place))
        names.append(labels_of(row, columns, place, declared))
        places.append(place)
    if not texts:
        raise DataError(f"{source.name}: no rows")
    known = tuple(label_names) if label_names is not None else declared or _sorted_names(set().union(*names))
    if not known:
        raise DataError(f"{source.name}: no row has a label")
    sets = indicator(names, known, places)
    return Dataset(tuple(texts), nearest_half(sets), known, sets=sets)


def _spanned(source: Source, label_names: Iterable[str] | None, wanted: Wanted) -> Dataset:
    texts: list[Text] = []
    rows: list[tuple[Span, ...]] = []
    known = None if label_names is None else tuple(label_names)
    for place, row in source.records:
        text, spans = tagged(row, wanted, place, source.label_names)
        for span in spans:
            if known is not None and span.label not in known:
                raise DataError(f"{place}: label {span.label!r} is not one of {_listed(known)}")
        texts.append(text)
        rows.append(spans)
    if not texts:
        raise DataError(f"{source.name}: no rows")
    known = span_names(rows) if known is None else known
    if not known:
        raise DataError(f"{source.name}: no row has a span")
    return Dataset(tuple(texts), nearest_half(kinds_of(rows, known)), known, spans=tuple(rows))


def _tagged_row(text: Any, label: Any, _index: int) -> dict[str, object]:
    return {"text": text, "entities": label} if isinstance(text, str) else {"words": text, "tags": label}


def _row(text: Any, label: Any, index: int) -> dict[str, object]:
    if isinstance(text, str):
        return {"text": text, LABELS[0]: label}
    try:
        first, second = text
    except (TypeError, ValueError):
        raise DataError(f"row {index + 1}: neither a text nor a pair of texts, but {type(text).__name__}") from None
    return {"text": first, PAIR: second, LABELS[0]: label}


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:NAMES_SHOWN])} and {more} more"


def _listed(names: Sequence[str]) -> str:
    """The names, cut where there are many; numbers among them are no labels, more likely."""
    hint = "; for numbers to predict: task regression" if all(map(_is_number, names)) else ""
    return listed(names) + (hint if len(names) > NAMES_SHOWN else "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))
