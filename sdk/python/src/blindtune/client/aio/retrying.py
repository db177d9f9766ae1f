"""An httpx transport with patience: it sends again what was not answered, or not well.

Owns: sending, and sending again. Must never: decide whether to (transport.py does), or change a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..transport import ADVICE, AsyncSleep, Attempts, Outcome, Patience, Traffic, given, is_queued, list_of_jobs
from ..waiting import Notices, advice_on, holding, places_of, sentence_of


@dataclass
class AsyncRetryingTransport(httpx.AsyncBaseTransport):
    """Wraps another transport, so that all calls share one pool of connections and one policy.

    Answers are read completely before they are handed on, so a cut answer is retried as well.
    """

    inner: httpx.AsyncBaseTransport
    patience: Patience = field(default_factory=Patience)
    traffic: Traffic = field(default_factory=Traffic)
    sleep: AsyncSleep = asyncio.sleep
    notices: Notices = field(default_factory=Notices)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until there is an answer worth giving, or patience ends."""
        attempts = Attempts(request, self.patience.policy, self.traffic, len(await request.aread()))
        while True:
            outcome = await self._try(request, attempts)
            wait = attempts.pause(outcome)
            said = attempts.to_say(outcome, wait, self.notices)
            jobs = await self._holding(request) if is_queued(outcome) and (said or wait is None) else []
            if wait is None:
                answer = given(outcome)
                answer.extensions[ADVICE] = advice_on(jobs)
                return answer
            if said:
                self.notices.say(sentence_of(outcome, wait, places_of(jobs)))
            await self.sleep(wait)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()

    async def _holding(self, request: httpx.Request) -> list[Mapping[str, Any]]:
        """The jobs that hold the places which a request waits for, as far as the host tells."""
        asked = list_of_jobs(request)
        outcome = await self._try(asked, Attempts(asked, self.patience.policy, self.traffic, 0))
        return holding(outcome.read()) if isinstance(outcome, httpx.Response) and outcome.is_success else []

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
