"""Jobs that were opened or woken only to look at something, and their end.

Owns: that none is left behind, also by a process that forgets to say so. Must never: end a job that a training needs.
"""

from __future__ import annotations

import logging
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ..client import Client
from ..errors import BlindtuneError

log = logging.getLogger("blindtune")

PATIENCE_S = 3.0
"""How long the end of a job is tried for; a host that is away pauses an idle job by itself."""


@dataclass(frozen=True)
class Visit:
    """A job, and what ends the visit: one that was made for it is cancelled, one that was paused is paused again."""

    client: Client
    job_id: str
    end: Literal["cancel", "pause"]


class Visits:
    """The jobs of one run that are to be closed. Closed with `close`, when nobody holds this any more, or at exit."""

    def __init__(self) -> None:
        self._open: list[Visit] = []
        self._finalizer = weakref.finalize(self, _end_all, self._open)

    def add(self, client: Client, job_id: str, end: Literal["cancel", "pause"]) -> None:
        """One more."""
        self._open.append(Visit(client, job_id, end))

    def forget(self) -> None:
        """The jobs are needed from now on: a training goes on with them."""
        self._open.clear()

    def close(self) -> None:
        """End all of them; more may follow."""
        _end_all(self._open)


def end_quickly(client: Client, job_id: str, end: Literal["cancel", "pause"] = "cancel") -> None:
    """End a job; a host that is away, or has ended it itself, is let be."""
    with suppress(BlindtuneError), client.patience.at_most(PATIENCE_S):
        if end == "cancel":
            client.jobs.cancel(job_id)
        else:
            client.jobs.pause(job_id)
        log.info("%s: closed %s, which was open to look at something", client.host, job_id)


def _end_all(visits: list[Visit]) -> None:
    while visits:
        visit = visits.pop()
        end_quickly(visit.client, visit.job_id, visit.end)
