"""Adapters as folders that PEFT loads, and a folder that is there in full or not at all.

Owns: the layout of an adapter's folder. Must never: leave half a folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import F32, decode, encode
from ..errors import RunError
from .run_folder import RunFolder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write_adapters(new: RunFolder, layout: Mapping[str, Any], thetas: Sequence[F32]) -> None:
    """`set0`, `set1`, ... as PEFT has them, from flat values [P] and what `Client.adapters` says of their layout."""
    for i, theta in enumerate(thetas):
        matrices = {
            slot["name"]: theta[slot["offset"] : slot["offset"] + int(np.prod(slot["shape"]))].reshape(slot["shape"])
            for slot in layout["layout"]
        }
        new.write_json(f"set{i}/{CONFIG}", layout["peft_config"])
        new.write(f"set{i}/{WEIGHTS}", encode(matrices, {"format": "pt"}))


def read_adapter(folder: Path, layout: Mapping[str, Any]) -> F32:
    """The flat values [P] of one set. `folder` is what PEFT calls an adapter."""
    tensors = decode((folder / WEIGHTS).read_bytes())[0]
    theta = np.zeros(layout["parameters"], np.float32)
    for slot in layout["layout"]:
        found = tensors.pop(slot["name"], None)
        if found is None or list(found.shape) != list(slot["shape"]):
            raise RunError(f"{folder}: {slot['name']} of shape {slot['shape']} is missing: it is for another model")
        theta[slot["offset"] : slot["offset"] + found.size] = found.ravel()
    if tensors:
        raise RunError(f"{folder}: the host's model has no {min(tensors)}")
    return theta


class NewFolder:
    """A folder that appears under its name when all is written, and not at all after an error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> RunFolder:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path}: already there; name a new folder")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        return RunFolder(self._partial)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._partial.replace(self.path)  # onto an empty folder, or onto nothing
        else:
            shutil.rmtree(self._partial)
