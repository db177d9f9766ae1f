"""An httpx transport with patience: it sends again what was not answered, or not well.

Owns: sending, and sending again. Must never: decide whether to (transport.py does), or change a body.
"""

# Made from ../aio/retrying.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

import time
from dataclasses import dataclass, field

import httpx

from ..transport import Attempts, Outcome, RetryPolicy, Sleep, Traffic, given


@dataclass
class RetryingTransport(httpx.BaseTransport):
    """Wraps another transport, so that all calls share one pool of connections and one policy.

    Answers are read completely before they are handed on, so a cut answer is retried as well.
    """

    inner: httpx.BaseTransport
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    traffic: Traffic = field(default_factory=Traffic)
    sleep: Sleep = time.sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send until there is an answer worth giving, or patience ends."""
        attempts = Attempts(request, self.policy, self.traffic, len(request.read()))
        while True:
            outcome = self._try(request, attempts)
            wait = attempts.pause(outcome)
            if wait is None:
                return given(outcome)
            self.sleep(wait)

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()

    def _try(self, request: httpx.Request, attempts: Attempts) -> Outcome:
        attempts.sent()
        try:
            answer = self.inner.handle_request(request)
            if attempts.unread(answer):
                return answer
            try:
                assert isinstance(answer.stream, httpx.SyncByteStream)
                raw = bytearray()
                for part in answer.stream:
                    raw += part
                return attempts.whole(answer, bytes(raw))
            finally:
                answer.close()
        except httpx.TransportError as error:
            return error
