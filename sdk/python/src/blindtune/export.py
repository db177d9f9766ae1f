"""`blindtune.export`, as users import it: a trained model as a folder, and back (training/export.py).

Owns: a path that stays. Must never: be imported within the package.
"""

from __future__ import annotations

from pathlib import Path

from .training.trainer import Tuner, load_export

__all__ = ["export", "load_export"]


def export(tuner: Tuner, folder: str | Path, passphrase: str | None = None) -> Path:
    """`tuner.export(folder, passphrase)`."""
    return tuner.export(folder, passphrase)
