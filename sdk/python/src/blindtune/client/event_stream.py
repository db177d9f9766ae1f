"""A job's events as they happen (server-sent events), also when the connection breaks on the way.

Owns: the place in the events, and when to connect again. Must never: give an event twice, or end before the job has.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any, Protocol

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from ..errors import ApiConnectionError, BlindtuneError
from .objects import Event
from .operations.core import to
from .transport import RetryPolicy

QUIET_S = 45.0
"""The host pings every 15 s; a connection that is silent for longer is dead."""

SHORT_S = 5.0
"""A connection that ends sooner than this, without an event, counts as a failure."""

DONE = "[DONE]"


class Opens(Protocol):
    """What a client offers to open a stream."""

    policy: RetryPolicy

    def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """An answer whose body is not read yet."""
        ...


class AsyncOpens(Protocol):
    """What an asynchronous client offers to open a stream."""

    policy: RetryPolicy

    async def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """An answer whose body is not read yet."""
        ...


class _Place:
    """Where in the events of a job we are."""

    def __init__(self, job_id: str, after: str | None, policy: RetryPolicy) -> None:
        self.path = to("fine_tuning", "jobs", job_id, "events")
        self.ended = False
        self._last, self._policy = after, policy
        self._failures, self._failing_since, self._opened, self._asked_wait = 0, 0.0, 0.0, 0.0

    def options(self) -> dict[str, Any]:
        """How to ask for what comes next."""
        self._opened = time.monotonic()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        timeout = httpx.Timeout(QUIET_S, connect=5.0)
        return {"headers": headers | ({"Last-Event-ID": self._last} if self._last else {}), "timeout": timeout}

    def take(self, message: ServerSentEvent) -> Event | None:
        """The event in a message; None for the last one, which only says that it is."""
        self._failures = 0
        self._last = message.id or self._last
        self._asked_wait = (message.retry or 0) / 1000.0
        if message.data == DONE:
            self.ended = True
        if self.ended or not message.data:
            return None
        try:
            body = json.loads(message.data)
        except ValueError as error:
            raise BlindtuneError(f"an event of {self.path} is no JSON") from error
        if not isinstance(body, dict) or body.get("error"):
            raise BlindtuneError(f"the events of {self.path} ended in an error: {message.data[:200]}")
        return Event.read(body)

    def wait(self, failure: Exception | None) -> float:
        """Seconds until the next connection; raises when none has held for as long as the policy has patience."""
        now = time.monotonic()
        if self._failures == 0 or now - self._opened > SHORT_S:
            self._failures, self._failing_since = 0, now
        self._failures += 1
        if now - self._failing_since > self._policy.patience_s:
            raise ApiConnectionError(f"{self.path}: the events end again and again ({failure or 'without an error'})")
        return max(self._asked_wait, self._policy.backoff(self._failures - 1))


def stream_events(client: Opens, job_id: str, after: str | None = None) -> Iterator[Event]:
    """Every event of a job, or those after the one with this id, as they happen; ends when the job has.

    A connection that breaks is opened again where it broke.
    """
    place = _Place(job_id, after, client.policy)
    while True:
        failure: httpx.TransportError | None = None
        with closing(client.open_stream(place.path, **place.options())) as response:
            try:
                for message in EventSource(response).iter_sse():
                    event = place.take(message)
                    if event is not None:
                        yield event
                    if place.ended:
                        return
            except SSEError as error:
                raise BlindtuneError(f"the host does not stream events: {error}") from error
            except httpx.TransportError as error:
                failure = error
        time.sleep(place.wait(failure))


async def stream_events_async(client: AsyncOpens, job_id: str, after: str | None = None) -> AsyncIterator[Event]:
    """As `stream_events`, for `async for`."""
    place = _Place(job_id, after, client.policy)
    while True:
        failure: httpx.TransportError | None = None
        async with aclosing(await client.open_stream(place.path, **place.options())) as response:
            try:
                async for message in EventSource(response).aiter_sse():
                    event = place.take(message)
                    if event is not None:
                        yield event
                    if place.ended:
                        return
            except SSEError as error:
                raise BlindtuneError(f"the host does not stream events: {error}") from error
            except httpx.TransportError as error:
                failure = error
        await asyncio.sleep(place.wait(failure))
