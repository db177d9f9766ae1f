"""Adapters between hosts and PEFT: folders of `adapter_config.json` and `adapter_model.safetensors`, and zips of them.

Owns: those names on disk. Must never: write outside the folder it was given, whatever a zip says.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..errors import BlindtuneError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def unpack(body: bytes, folder: Path) -> tuple[Path, ...]:
    """Write the zip that a host answers with; the PEFT folders in it, in the order of their sets."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except zipfile.BadZipFile as error:
        raise BlindtuneError(f"the host answered with something that is no zip: {error}") from error
    with archive:
        names = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
        for name in names:
            if name.is_absolute() or ".." in name.parts or "\\" in str(name) or name.name not in (CONFIG, WEIGHTS):
                raise BlindtuneError(f"the host's zip holds {str(name)!r}, which is no part of an adapter")
        for name in names:
            target = folder.joinpath(*name.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(str(name)))
    return tuple(sorted({folder.joinpath(*name.parent.parts) for name in names}, key=_number))


def adapter_folders(given: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The PEFT folders meant: those given, or `set_0`, `set_1`, ... in the one that was given."""
    found = tuple(map(Path, [given] if isinstance(given, (str, Path)) else given))
    if len(found) == 1 and not (found[0] / CONFIG).exists():
        found = tuple(sorted((path.parent for path in found[0].glob(f"*/{CONFIG}")), key=_number)) or found
    for folder in found:
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise BlindtuneError(f"{folder} is no PEFT folder: it has no {name}")
    return found


def _number(folder: Path) -> tuple[int, str]:
    """Sets in order of their numbers: `set_10` comes after `set_9`."""
    digits = folder.name.rpartition("_")[2]
    return (int(digits) if digits.isdecimal() else -1, folder.name)
