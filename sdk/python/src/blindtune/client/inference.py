"""Inputs of a model, and its answers as arrays.

Owns: how activations and embeddings are read. Must never: send anything.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import cast

from .._generated.schemas import EmbeddingsAnswer
from ..arrays import decode
from .objects import Activations, Embeddings
from .requests import decoded

Input = str | Sequence[str] | Sequence[tuple[str, str]] | Sequence[int] | Sequence[Sequence[int]]
"""One text, texts, pairs of texts, the token ids of one input, or of several."""


def read_activations(body: bytes) -> Activations:
    """From safetensors."""
    return Activations(*decode(body))


def read_embeddings(body: bytes) -> Embeddings:
    """From JSON with the vectors in base64."""
    import numpy as np

    answer = cast("EmbeddingsAnswer", decoded(body))
    rows = sorted(answer["data"], key=lambda row: row["index"])
    vectors = [np.frombuffer(base64.b64decode(str(row["embedding"])), "<f4") for row in rows]
    matrix = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
    return Embeddings(model=str(answer.get("model", "")), vectors=matrix, usage=dict(answer.get("usage", {})))
