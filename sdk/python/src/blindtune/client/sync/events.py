"""`client.events`: what happens to all jobs of a project.

Owns: the calls under `/events`. Must never: know one job from another.
"""

# Made from ../aio/events.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Iterator

from ..._generated import operations as op
from ..objects import Event
from . import event_stream
from .pages import Pages
from .resource import Resource


class Events(Resource):
    """`client.events`: events of all jobs; each has its `job_id`."""

    def list(self, limit: int | None = None, *, order: str | None = None) -> Pages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`. `limit` a page."""
        return Pages(self._client, op.LIST_ALL_EVENTS, Event.read, limit=limit, order=order)

    def stream(self, after: str | None = None) -> Iterator[Event]:
        """Events as they happen: from now on, or after the one with the id `after`. It has no end."""
        if after is None:
            # The newest one now is where it begins, also when the connection breaks before the next has come.
            for event in self.list(limit=1):
                after = event.id
                break
        for event in event_stream.stream_events(self._client, None, after):
            yield event
