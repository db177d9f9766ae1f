"""HTTP with patience: retries, their spacing, and the count of bytes.

Owns: when a request is sent again. Must never: change a body; the host tells repeated steps by their bytes.
It is an `httpx.BaseTransport`, so that the generated core and the data plane share one connection pool and one policy.
"""

from __future__ import annotations

import email.utils
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

log = logging.getLogger("blindtune")

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 120.0


@dataclass(frozen=True)
class RetryPolicy:
    """Keep trying for `patience_s`.

    Long enough for a killed host to come back. Answers 500 are tried `server_errors` times.
    """

    patience_s: float = 60.0
    first_wait_s: float = 0.5
    longest_backoff_s: float = 8.0
    jitter: float = 0.25
    server_errors: int = 3


@dataclass
class Traffic:
    """Bytes of bodies sent and received since the start, repeated ones included."""

    up: int = 0
    down: int = 0
    requests: int = 0
    retries: int = 0


@dataclass
class RetryingTransport(httpx.BaseTransport):
    """Wraps another transport.

    Answers are read completely before they are handed on, so a cut answer is retried as well.
    """

    inner: httpx.BaseTransport
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    traffic: Traffic = field(default_factory=Traffic)
    sleep: Callable[[float], None] = time.sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send until there is an answer worth giving, or patience ends."""
        body = request.read()
        deadline = time.monotonic() + self.policy.patience_s
        attempt = 0
        while True:
            response, failure = self._try(request, len(body))
            wait = self._wait_before_retry(attempt, response, failure)
            if wait is None or time.monotonic() + wait > deadline:
                if response is None:
                    assert failure is not None
                    raise failure
                return response
            reason = f"HTTP {response.status_code}" if response is not None else type(failure).__name__
            log.info("%s %s: %s, again in %.1f s", request.method, request.url.path, reason, wait)
            self.sleep(wait)
            attempt += 1
            self.traffic.retries += 1

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()

    def _try(self, request: httpx.Request, size: int) -> tuple[httpx.Response | None, httpx.TransportError | None]:
        self.traffic.requests += 1
        self.traffic.up += size
        try:
            answer = self.inner.handle_request(request)
            try:
                assert isinstance(answer.stream, httpx.SyncByteStream)
                raw = b"".join(answer.stream)
            finally:
                answer.close()
        except httpx.TransportError as error:
            return None, error
        self.traffic.down += len(raw)
        whole = httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(raw))
        return whole, None

    def _wait_before_retry(
        self, attempt: int, response: httpx.Response | None, failure: httpx.TransportError | None
    ) -> float | None:
        """Seconds until the next attempt; None to give the answer (or the failure) to the caller."""
        backoff = min(self.policy.longest_backoff_s, self.policy.first_wait_s * 2.0 ** min(attempt, 10))
        backoff *= 1.0 + self.policy.jitter * random.random()
        if response is None:
            return None if isinstance(failure, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)) else backoff
        verdict = response.headers.get("x-should-retry", "").lower()
        retried = verdict == "true" or (verdict != "false" and response.status_code in RETRIED_STATUSES)
        if not retried or (response.status_code == 500 and attempt >= self.policy.server_errors):
            return None
        asked = retry_after(response.headers)
        if asked is None:
            return backoff
        return None if asked > LONGEST_WAIT_S else asked * (1.0 + self.policy.jitter * random.random())


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
