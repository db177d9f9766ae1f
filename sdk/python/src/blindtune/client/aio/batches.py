"""`client.batches`: many requests in one file, answered by the host in its own time.

Owns: the calls under `/batches`. Must never: write a request, or read an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from ..._generated import operations as op
from ...errors import BlindtuneError
from ..objects import Batch
from ..requests import expiry, given, reads
from .pages import AsyncPages
from .resource import AsyncResource


class AsyncBatches(AsyncResource):
    """`client.batches`: many requests in one file, answered by the host in its own time."""

    async def create(
        self,
        input_file_id: str,
        endpoint: str,
        completion_window: str = "24h",
        *,
        metadata: Mapping[str, str] | None = None,
        output_expires_after_s: int | None = None,
    ) -> Batch:
        """Have the requests of a file (purpose `batch`) answered by `/v1/embeddings` or `/v1/activations`.

        The files of its answers are kept for 30 days, or for `output_expires_after_s`.
        """
        body = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": completion_window}
        more = given({"metadata": metadata, "output_expires_after": expiry(output_expires_after_s)})
        return await self._client.call(op.CREATE_BATCH, reads(Batch), body | more)

    def list(self, limit: int | None = None) -> AsyncPages[Batch]:
        """All batches, newest first; `limit` is the page size."""
        return AsyncPages(self._client, op.LIST_BATCHES, Batch.read, limit=limit)

    async def retrieve(self, batch_id: str) -> Batch:
        """One batch."""
        return await self._client.call(op.GET_BATCH, reads(Batch), batch_id=batch_id)

    async def cancel(self, batch_id: str) -> Batch:
        """Give it up; what was answered becomes its files."""
        return await self._client.call(op.CANCEL_BATCH, reads(Batch), batch_id=batch_id)

    async def wait(self, batch_id: str, *, poll_s: float = 1.0, max_wait_s: float = 86_400.0) -> Batch:
        """Look every `poll_s` until it is over, and give it back as it then is."""
        deadline = time.monotonic() + max_wait_s
        while True:
            batch = await self.retrieve(batch_id)
            if not batch.open:
                return batch
            if time.monotonic() + poll_s > deadline:
                raise BlindtuneError(f"{batch_id} is still {batch.status} after {max_wait_s:.0f} s")
            await asyncio.sleep(poll_s)
