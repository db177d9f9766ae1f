"""Asks a host for the hidden states of texts, every text once and in the order given.

Owns: the requests. Must never: skip, repeat or reorder a text by anything but its place and what the store has of it: a
host that saw fewer texts of one kind would learn something.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from tqdm.auto import tqdm

from ..arrays import AnyArray
from ..client import Client
from ..client.step_calls import Text
from ..data.chunks import evaluation_chunks
from ..data.taps import Taps
from ..errors import ApiError, PayloadTooLargeError, RunError
from .bounds import explained, levels_given
from .pieces import as_one, read_in_pieces, too_long
from .store import LIMIT_VARIABLE, FeatureStore
from .transform import HIDDEN, SCALE, Transform

log = logging.getLogger("blindtune")

KEPT = "float16"
"""Half precision: hidden states are standardised before a network reads them, and need no more."""
SAMPLE = 256
"""Texts from which the size of all is estimated."""

ALL = "all"
Picks = str | tuple[str, ...]
Layers = str | int | Sequence[int]
"""`all`, how many (evenly spaced, the last one included), or which; 0 is the embeddings' output."""


@dataclass(frozen=True)
class FeatureSource:
    """What is asked of which host, `chunk` texts to a call; of `tokens` all, or one vector a text for each pick.

    In int8, or under a projection (`project`, as the host has it: kind, dim, seed), features are those of a job and
    follow from its `transform`, which is None until the job was found.
    """

    client: Client
    model: str
    layers: Layers = "all"
    chunk: int = 128
    dtype: str = KEPT
    project: Mapping[str, Any] | None = None
    transform: Transform | None = None
    tokens: Picks = ALL
    max_length: str = "error"
    """Of a text that is longer than the model takes: `error`, or `chunk`, which reads it in overlapping pieces."""
    long: list[Text] = field(default_factory=list, compare=False, repr=False)
    """Those that were read so."""

    @property
    def of_job(self) -> bool:
        """Whether the features follow from a transform, which a job makes for all of its rows."""
        return self.project is not None or self.dtype == "int8"

    def name(self, text: Text) -> str:
        """Names what is asked of one text."""
        how = [self.dtype] if self.project is None else [self.dtype, dict(sorted(self.project.items()))]
        picked = [] if self.tokens == ALL else [self.picked]
        how += ["chunk"] if self.max_length == "chunk" else []
        asked = json.dumps([self.client.base_url, self.model, self.layers, *how, *picked, text], ensure_ascii=False)
        return _short(asked)

    @property
    def picked(self) -> str | list[str]:
        """The tokens, as a host is asked for them."""
        return self.tokens if isinstance(self.tokens, str) else list(self.tokens)

    def key(self, text: Text) -> str:
        """Names the hidden states of one text: what is asked, and the transform that they came through."""
        return self.bound(self.name(text))

    def bound(self, name: str) -> str:
        """The key of what has this name."""
        if self.transform is not None:
            return _short(f"{name} {self.transform.digest}")
        if self.of_job:
            raise RunError("these features follow from the transform of a job, which is not here: call fit first")
        return name

    def ask(self, texts: Sequence[Text]) -> Taps:
        """One call; two or more where the host will not give so much at once."""
        try:
            found = self._states(texts)
        except PayloadTooLargeError:
            if len(texts) == 1:
                raise
            half = len(texts) // 2
            return Taps.joined([self.ask(texts[:half]), self.ask(texts[half:])])
        except ApiError as error:
            number = too_long(error)
            if number is None:
                raise
            parts = [self.ask(texts[:number])] if number else []
            parts.append(self._in_pieces(texts[number], error))
            parts += [self.ask(texts[number + 1 :])] if number + 1 < len(texts) else []
            return Taps.joined(parts)
        return taps_of(found)

    def _in_pieces(self, text: Text, refusal: ApiError) -> Taps:
        """Of one text that the host refused whole."""
        found = None
        if self.max_length == "chunk":
            found = read_in_pieces(text, lambda parts: Taps.joined([self._whole(some) for some in self._calls(parts)]))
        if found is None:
            start = text if isinstance(text, str) else text[0]
            advice = "max_length='chunk' (--max-length chunk) reads such texts in overlapping pieces"
            raise RunError(
                f"the text that begins {start[:60]!r} is refused: {refusal} Shorten it; {advice}"
            ) from refusal
        self.long.append(text)
        picks = [] if self.tokens == ALL else sorted([self.tokens] if isinstance(self.tokens, str) else self.tokens)
        return as_one(found, picks)

    def _whole(self, texts: Sequence[Text]) -> Taps:
        return taps_of(self._states(texts))

    def _calls(self, texts: Sequence[Text]) -> list[list[Text]]:
        return list(evaluation_chunks(texts, self.chunk))

    def _states(self, texts: Sequence[Text]) -> Mapping[str, AnyArray]:
        transform = self.transform
        if transform is None:
            with explained():
                return self._plain(texts, self.dtype)
        if transform.at_host:
            try:
                return self._like(texts, transform.job_id)
            except ApiError as error:
                if error.param != "like":
                    raise
                log.warning("%s: %s Its transform is applied at home from now on", self.client.base_url, error.message)
                transform.at_host = False
        with explained(gone=transform.job_id):
            found = self._plain(texts, "float32")
        lengths = {"lengths": found.pop("lengths")} if "lengths" in found else {}
        return transform.applied(found, self.dtype) | lengths

    def _like(self, texts: Sequence[Text], job_id: str) -> dict[str, AnyArray]:
        return self.client.activations.features_like(self.model, cast("Sequence[str]", texts), job_id).tensors

    def _plain(self, texts: Sequence[Text], dtype: str) -> dict[str, AnyArray]:
        call, how = self.client.activations.hidden_states, {"layers": self.layers, "tokens": self.picked}
        return call(self.model, cast("Sequence[str]", texts), dtype=dtype, **how).tensors  # type: ignore[arg-type]


