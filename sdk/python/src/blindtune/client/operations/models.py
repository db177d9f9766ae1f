"""`/models` and `/adapters`: backbones, fine-tuned models, and their adapters as PEFT folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._generated.api.models import delete_model, get_model, get_model_adapters, list_models
from ..objects import Model
from ..peft_folders import CONFIG, WEIGHTS, adapter_folders, unpack
from .core import Ask, Listing, given, nothing, reads
from .files import OCTETS


def list() -> Listing[Model]:
    """All that this key may use."""
    return Listing.of(list_models, Model.read)


def retrieve(model: str) -> Ask[Model]:
    """One model."""
    return Ask.of(get_model, reads(Model), model=model)


def delete(model: str) -> Ask[None]:
    """Remove a fine-tuned model."""
    return Ask.of(delete_model, nothing, model=model)


def download_adapter(model: str, folder: str | Path) -> Ask[tuple[Path, ...]]:
    """Write a fine-tuned model's adapters into `folder`: one folder for each set, which PEFT loads. Their paths."""
    return Ask.of(get_model_adapters, lambda body: unpack(body, Path(folder)), model=model)


def upload_adapter(
    base_model: str,
    folders: str | Path | Sequence[str | Path],
    *,
    suffix: str | None = None,
    pooling: str | None = None,
) -> Ask[Model]:
    """Make a fine-tuned model of PEFT folders, one for each set in order; or of one that holds `set_0`, `set_1`, ..."""
    parts = []
    for folder in adapter_folders(folders):
        parts.append(("config", (CONFIG, (folder / CONFIG).read_bytes(), "application/json")))
        parts.append(("weights", (WEIGHTS, (folder / WEIGHTS).read_bytes(), OCTETS)))
    fields = given({"base_model": base_model, "suffix": suffix, "pooling": pooling})
    return Ask("POST", "adapters", reads(Model), {"data": fields, "files": parts}, makes=True)
