"""`/uploads`: a large file in parts."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from ..._generated.api.uploads import cancel_upload
from ..objects import Upload, UploadPart
from .core import Ask, Plan, expiry, post, reads, to
from .files import OCTETS

PART_BYTES = 64 << 20
"""The largest part that the host takes."""


def create(
    filename: str,
    size_bytes: int,
    purpose: str = "fine-tune",
    *,
    mime_type: str = OCTETS,
    expires_after_s: int | None = None,
) -> Ask[Upload]:
    """Announce a file of `size_bytes`. The upload itself is forgotten after an hour."""
    body = {"filename": filename, "bytes": size_bytes, "purpose": purpose, "mime_type": mime_type}
    return post("uploads", reads(Upload), {**body, "expires_after": expiry(expires_after_s)})


def add_part(upload_id: str, data: bytes) -> Ask[UploadPart]:
    """Send the next bytes, at most 64 MiB."""
    options = {"files": {"data": ("data", data, OCTETS)}}
    return Ask("POST", to("uploads", upload_id, "parts"), reads(UploadPart), options, makes=True)


def complete(upload_id: str, part_ids: list[str], *, md5: str | None = None) -> Ask[Upload]:
    """Put the parts together in this order; the answer's `file` is the file. `md5` of the whole is checked."""
    return post(to("uploads", upload_id, "complete"), reads(Upload), {"part_ids": part_ids, "md5": md5})


def cancel(upload_id: str) -> Ask[Upload]:
    """Forget what was sent."""
    return Ask.of(cancel_upload, reads(Upload), upload_id=upload_id)


def upload_file_chunked(
    file: tuple[str, bytes] | str | Path,
    purpose: str = "fine-tune",
    *,
    mime_type: str = OCTETS,
    part_bytes: int = PART_BYTES,
    expires_after_s: int | None = None,
) -> Plan[Upload]:
    """Send (name, bytes) or a path in parts, with its MD5. The upload is cancelled when it fails on the way."""
    name, size = (file[0], len(file[1])) if isinstance(file, tuple) else (Path(file).name, Path(file).stat().st_size)
    upload: Upload = yield create(name, size, purpose, mime_type=mime_type, expires_after_s=expires_after_s)
    digest, part_ids = hashlib.md5(usedforsecurity=False), []
    try:
        with BytesIO(file[1]) if isinstance(file, tuple) else Path(file).open("rb") as source:
            while chunk := source.read(part_bytes):
                digest.update(chunk)
                part: UploadPart = yield add_part(upload.id, chunk)
                part_ids.append(part.id)
        done: Upload = yield complete(upload.id, part_ids, md5=digest.hexdigest())
    except Exception:
        yield cancel(upload.id)
        raise
    return done
