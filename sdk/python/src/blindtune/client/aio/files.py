"""`client.files` and `client.uploads`: label-free inputs, the results of jobs, and large files in parts.

Owns: the calls under `/files` and `/uploads`. Must never: look into a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from io import BytesIO
from pathlib import Path

from ..._generated import operations as op
from ...errors import BlindtuneError
from ..objects import File, Upload, UploadPart
from ..requests import OCTETS, Form, checked_part, expiry, given, nothing, reads
from .pages import AsyncPages
from .resource import AsyncResource

PART_BYTES = 64 << 20
"""The largest part that the host takes."""


class AsyncFiles(AsyncResource):
    """`client.files`: label-free inputs, and the results of jobs."""

    async def create(
        self,
        file: tuple[str, bytes] | str | Path,
        purpose: str = "fine-tune",
        *,
        expires_after_s: int | None = None,
        inputs_only: bool = False,
    ) -> File:
        """Upload (name, bytes) or a path. The host refuses files with a column that looks like a label.

        It compares the bytes with their SHA-256, which goes with them, before it keeps any.

        With `expires_after_s` (an hour to 30 days) the host deletes it by itself, that long after it was made.
        `inputs_only` tells it that values which read like labels, as a `text_pair` of few short ones does, are inputs.
        """
        name, content = file if isinstance(file, tuple) else (Path(file).name, Path(file).read_bytes())
        fields = {"purpose": purpose}
        if expires_after_s is not None:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_after_s)}
        if inputs_only:
            fields["inputs_only"] = "true"
        form = Form(fields, [("file", checked_part(name, content))])
        return await self._client.call(op.CREATE_FILE, reads(File), form)

    def list(self, limit: int | None = None) -> AsyncPages[File]:
        """All files, newest first; `limit` is the page size."""
        return AsyncPages(self._client, op.LIST_FILES, File.read, limit=limit)

    async def retrieve(self, file_id: str) -> File:
        """One file."""
        return await self._client.call(op.GET_FILE, reads(File), file_id=file_id)

    async def content(self, file_id: str) -> bytes:
        """What is in it, byte for byte: compared with the SHA-256 that the host gives with it."""
        return await self._client.call(op.GET_FILE_CONTENT, bytes, file_id=file_id)

    async def delete(self, file_id: str) -> None:
        """Remove it from the host."""
        await self._client.call(op.DELETE_FILE, nothing, file_id=file_id)

    async def wait_for_processing(self, file_id: str, *, poll_s: float = 1.0, max_wait_s: float = 1800.0) -> File:
        """Look every `poll_s` until the host has checked it, and give it back as it then is."""
        deadline = time.monotonic() + max_wait_s
        while True:
            file = await self.retrieve(file_id)
            if file.status in ("processed", "error", "deleted"):
                return file
            if time.monotonic() + poll_s > deadline:
                raise BlindtuneError(f"{file_id} is still {file.status} after {max_wait_s:.0f} s")
            await asyncio.sleep(poll_s)


class AsyncUploads(AsyncResource):
    """`client.uploads`: a large file in parts."""

    async def create(
        self,
        filename: str,
        size_bytes: int,
        purpose: str = "fine-tune",
        *,
        mime_type: str = OCTETS,
        expires_after_s: int | None = None,
    ) -> Upload:
        """Announce a file of `size_bytes`. The upload itself is forgotten after an hour."""
        body = {"filename": filename, "bytes": size_bytes, "purpose": purpose, "mime_type": mime_type}
        body |= given({"expires_after": expiry(expires_after_s)})
        return await self._client.call(op.CREATE_UPLOAD, reads(Upload), body)

    async def add_part(self, upload_id: str, data: bytes) -> UploadPart:
        """Send the next bytes, at most 64 MiB."""
        form = Form(files=[("data", checked_part("data", data))])
        return await self._client.call(op.CREATE_UPLOAD_PART, reads(UploadPart), form, upload_id=upload_id)

    async def complete(
        self,
        upload_id: str,
        part_ids: list[str],
        *,
        md5: str | None = None,
        sha256: str | None = None,
        inputs_only: bool = False,
    ) -> Upload:
        """Put the parts together in this order; the answer's `file` is the file. Checksums of it, in hex, are checked.

        `inputs_only` is that of `client.files.create`.
        """
        body = given({"part_ids": part_ids, "md5": md5, "sha256": sha256, "inputs_only": inputs_only or None})
        return await self._client.call(op.COMPLETE_UPLOAD, reads(Upload), body, upload_id=upload_id)

    async def cancel(self, upload_id: str) -> Upload:
        """Forget what was sent."""
        return await self._client.call(op.CANCEL_UPLOAD, reads(Upload), upload_id=upload_id)

    async def upload_file_chunked(
        self,
        file: tuple[str, bytes] | str | Path,
        purpose: str = "fine-tune",
        *,
        mime_type: str = OCTETS,
        part_bytes: int = PART_BYTES,
        expires_after_s: int | None = None,
        inputs_only: bool = False,
    ) -> Upload:
        """Send (name, bytes) or a path in parts, with its SHA-256. The upload is cancelled when it fails on the way."""
        name, size = (
            (file[0], len(file[1])) if isinstance(file, tuple) else (Path(file).name, Path(file).stat().st_size)
        )
        upload = await self.create(name, size, purpose, mime_type=mime_type, expires_after_s=expires_after_s)
        digest, part_ids = hashlib.sha256(), []
        try:
            with BytesIO(file[1]) if isinstance(file, tuple) else Path(file).open("rb") as source:
                while chunk := source.read(part_bytes):
                    digest.update(chunk)
                    part = await self.add_part(upload.id, chunk)
                    part_ids.append(part.id)
            return await self.complete(upload.id, part_ids, sha256=digest.hexdigest(), inputs_only=inputs_only)
        except Exception:
            await self.cancel(upload.id)
            raise
