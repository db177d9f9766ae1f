"""`client.activations` and `client.embeddings`: what a private head is put on.

Owns: the calls under `/activations` and `/embeddings`. Must never: know what they are for.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._generated import operations as op
from ..inference import Input, read_activations, read_embeddings
from ..objects import Activations, Embeddings
from ..requests import given
from .resource import AsyncResource


class AsyncActivationCalls(AsyncResource):
    """`client.activations`: what a private head is put on."""

    async def create(
        self,
        model: str,
        input: Input,
        *,
        adapters: str | Sequence[int] | None = None,
        base: bool | None = None,
        pooling: str | None = None,
    ) -> Activations:
        """`h.{i}` [B, H] of a fine-tuned model's sets, and `h.base` of a backbone or where `base` is set."""
        chosen = adapters if adapters is None or isinstance(adapters, str) else [*adapters]
        body = given({"model": model, "input": input, "adapters": chosen, "base": base, "pooling": pooling})
        return await self._client.call(op.CREATE_ACTIVATIONS, read_activations, body)


class AsyncEmbeddingCalls(AsyncResource):
    """`client.embeddings`: vectors of texts."""

    async def create(self, model: str, input: Input) -> Embeddings:
        """One vector for each text: the backbone's, or a fine-tuned model's sets side by side. Travels as base64."""
        body = {"model": model, "input": input, "encoding_format": "base64"}
        return await self._client.call(op.CREATE_EMBEDDINGS, read_embeddings, body)
