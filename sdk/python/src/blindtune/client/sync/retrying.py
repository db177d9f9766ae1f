"""An httpx transport with patience: it sends again what was not answered, or not well.

Owns: sending, and sending again. Must never: decide whether to (transport.py does), or change a body.
"""

# Made from ../aio/retrying.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..transport import ADVICE, Attempts, Outcome, Patience, Sleep, Traffic, given, is_queued, list_of_jobs
from ..waiting import Notices, advice_on, holding, places_of, sentence_of


@dataclass
class RetryingTransport(httpx.BaseTransport):
    """Wraps another transport, so that all calls share one pool of connections and one policy.

    Answers are read completely before they are handed on, so a cut answer is retried as well.
    """

    inner: httpx.BaseTransport
    patience: Patience = field(default_factory=Patience)
    traffic: Traffic = field(default_factory=Traffic)
    sleep: Sleep = time.sleep
    notices: Notices = field(default_factory=Notices)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send until there is an answer worth giving, or patience ends."""
        attempts = Attempts(request, self.patience.policy, self.traffic, len(request.read()))
        while True:
            outcome = self._try(request, attempts)
            wait = attempts.pause(outcome)
            said = attempts.to_say(outcome, wait, self.notices)
            jobs = self._holding(request) if is_queued(outcome) and (said or wait is None) else []
            if wait is None:
                answer = given(outcome)
                answer.extensions[ADVICE] = advice_on(jobs)
                return answer
            if said:
                self.notices.say(sentence_of(outcome, wait, places_of(jobs)))
            self.sleep(wait)

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()

    def _holding(self, request: httpx.Request) -> list[Mapping[str, Any]]:
        """The jobs that hold the places which a request waits for, as far as the host tells."""
        asked = list_of_jobs(request)
        outcome = self._try(asked, Attempts(asked, self.patience.policy, self.traffic, 0))
        return holding(outcome.read()) if isinstance(outcome, httpx.Response) and outcome.is_success else []

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
