"""What a wait is for, in words, and how an address that nobody answers at is explained.

Owns: the sentences, and that they come once for each cause and 10 seconds. Must never: wait, or send anything.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

log = logging.getLogger("blindtune")

SAID_FROM_S = 2.0
"""A request that waits for longer says so."""
SAID_EVERY_S = 10.0
QUEUED = "job_queued"
HOLDING = ("validating_files", "running")
"""Statuses of jobs that take one of the project's places."""
NAMED = 8
"""Jobs that an error names."""


@dataclass
class Notices:
    """What one client has said of its waits, by cause."""

    host: str = ""
    said: dict[str, float] = field(default_factory=dict)

    def due(self, cause: str, waited: float) -> bool:
        """Whether to speak of a request that has waited for so long by the end of its next pause."""
        now = time.monotonic()
        if waited < SAID_FROM_S or now - self.said.get(cause, -SAID_EVERY_S) < SAID_EVERY_S:
            return False
        self.said[cause] = now
        return True

    def say(self, sentence: str) -> None:
        """One line; a program that wants it elsewhere gives the logger `blindtune` a handler."""
        log.warning("%s: %s", self.host, sentence)


def cause_of(outcome: httpx.Response | httpx.TransportError) -> str:
    """The host's code, the HTTP status or the kind of failure: what is said once."""
    if isinstance(outcome, httpx.Response):
        return str(_envelope(outcome).get("code") or f"HTTP {outcome.status_code}")
    return type(outcome).__name__


def sentence_of(outcome: httpx.Response | httpx.TransportError, wait: float, places: str) -> str:
    """Why a request waits; `places` tells of the jobs that hold the project's places."""
    if isinstance(outcome, httpx.TransportError):
        return f"the host does not answer ({type(outcome).__name__}); waiting for it to come back"
    cause = cause_of(outcome)
    if cause == QUEUED:
        return f"waiting for a place{f': {places}' if places else ''}"
    told = {"rate_limit_exceeded": "rate limit of this key"}.get(cause) or _envelope(outcome).get("message") or cause
    return f"waiting {max(1, round(wait))} s: {told}"


# Jobs that hold the places of a project.


def holding(body: bytes) -> list[Mapping[str, Any]]:
    """The jobs of a list that take a place, oldest first."""
    try:
        jobs = [job for job in json.loads(body)["data"] if job.get("status") in HOLDING]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(jobs, key=lambda job: job.get("created_at") or 0)


def places_of(jobs: Sequence[Mapping[str, Any]]) -> str:
    """How many jobs run, and the oldest."""
    if not jobs:
        return ""
    several = f"{len(jobs)} jobs of the project run" if len(jobs) > 1 else "1 job of the project runs"
    return f"{several}, the oldest is {jobs[0].get('id')}"


def advice_on(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Which jobs hold the places, and how to end one."""
    if not jobs:
        return ""
    names = ", ".join(f"{job.get('id')} ({job.get('model')})" for job in jobs[:NAMED])
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return (
        f"These jobs hold the project's places, the oldest first: {names}{more}. "
        f"End one that nobody needs: client.jobs.cancel({str(jobs[0].get('id'))!r})"
    )


def _envelope(response: httpx.Response) -> Mapping[str, Any]:
    try:
        found = json.loads(response.read())["error"]  # of a body that is here already
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


# Addresses.


def why_unreachable(error: httpx.TransportError, host: str) -> str:
    """What is wrong with an address at which the very first request found nobody, and what to look at."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"there is no host of the name in {host}: is the address spelled right?"
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "SSL" in str(error):
        return f"no safe connection to {host}: {error}: does the host speak https, and is its certificate known here?"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes) or "refused" in str(error):
        return f"nothing listens at {host}: is the host running, is the port right?"
    return f"{host} cannot be reached ({error}): is the host running, is the address right?"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it."""
    todo: list[BaseException] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [found for found in (one.__cause__, one.__context__) if found is not None]
        todo += list(getattr(one, "exceptions", ()))
