"""`client.models`: backbones, fine-tuned models, and their adapters as PEFT folders.

Owns: the calls under `/models` and `/adapters`. Must never: read a weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._generated import operations as op
from ..objects import Model
from ..peft_folders import CONFIG, WEIGHTS, adapter_folders, unpack
from ..requests import FilePart, Form, checked_part, given, nothing, reads
from .pages import AsyncPages
from .resource import AsyncResource


class AsyncModels(AsyncResource):
    """`client.models`: backbones and fine-tuned models."""

    def list(self) -> AsyncPages[Model]:
        """All that this key may use."""
        return AsyncPages(self._client, op.LIST_MODELS, Model.read)

    async def retrieve(self, model: str) -> Model:
        """One model."""
        return await self._client.call(op.GET_MODEL, reads(Model), model=model)

    async def delete(self, model: str) -> None:
        """Remove a fine-tuned model."""
        await self._client.call(op.DELETE_MODEL, nothing, model=model)

    async def download_adapter(self, model: str, folder: str | Path) -> tuple[Path, ...]:
        """Write a fine-tuned model's adapters into `folder`: one folder for each set, which PEFT loads. Their paths."""
        return unpack(await self._client.call(op.GET_MODEL_ADAPTERS, bytes, model=model), Path(folder))

    async def upload_adapter(
        self,
        base_model: str,
        folders: str | Path | Sequence[str | Path],
        *,
        suffix: str | None = None,
        pooling: str | None = None,
    ) -> Model:
        """Make a fine-tuned model of PEFT folders, one a set, in order; or of one that holds `set_0`, `set_1`, ..."""
        parts: list[tuple[str, FilePart]] = []
        for folder in adapter_folders(folders):
            parts.append(("config", (CONFIG, (folder / CONFIG).read_bytes(), "application/json")))
            parts.append(("weights", checked_part(WEIGHTS, (folder / WEIGHTS).read_bytes())))
        form = Form(given({"base_model": base_model, "suffix": suffix, "pooling": pooling}), parts)
        return await self._client.call(op.CREATE_MODEL_ADAPTERS, reads(Model), form)
