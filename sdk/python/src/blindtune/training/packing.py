"""A trained run as bytes, for pickle and joblib, and back in a folder that goes away with it.

Owns: which files travel. Must never: hold a key. What it makes holds the head and the secret: it is as private as the
run folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..client import Client, normalize_url
from ..client.connection import shown_host
from .run_folder import ABOUT, RunFolder

if TYPE_CHECKING:
    from .trainer import Tuner


def packed(save: Callable[[Path], None]) -> dict[str, bytes]:
    """What `save` writes into a folder, by path."""
    with tempfile.TemporaryDirectory(prefix="blindtune-") as name:
        folder = Path(name)
        save(folder)
        for about in folder.rglob(ABOUT):
            _without_passwords(RunFolder(about.parent))
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def _without_passwords(folder: RunFolder) -> None:
    """Addresses as messages have them: who loads it says where the hosts are."""
    body = folder.about() or {}
    hosts = [host | {"url": normalize_url(shown_host(host["url"]))} for host in body.get("hosts", ())]
    folder.write_about(body | {"hosts": hosts})


def unpacked(files: dict[str, bytes], hosts: Sequence[Client], progress: bool) -> Tuner:
    """A `Tuner` that predicts as the one that was packed."""
    folder = RunFolder(None)
    for name, content in files.items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.write(name, content)
    tuner: Tuner = import_module(".trainer", __package__).Tuner.load(folder.path, hosts, progress=progress)
    tuner.folder = folder  # which it keeps alive
    return tuner
