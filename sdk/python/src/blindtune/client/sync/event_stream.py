"""A job's events as they happen (server-sent events), or those of all jobs, also when the connection breaks on the way.

Owns: connecting, and connecting again. Must never: give an event twice, leave one out, or end before the job has.
"""

# Made from ../aio/event_stream.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
from httpx_sse import EventSource, SSEError

from ...errors import BlindtuneError
from ..event_stream import Position
from ..objects import Event

if TYPE_CHECKING:
    from .client import Client


def stream_events(client: Client, job_id: str | None, after: str | None = None) -> Iterator[Event]:
    """Every event of a job, or those after the one with this id, as they happen; ends when the job has.

    Of all jobs where none is named: those after `after`; that has no end. A connection that breaks is opened again
    where it broke.
    """
    position = Position(job_id, after, client.policy)
    while True:
        failure: httpx.TransportError | None = None
        with closing(client.open_stream(position.path, **position.options())) as response:
            try:
                for message in EventSource(response).iter_sse():
                    event = position.take(message)
                    if event is not None:
                        yield event
                    if position.ended:
                        return
            except SSEError as error:
                raise BlindtuneError(f"the host does not stream events: {error}") from error
            except httpx.TransportError as error:
                failure = error
        time.sleep(position.wait(failure))
