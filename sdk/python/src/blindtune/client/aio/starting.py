"""A job that is being made or looked up: to await, or to use with `async with`. Without asyncio it needs no twin.

Owns: that both forms send once. Must never: send before it is awaited.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..objects import Job
from .live_job import AsyncLiveJob

if TYPE_CHECKING:
    from .client import AsyncClient


class Starting:
    """A call that answers a handle: `job = await ...`, or `async with ... as job:`."""

    def __init__(self, client: AsyncClient, job: Coroutine[Any, Any, Job]) -> None:
        self._client, self._answer = client, job
        self._job: AsyncLiveJob | None = None

    def __await__(self) -> Generator[Any, None, AsyncLiveJob]:
        return self._sent().__await__()

    async def __aenter__(self) -> AsyncLiveJob:
        self._job = await self._sent()
        return self._job

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._job is not None:
            await self._job.__aexit__(kind, error, where)

    async def _sent(self) -> AsyncLiveJob:
        return AsyncLiveJob(self._client, await self._answer)
