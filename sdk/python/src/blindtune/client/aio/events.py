"""`client.events`: what happens to all jobs of a project.

Owns: the calls under `/events`. Must never: know one job from another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..._generated import operations as op
from ..objects import Event
from . import event_stream
from .pages import AsyncPages
from .resource import AsyncResource


class AsyncEvents(AsyncResource):
    """`client.events`: events of all jobs; each has its `job_id`."""

    def list(self, limit: int | None = None, *, order: str | None = None) -> AsyncPages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`. `limit` a page."""
        return AsyncPages(self._client, op.LIST_ALL_EVENTS, Event.read, limit=limit, order=order)

    async def stream(self, after: str | None = None) -> AsyncIterator[Event]:
        """Events as they happen: from now on, or after the one with the id `after`. It has no end."""
        if after is None:
            # The newest one now is where it begins, also when the connection breaks before the next has come.
            async for event in self.list(limit=1):
                after = event.id
                break
        async for event in event_stream.stream_events(self._client, None, after):
            yield event
