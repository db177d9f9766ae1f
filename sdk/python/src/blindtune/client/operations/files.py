"""`/files`: label-free inputs, and the results of jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..._generated.api.files import delete_file, get_file, get_file_content, list_files
from ...errors import BlindtuneError
from ..objects import File
from .core import Ask, Listing, Plan, Wait, nothing, reads

OCTETS = "application/octet-stream"


def create(
    file: tuple[str, bytes] | str | Path, purpose: str = "fine-tune", *, expires_after_s: int | None = None
) -> Ask[File]:
    """Upload (name, bytes) or a path. The host refuses files with a column that looks like a label.

    With `expires_after_s` (an hour to 30 days) the host deletes it by itself, that long after it was made.
    """
    name, content = file if isinstance(file, tuple) else (Path(file).name, Path(file).read_bytes())
    fields: dict[str, Any] = {"purpose": purpose}
    if expires_after_s is not None:
        fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_after_s)}
    part = {"file": (name, content, OCTETS)}
    return Ask("POST", "files", reads(File), {"data": fields, "files": part}, makes=True)


def list(limit: int | None = None) -> Listing[File]:
    """All files, newest first; `limit` is the page size."""
    return Listing.of(list_files, File.read, limit=limit)


def retrieve(file_id: str) -> Ask[File]:
    """One file."""
    return Ask.of(get_file, reads(File), file_id=file_id)


def content(file_id: str) -> Ask[bytes]:
    """What is in it, byte for byte."""
    return Ask.of(get_file_content, bytes, file_id=file_id)


def delete(file_id: str) -> Ask[None]:
    """Remove it from the host."""
    return Ask.of(delete_file, nothing, file_id=file_id)


def wait_for_processing(file_id: str, *, poll_s: float = 1.0, max_wait_s: float = 1800.0) -> Plan[File]:
    """Look every `poll_s` until the host has checked it, and give it back as it then is."""
    deadline = time.monotonic() + max_wait_s
    while True:
        file: File = yield retrieve(file_id)
        if file.status in ("processed", "error", "deleted"):
            return file
        if time.monotonic() + poll_s > deadline:
            raise BlindtuneError(f"{file_id} is still {file.status} after {max_wait_s:.0f} s")
        yield Wait(poll_s)
