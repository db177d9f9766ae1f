"""A run folder is trained in by one process at a time.

Owns: the lock, and who holds it. Must never: stay behind; the system lets go of the lock of a process that was killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..errors import RunError

LOCK = "lock"
TRIES, PAUSE_S = 5, 0.1
"""Who only looks whether a folder is locked holds it for a moment."""
PLACE = 1 << 20
"""Of the byte that is locked where a locked byte cannot be read."""


@dataclass(frozen=True)
class Holder:
    """The process that trains in a folder."""

    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} (since {self.since})"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, nobody else trains in the folder; refused where somebody does."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _taken(descriptor):
            raise RunError(
                f"{folder}: {_told(descriptor)} works in this run folder; wait for it, or use another folder"
            )
        _write(descriptor)
        yield
    finally:
        os.close(descriptor)  # which lets go of the lock


def holder(folder: Path) -> Holder | None:
    """Who trains in the folder now."""
    if not (folder / LOCK).exists():
        return None
    descriptor = os.open(folder / LOCK, os.O_RDWR)
    try:
        return None if _take(descriptor) else _told(descriptor)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    for _ in range(TRIES):
        if _take(descriptor):
            return True
        time.sleep(PAUSE_S)
    return False


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _write(descriptor: int) -> None:
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "since": since}).encode())


def _told(descriptor: int) -> Holder:
    """What the holder wrote; between its lock and its note there is a moment."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        known = json.loads(os.read(descriptor, 4096))
        return Holder(int(known["pid"]), str(known["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder(0, "a moment ago")
