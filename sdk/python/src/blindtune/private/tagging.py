"""Spans in texts as BIO tags of tokens: the loss by tokens, and the way back to spans.

Owns: tags, and what a sequence of tags may be. Must never: know where tokens come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import F32, F64, I64, AnyArray
from ..data import Dataset
from ..data.alignment import TokenPlaces
from ..data.spans import Span
from ..errors import RunError
from .evaluation import EvaluationReport, report_spans
from .heads import cross_entropy

IGNORED, OUTSIDE = -1, 0
NEVER = -1e30


@dataclass(frozen=True)
class TokenTags:
    """Tags [T] of the tokens of N texts: 0 outside, 1 + 2k begins label k, 2 + 2k goes on with it, -1 is no word's."""

    tags: I64
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: I64) -> TokenTags:
        """The texts named, in that order."""
        parts = [self.tags[self.offsets[r] : self.offsets[r + 1]] for r in rows]
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        return TokenTags(np.concatenate(parts) if parts else self.tags[:0], offsets)


@dataclass(frozen=True)
class Tagging:
    """`labels` kinds of spans. Outputs are [T, 1 + 2 labels], a logit for each tag of each token."""

    kind: ClassVar[str] = "tokens"

    labels: int

    @property
    def outputs(self) -> int:
        """Outside, and two tags for each label."""
        return 1 + 2 * self.labels

    @property
    def label_count(self) -> int:
        """Kinds of spans."""
        return self.labels

    def loss(self, outputs: F32, targets: TokenTags) -> tuple[float, F32]:
        """Cross entropy, the mean over tokens that have a tag."""
        counted = targets.tags != IGNORED
        gradient = np.zeros_like(outputs)
        if not counted.any():
            return 0.0, gradient
        loss, gradient[counted] = cross_entropy(outputs[counted], targets.tags[counted])
        return loss, gradient

    def guarded(self, targets: TokenTags) -> I64:
        """Whether a text has a span at all."""
        pairs = zip(targets.offsets[:-1], targets.offsets[1:], strict=True)
        return np.array([int((targets.tags[first:end] > OUTSIDE).any()) for first, end in pairs], dtype=np.int64)

    def correct(self, outputs: F32, targets: TokenTags) -> int:
        """Tokens with the right tag."""
        return int(np.sum(outputs.argmax(axis=1) == targets.tags))

    def encode(self, data: Dataset, places: TokenPlaces) -> TokenTags:
        """The tags of these texts' tokens. A span that the host cut off has none."""
        assert data.spans is not None, "data of task tokens has spans"
        number = {name: k for k, name in enumerate(data.label_names)}
        parts = [
            _tags_of(places.of(row), [(span, number[span.label]) for span in spans])
            for row, spans in enumerate(data.spans)
        ]
        return TokenTags(np.concatenate(parts), places.offsets)

    def decode(self, outputs: F32, places: TokenPlaces, names: Sequence[str]) -> list[list[Span]]:
        """The spans of each text: those of its likeliest tags among the sequences that BIO allows."""
        return [
            self._spans(outputs[first:end], places.of(row), names)
            for row, (first, end) in enumerate(zip(places.offsets[:-1], places.offsets[1:], strict=True))
        ]

    def _spans(self, outputs: F32, characters: I64, names: Sequence[str]) -> list[Span]:
        words = characters[:, 1] > characters[:, 0]
        found: list[Span] = []
        tags = _likeliest(outputs[words].astype(np.float64))
        for tag, (start, end) in zip(tags.tolist(), characters[words].tolist(), strict=True):
            if tag == OUTSIDE:
                continue
            goes_on, label = tag % 2 == 0, names[(tag - 1) // 2]
            found = [*found[:-1], Span(found[-1].start, end, label)] if goes_on else [*found, Span(start, end, label)]
        return found

    def report_placed(self, outputs: F32, places: TokenPlaces, data: Dataset) -> EvaluationReport:
        """Precision, recall and F1 of spans that match exactly; `accuracy` and `loss` are those of tokens."""
        assert data.spans is not None, "data of task tokens has spans"
        targets = self.encode(data, places)
        counted = max(1, int((targets.tags != IGNORED).sum()))
        by_token = {"accuracy": self.correct(outputs, targets) / counted, "loss": self.loss(outputs, targets)[0]}
        return report_spans(data.spans, self.decode(outputs, places, data.label_names), by_token, data.label_names)

    def probabilities(self, outputs: F32) -> F32:  # noqa: ARG002
        """Refused: they would be those of tags, for tokens that the data does not name."""
        raise RunError("the run finds spans in texts: use predict")

    def answers(self, outputs: F32, names: Sequence[str]) -> list[Any]:  # noqa: ARG002
        """Refused: spans need the tokens' places; see `decode`."""
        raise RunError("spans need to know where tokens stand: see TaggerHome")

    def report(self, outputs: F32, data: Dataset) -> EvaluationReport:  # noqa: ARG002
        """Refused: see `report_placed`."""
        raise RunError("spans need to know where tokens stand: see TaggerHome")


def _tags_of(characters: I64, spans: Sequence[tuple[Span, int]]) -> I64:
    """[T] of one text: the first token that a span touches begins it, the others go on."""
    start, end = characters.T
    tags = np.where(end > start, OUTSIDE, IGNORED)
    for span, label in spans:
        touched = np.flatnonzero((start < span.end) & (end > span.start) & (end > start))
        tags[touched] = 2 + 2 * label
        tags[touched[:1]] = 1 + 2 * label
    return tags


def _likeliest(scores: F64) -> I64:
    """The best sequence [T] by the sum of scores [T, O] in which every tag that goes on follows its own label's."""
    if not len(scores):
        return np.zeros(0, np.int64)
    begins = np.arange(1, scores.shape[1], 2)
    best, came_from = scores[0].copy(), np.zeros(scores.shape, np.int64)
    best[begins + 1] = NEVER
    for token in range(1, len(scores)):
        came_from[token] = int(best.argmax())
        from_begin = best[begins] >= best[begins + 1]
        came_from[token, begins + 1] = np.where(from_begin, begins, begins + 1)
        best = best[came_from[token]] + scores[token]
    return _traced(int(best.argmax()), came_from)


def _traced(last: int, came_from: AnyArray) -> I64:
    tags = [last]
    for before in came_from[:0:-1]:
        tags.append(int(before[tags[-1]]))
    return np.array(tags[::-1], dtype=np.int64)
