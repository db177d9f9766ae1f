"""`client.activations` and `client.embeddings`: what a private head is put on.

Owns: the calls under `/activations` and `/embeddings`. Must never: know what they are for.
"""

# Made from ../aio/inference.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Sequence

from ..._generated import operations as op
from ..inference import Input, read_activations, read_embeddings
from ..objects import Activations, Embeddings
from ..requests import given
from .resource import Resource


class ActivationCalls(Resource):
    """`client.activations`: what a private head is put on."""

    def create(
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
        return self._client.call(op.CREATE_ACTIVATIONS, read_activations, body)

    def hidden_states(
        self,
        model: str,
        input: Input,
        *,
        layers: str | int | Sequence[int] = "all",
        tokens: str | Sequence[str] = "all",
        dtype: str = "float32",
    ) -> Activations:
        """The hidden states of a bare backbone, level by level; level 0 is the embeddings' output.

        `layers`: all, how many (evenly spaced, the last one included), or which. `tokens`: all gives `hidden.{layer}`
        [N, H] and `lengths` [B]; cls, mean, max, last or several of them `hidden.{layer}.{pick}` [B, H]. `dtype`:
        float32, float16, or int8 with `.scale` [H] beside each; numpy has no bfloat16.
        """
        levels = layers if isinstance(layers, str | int) else [*layers]
        picks = tokens if isinstance(tokens, str) else [*tokens]
        body = {"model": model, "input": input, "layers": levels, "tokens": picks, "dtype": dtype}
        return self._client.call(op.CREATE_ACTIVATIONS, read_activations, body)

    def features_like(self, model: str, input: Input, job_id: str) -> Activations:
        """The features that a job of method `features` has of its rows, of other inputs: its levels, tokens and dtype.

        The same projection and scales: it needs the job's transform, which is the first of its result files.
        """
        body = {"model": model, "input": input, "like": job_id}
        return self._client.call(op.CREATE_ACTIVATIONS, read_activations, body)


class EmbeddingCalls(Resource):
    """`client.embeddings`: vectors of texts."""

    def create(self, model: str, input: Input) -> Embeddings:
        """One vector for each text: the backbone's, or a fine-tuned model's sets side by side. Travels as base64."""
        body = {"model": model, "input": input, "encoding_format": "base64"}
        return self._client.call(op.CREATE_EMBEDDINGS, read_embeddings, body)
