"""What a run sent to its jobs, call by call, to compare with the hosts' ledgers: hashes and sizes, no byte of a call.

Owns: `sent.jsonl` of a run folder. Must never: hold a text, a tensor or a label, or stop a run that cannot write it.

    {"opened": JOB, "host": 0}             the run made this job: every call of it is here
    {"call": ID, "host": 0, "job": JOB, "kind": "forward", "seq": 1, "bytes": 9, "sha256": HEX}
                                           written before the call goes out, once for each attempt
    {"call": ID, "status": 200}            what it was answered; null where no answer came

A process that is killed leaves a call without its second line: whether the host took it, nobody here knows.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from ..client.sent import Answered, Listener, SentCall
from .run_folder import RunFolder

log = logging.getLogger("blindtune")

NAME = "sent.jsonl"


@dataclass(frozen=True)
class Attempt:
    """One call as it was sent to host number `host`; `status` is None where no answer came, or none is known."""

    name: str
    host: int
    call: SentCall
    status: int | None

    @property
    def taken(self) -> bool:
        """Whether the host said that it did it: then its ledger must list it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the host said that it did not do it. After 408 it may have."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 408


@dataclass(frozen=True)
class Sent:
    """What a record holds, oldest first: the attempts, and the (host, job) pairs, True where from the first call on."""

    attempts: tuple[Attempt, ...] = ()
    jobs: Mapping[tuple[int, str], bool] = field(default_factory=dict)

    def of(self, host: int, job: str) -> list[Attempt]:
        """The attempts at calls of one job."""
        return [attempt for attempt in self.attempts if (attempt.host, attempt.call.job) == (host, job)]


class SentRecord:
    """The record of one run folder. Threads and processes may share it: a line is one write."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder  # a temporary one lives as long as this
        self._session, self._numbers = secrets.token_hex(4), count(1)
        self._lock = Lock()
        self._failed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder.path / NAME

    def opened(self, host: int, job: str) -> None:
        """The run made a job, which was not called yet."""
        self._append({"opened": job, "host": host})

    def on(self, host: int) -> Listener:
        """The listener for calls to host number `host`."""

        def heard(call: SentCall) -> Answered:
            name = f"{self._session}-{next(self._numbers)}"
            self._append({"call": name, "host": host} | asdict(call))
            return lambda status: self._append({"call": name, "status": status})

        return heard

    def read(self) -> Sent:
        """What is recorded. A line cut by a crash is left out."""
        calls: dict[str, Attempt] = {}
        jobs: dict[tuple[int, str], bool] = {}
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):
                _take(json.loads(line), calls, jobs)
        return Sent(tuple(calls.values()), jobs)

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self._lock:
                self._write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            if not self._failed:
                log.warning(
                    "%s cannot be written (%s): ledgers will list calls that it lacks", self.path, error.strerror
                )
            self._failed = True

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            if end:
                os.lseek(descriptor, end - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":  # of a crash: this line must not be lost with that one
                    line = b"\n" + line
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _take(line: Any, calls: dict[str, Attempt], jobs: dict[tuple[int, str], bool]) -> None:
    """One line of any kind."""
    if "opened" in line:
        jobs[int(line["host"]), str(line["opened"])] = True
    elif "sha256" in line:
        call = SentCall(**{one.name: line[one.name] for one in fields(SentCall)})
        jobs.setdefault((int(line["host"]), call.job), False)
        calls[line["call"]] = Attempt(line["call"], int(line["host"]), call, None)
    else:
        calls[line["call"]] = replace(calls[line["call"]], status=line["status"])
