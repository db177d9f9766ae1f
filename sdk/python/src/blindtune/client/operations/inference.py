"""`/activations` and `/embeddings`: what a private head is put on."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from ...arrays import decode
from ..objects import Activations, Embeddings
from ..step_calls import TENSORS
from .core import Ask, compute, decoded, given

Input = str | Sequence[str] | Sequence[tuple[str, str]] | Sequence[int] | Sequence[Sequence[int]]
"""One text, texts, pairs of texts, the token ids of one input, or of several."""


def activations(
    model: str,
    input: Input,
    *,
    adapters: str | Sequence[int] | None = None,
    base: bool | None = None,
    pooling: str | None = None,
) -> Ask[Activations]:
    """`h.{i}` [B, H] of a fine-tuned model's sets, and `h.base` of a backbone or where `base` is set."""
    chosen = adapters if adapters is None or isinstance(adapters, str) else [*adapters]
    options = {"json": given({"model": model, "input": input, "adapters": chosen, "base": base, "pooling": pooling})}
    return Ask("POST", "activations", _activations, {**options, "headers": {"Accept": TENSORS}})


def embeddings(model: str, input: Input) -> Ask[Embeddings]:
    """One vector for each text: the backbone's, or a fine-tuned model's sets side by side. Travels as base64."""
    return compute("embeddings", _embeddings, {"model": model, "input": input, "encoding_format": "base64"})


def _activations(body: bytes) -> Activations:
    return Activations(*decode(body))


def _embeddings(body: bytes) -> Embeddings:
    answer = decoded(body)
    rows = sorted(answer["data"], key=lambda row: int(row["index"]))
    vectors = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows]
    matrix = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
    return Embeddings(model=str(answer.get("model", "")), vectors=matrix, usage=dict(answer.get("usage", {})))
