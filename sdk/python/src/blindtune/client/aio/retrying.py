"""An httpx transport with patience: it sends again what was not answered, or not well.

Owns: sending, and sending again. Must never: decide whether to (transport.py does), or change a body.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx

from ..transport import AsyncSleep, Attempts, Outcome, RetryPolicy, Traffic, given


@dataclass
class AsyncRetryingTransport(httpx.AsyncBaseTransport):
    """Wraps another transport, so that all calls share one pool of connections and one policy.

    Answers are read completely before they are handed on, so a cut answer is retried as well.
    """

    inner: httpx.AsyncBaseTransport
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    traffic: Traffic = field(default_factory=Traffic)
    sleep: AsyncSleep = asyncio.sleep

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until there is an answer worth giving, or patience ends."""
        attempts = Attempts(request, self.policy, self.traffic, len(await request.aread()))
        while True:
            outcome = await self._try(request, attempts)
            wait = attempts.pause(outcome)
            if wait is None:
                return given(outcome)
            await self.sleep(wait)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()

    async def _try(self, request: httpx.Request, attempts: Attempts) -> Outcome:
        attempts.sent()
        try:
            answer = await self.inner.handle_async_request(request)
            if attempts.unread(answer):
                return answer
            try:
                assert isinstance(answer.stream, httpx.AsyncByteStream)
                raw = bytearray()
                async for part in answer.stream:
                    raw += part
                return attempts.whole(answer, bytes(raw))
            finally:
                await answer.aclose()
        except httpx.TransportError as error:
            return error
