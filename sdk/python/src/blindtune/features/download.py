"""Asks a host for the hidden states of texts, every text once and in the order given.

Owns: the requests. Must never: skip, repeat or reorder a text by anything but its place and what the store has of it: a
host that saw fewer texts of one kind would learn something.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from tqdm import tqdm

from ..arrays import AnyArray
from ..client import Client
from ..client.step_calls import Text
from ..data.chunks import evaluation_chunks
from ..data.taps import Taps
from ..errors import RunError
from .store import LIMIT_VARIABLE, FeatureStore

log = logging.getLogger("blindtune")

KEPT = "float16"
"""Half precision: hidden states are standardised before a network reads them, and need no more."""
SAMPLE = 256
"""Texts from which the size of all is estimated."""

Layers = str | int | Sequence[int]
"""`all`, how many (evenly spaced, the last one included), or which; 0 is the embeddings' output."""


@dataclass(frozen=True)
class FeatureSource:
    """What is asked of which host, `chunk` texts to a call."""

    client: Client
    model: str
    layers: Layers = "all"
    chunk: int = 128

    def key(self, text: Text) -> str:
        """Names the hidden states of one text."""
        asked = json.dumps([self.client.base_url, self.model, self.layers, KEPT, text], ensure_ascii=False)
        return hashlib.sha256(asked.encode()).hexdigest()[:40]

    def ask(self, texts: Sequence[Text]) -> Taps:
        """One call."""
        found = self.client.activations.hidden_states(
            self.model, cast("Sequence[str]", texts), layers=self.layers, tokens="all", dtype=KEPT
        ).tensors
        return Taps.of(levels_of(found), np.asarray(found["lengths"], dtype=np.int64))


@dataclass(frozen=True)
class FeatureSize:
    """How much the hidden states of some texts are, estimated from a few of them."""

    texts: int
    tokens: int
    levels: int
    width: int

    @property
    def bytes(self) -> int:
        """On the wire and on disk, in half precision."""
        return self.tokens * self.levels * self.width * 2

    def __str__(self) -> str:
        return (
            f"{self.texts:,} texts, about {self.tokens:,} tokens, {self.levels} levels of {self.width} features: "
            f"{self.bytes / 1e6:,.0f} MB"
        )


def download(source: FeatureSource, texts: Sequence[Text], store: FeatureStore, progress: bool = False) -> None:
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


def estimate_size(source: FeatureSource, texts: Sequence[Text]) -> FeatureSize:
    """The size of these texts' hidden states, from a random sample of them: one vector a level is all that is sent."""
    sample = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    tokens = rows = 0
    widths: list[int] = []
    for chunk in evaluation_chunks([texts[int(row)] for row in sample], source.chunk):
        found = source.client.activations.hidden_states(
            source.model, cast("Sequence[str]", chunk), layers=source.layers, tokens="cls"
        )
        widths = [states.shape[1] for name, states in found.tensors.items() if name.startswith("hidden.")]
        tokens += int(found.metadata["prompt_tokens"])
        rows += len(chunk)
    return FeatureSize(len(texts), round(tokens / rows * len(texts)), len(widths), widths[0])


def _check_size(first: Taps, texts: int, store: FeatureStore) -> None:
    """Refuse, after the first answer, what would not fit the store."""
    per_text = len(first.levels[0]) / len(first)
    size = FeatureSize(texts, round(per_text * texts), len(first.levels), first.levels[0].shape[1])
    log.info("features: %s", size)
    if size.bytes > store.limit:
        raise RunError(
            f"the features are too large to keep: {size}, the store {store.folder} holds {store.limit / 1e6:,.0f} MB; "
            f"ask for fewer layers (layers=4), or raise the limit (FeatureStore(limit=...), {LIMIT_VARIABLE})"
        )


def levels_of(tensors: Mapping[str, AnyArray]) -> list[AnyArray]:
    """The hidden states among a host's tensors, `hidden.{layer}` [T, H], from the lowest level up."""
    names = sorted((name for name in tensors if name.startswith("hidden.")), key=_layer)
    return [tensors[name] for name in names]


def _layer(name: str) -> int:
    return int(name.removeprefix("hidden."))
