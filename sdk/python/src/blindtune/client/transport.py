"""When a request is sent again, how long that waits, the count of bytes, and who is told of an attempt.

Owns: the decision to try again. Must never: send anything, or change a body; the host tells repeated steps by their
bytes. The transports that go by it are aio/retrying.py and its twin; what a wait is for, waiting.py says.
"""

from __future__ import annotations

import email.utils
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import httpx

from .sent import Answered, going_out
from .waiting import QUEUED, Notices, cause_of

log = logging.getLogger("blindtune")

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 120.0

UNREAD = "blindtune.unread"
"""Request extension: hand a good answer on unread, for it comes bit by bit and does not end soon."""

ADVICE = "blindtune.advice"
"""Response extension: what to do about a refusal, which the host did not say."""


@dataclass(frozen=True)
class RetryPolicy:
    """Keep trying for `patience_s`.

    Long enough for a killed host to come back. Answers 500 are tried `server_errors` times. A client's first request
    is not repeated where nobody listens: the address is wrong more often than the host is about to start.
    """

    patience_s: float = 60.0
    first_wait_s: float = 0.5
    longest_backoff_s: float = 8.0
    jitter: float = 0.25
    server_errors: int = 3

    def backoff(self, attempt: int) -> float:
        """Seconds before this attempt, from 0, is repeated, where the host did not say."""
        doubled = min(self.longest_backoff_s, self.first_wait_s * 2.0 ** min(attempt, 10))
        return self.jittered(doubled)

    def jittered(self, seconds: float) -> float:
        """A little more, so that clients that failed together do not come back together."""
        return seconds * (1.0 + self.jitter * random.random())


@dataclass
class Patience:
    """The policy that a client's requests go by now."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Inside, a request is given up after so many seconds: for what is done while leaving."""
        before = self.policy
        self.policy = replace(before, patience_s=min(seconds, before.patience_s))
        try:
            yield
        finally:
            self.policy = before


@dataclass
class Traffic:
    """Bytes of bodies sent and received since the start, repeated ones included."""

    up: int = 0
    down: int = 0
    requests: int = 0
    retries: int = 0
    answers: int = 0
    """Of any status: who has answered once is waited for when he is gone."""


Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]

Outcome = httpx.Response | httpx.TransportError


@dataclass
class Attempts:
    """The attempts at one request: counts them, and says when to try again."""

    request: httpx.Request
    policy: RetryPolicy
    traffic: Traffic
    size: int
    made: int = 0
    started: float = field(default_factory=time.monotonic)
    _answered: Answered | None = field(default=None, repr=False)

    def sent(self) -> None:
        """Count one that goes out, and tell who listens."""
        self.traffic.requests += 1
        self.traffic.up += self.size
        self._answered = going_out(self.request)

    def unread(self, answer: httpx.Response) -> bool:
        """Whether to hand it on as it is."""
        self.traffic.answers += 1
        return answer.is_success and UNREAD in self.request.extensions

    def whole(self, answer: httpx.Response, raw: bytes) -> httpx.Response:
        """The answer with its body read."""
        self.traffic.down += len(raw)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(raw))

    def pause(self, outcome: Outcome) -> float | None:
        """Seconds until the next attempt; None when this outcome is the last."""
        if self._answered is not None:
            self._answered(outcome.status_code if isinstance(outcome, httpx.Response) else None)
        if isinstance(outcome, httpx.ConnectError) and not self.traffic.answers:
            return None
        wait = _wait_before_retry(self.policy, self.made, outcome)
        if wait is None or time.monotonic() + wait > self.started + self.policy.patience_s:
            return None
        reason = f"HTTP {outcome.status_code}" if isinstance(outcome, httpx.Response) else type(outcome).__name__
        log.info("%s %s: %s, again in %.1f s", self.request.method, self.request.url.path, reason, wait)
        self.made += 1
        self.traffic.retries += 1
        return wait

    def to_say(self, outcome: Outcome, wait: float | None, notices: Notices) -> bool:
        """Whether to tell the user what is waited for."""
        if wait is None:
            return False
        return notices.due(cause_of(outcome), time.monotonic() - self.started + wait)


def is_queued(outcome: Outcome) -> bool:
    """Whether a call was refused because other jobs hold the project's places."""
    return isinstance(outcome, httpx.Response) and outcome.status_code == 429 and cause_of(outcome) == QUEUED


def list_of_jobs(request: httpx.Request) -> httpx.Request:
    """The question who holds the places, with the key of the request that has none."""
    root, _, _ = str(request.url).partition("/v1/")
    kept = ("authorization", "host", "user-agent")
    headers = {name: request.headers[name] for name in kept if name in request.headers}
    how = {name: value for name, value in request.extensions.items() if name != UNREAD}
    return httpx.Request("GET", f"{root}/v1/fine_tuning/jobs?limit=100", headers=headers, extensions=how)


def given(outcome: Outcome) -> httpx.Response:
    """The answer; a failure is raised."""
    if isinstance(outcome, httpx.TransportError):
        raise outcome
    return outcome


def _wait_before_retry(policy: RetryPolicy, attempt: int, outcome: Outcome) -> float | None:
    """Seconds until the next attempt; None to give the answer (or the failure) to the caller."""
    if isinstance(outcome, httpx.TransportError):
        hopeless = isinstance(outcome, (httpx.UnsupportedProtocol, httpx.LocalProtocolError))
        return None if hopeless else policy.backoff(attempt)
    verdict = outcome.headers.get("x-should-retry", "").lower()
    retried = verdict == "true" or (verdict != "false" and outcome.status_code in RETRIED_STATUSES)
    if not retried or (outcome.status_code == 500 and attempt >= policy.server_errors):
        return None
    asked = retry_after(outcome.headers)
    if asked is None:
        return policy.backoff(attempt)
    return None if asked > LONGEST_WAIT_S else policy.jittered(asked)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds asked for by `retry-after-ms` or `retry-after` (a number or a date)."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            date = email.utils.parsedate_tz(value)
            if date is not None:
                return max(0.0, email.utils.mktime_tz(date) - time.time())
    return None
