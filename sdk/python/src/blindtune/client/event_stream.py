"""How far a stream of events has come: what the next connection asks for, and when it is opened.

Owns: the position in the events, and the waits. Must never: connect (aio/event_stream.py and its twin do), or give an
event twice.
"""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
from httpx_sse import ServerSentEvent

from .._generated import operations as op
from ..errors import ApiConnectionError, BlindtuneError
from .objects import Event
from .requests import path_of
from .transport import RetryPolicy

QUIET_S = 45.0
"""The host pings every 15 s; a connection that is silent for longer is dead."""

SHORT_S = 5.0
"""A connection that ends sooner than this, without an event, counts as a failure."""

DONE = "[DONE]"


class Position:
    """How far the events of a job, or of all jobs where none is named, have come, and when to connect again."""

    def __init__(self, job_id: str | None, after: str | None, policy: RetryPolicy) -> None:
        self.path = path_of(op.LIST_EVENTS, job_id=job_id) if job_id else path_of(op.LIST_ALL_EVENTS)
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