@dataclass(frozen=True)
class FeatureSize:
    """How much the hidden states of some texts are, estimated from a few of them."""

    texts: int
    tokens: int
    levels: int
    width: int
    itemsize: int = 2
    unit: str = "tokens"
    """What `tokens` counts: those, or vectors where each text has one a level and pick."""

    @property
    def bytes(self) -> int:
        """On the wire and on disk."""
        return self.tokens * self.levels * self.width * self.itemsize

    def __str__(self) -> str:
        return (
            f"{self.texts:,} texts, about {self.tokens:,} {self.unit}, {self.levels} levels of {self.width} features: "
            f"{self.bytes / 1e6:,.0f} MB"
        )


def download(
    source: FeatureSource, texts: Sequence[Text], store: FeatureStore, progress: bool = False
) -> FeatureSource:
    """See that the store has the taps of these texts; those that it lacks are asked for, in their order."""
    keys = [source.key(text) for text in texts]
    missing = store.missing(keys)
    chunks = list(evaluation_chunks([texts[number] for number in missing], source.chunk))
    first = 0
    with tqdm(total=len(missing), disable=None if progress else True, unit="text", desc="features") as bar:
        for chunk in chunks:
            taps = source.ask(chunk)
            if first == 0:
                _check_size(taps, len(missing), store)
            store.add([keys[number] for number in missing[first : first + len(chunk)]], taps)
            first += len(chunk)
            bar.update(len(chunk))
    if source.long:
        told = f"{len(source.long)} of {len(missing)} texts are longer than {source.model} takes"
        log.warning("%s: each of those was read in overlapping pieces", told)
    return source


def estimate_size(source: FeatureSource, texts: Sequence[Text]) -> FeatureSize:
    """The size of these texts' hidden states, from a random sample of them: one vector a text and level is sent.

    Under a projection, for which a host may give no plain states, one vector a text.
    """
    sample = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    measure = _tapped if source.project is None else _embedded
    tokens = rows = levels = width = 0
    for chunk in evaluation_chunks([texts[int(row)] for row in sample], source.chunk):
        some, levels, width = measure(source, cast("Sequence[str]", chunk))
        tokens += some
        rows += len(chunk)
    itemsize = np.dtype(source.dtype).itemsize
    if source.tokens != ALL:
        return FeatureSize(len(texts), len(texts), levels * len(source.tokens), width, itemsize, "vectors")
    return FeatureSize(len(texts), round(tokens / rows * len(texts)), levels, width, itemsize)


def _tapped(source: FeatureSource, texts: Sequence[str]) -> tuple[int, int, int]:
    """Tokens of these texts, levels, and features of a level."""
    with explained():
        found = source.client.activations.hidden_states(source.model, texts, layers=source.layers, tokens="cls")
    widths = [states.shape[1] for name, states in found.tensors.items() if name.startswith(HIDDEN)]
    return int(found.metadata["prompt_tokens"]), len(widths), widths[0]


def _embedded(source: FeatureSource, texts: Sequence[str]) -> tuple[int, int, int]:
    assert source.project is not None, "of a projection"
    tokens = int(source.client.embeddings.create(source.model, texts).usage["prompt_tokens"])
    return tokens, levels_given(source.client, source.model, source.layers), int(source.project["dim"])


def _check_size(first: Taps, texts: int, store: FeatureStore) -> None:
    """Refuse, after the first answer, what would not fit the store."""
    per_text = len(first.levels[0]) / len(first)
    level = first.levels[0]
    size = FeatureSize(texts, round(per_text * texts), len(first.levels), level.shape[1], level.itemsize)
    log.info("features: %s", size)
    if size.bytes > store.limit:
        raise RunError(
            f"the features are too large to keep: {size}, the store {store.folder} holds {store.limit / 1e6:,.0f} MB; "
            "ask for fewer layers (layers=4) or narrower ones (feature_dtype='int8', project=96), or raise the limit "
            f"(FeatureStore(limit=...), {LIMIT_VARIABLE})"
        )


def levels_of(tensors: Mapping[str, AnyArray]) -> list[AnyArray]:
    """The hidden states among a host's tensors, `hidden.{layer}` [T, H], from the lowest level up.

    Of picks `hidden.{layer}.{pick}` [N, H], those of a level one after the other by their names, the mean last.
    """
    names = sorted((name for name in tensors if name.startswith(HIDDEN) and not name.endswith(SCALE)), key=_layer)
    return [tensors[name] for name in names]


def taps_of(tensors: Mapping[str, AnyArray]) -> Taps:
    """A host's answer as taps. A pick is a level of its own, on which every text has one vector."""
    levels = levels_of(tensors)
    lengths = tensors["lengths"] if "lengths" in tensors else np.ones(len(levels[0]))
    return Taps.of(levels, np.asarray(lengths, dtype=np.int64))


def _layer(name: str) -> tuple[int, str]:
    level, _, pick = name.removeprefix(HIDDEN).partition(".")
    return int(level), pick


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
