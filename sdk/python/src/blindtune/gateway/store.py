"""What the gateway remembers: files, jobs, batches and events, in SQLite and a folder beside it.

Owns: the tables and the files, readable by this account alone: they hold labels. Must never: be read by a host.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Kind = Literal["file", "job", "batch"]
PREFIX: Mapping[str, str] = {"file": "file-", "job": "ftjob-", "batch": "batch_", "event": "ftevent-"}
SCHEMA = """
create table if not exists objects (
    number integer primary key, id text unique not null, kind text not null, body text not null
);
create table if not exists events (
    number integer primary key, id text unique not null, job text not null references objects (id), body text not null
);
create index if not exists events_of_job on events (job, number);
"""


class Store:
    """One folder: `gateway.sqlite`, `files/ID` and `runs/ID`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        for name in ("files", "runs"):
            (folder / name).mkdir(exist_ok=True, mode=0o700)
        place = folder / "gateway.sqlite"
        os.close(os.open(place, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(place, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.executescript(SCHEMA)
        self._lock = threading.RLock()

    @contextmanager
    def at_once(self) -> Iterator[sqlite3.Connection]:
        """What is written within is seen and kept whole or not at all; it may lie within another."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            with self._connection:
                self._connection.execute("begin immediate")
                yield self._connection

    def add(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """A new object with its id and the time."""
        made = {"id": f"{PREFIX[kind]}{uuid.uuid4().hex}", "created_at": int(time.time()), **body}
        with self.at_once() as connection:
            connection.execute(
                "insert into objects (id, kind, body) values (?, ?, ?)", (made["id"], kind, json.dumps(made))
            )
        return made

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """One object."""
        with self._lock:
            query = "select body from objects where kind = ? and id = ?"
            row = self._connection.execute(query, (kind, name)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def change(self, kind: Kind, name: str, fields: Mapping[str, Any], unless: tuple[str, ...] = ()) -> bool:
        """Set fields of an object, but not where its status is one of `unless`."""
        with self.at_once():
            body = self.get(kind, name)
            if body is None or body.get("status") in unless:
                return False
            changed = json.dumps({**body, **fields})
            self._connection.execute("update objects set body = ? where id = ?", (changed, name))
        return True

    def remove(self, kind: Kind, name: str) -> bool:
        """Forget an object, and its file."""
        with self.at_once() as connection:
            done = connection.execute("delete from objects where kind = ? and id = ?", (kind, name)).rowcount > 0
        if kind == "file":
            self.file(name).unlink(missing_ok=True)
        return done

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """All objects of a kind, newest first."""
        with self._lock:
            query = "select body from objects where kind = ? order by number desc"
            return [dict(json.loads(body)) for (body,) in self._connection.execute(query, (kind,))]

    def tell(self, job: str, message: str, kind: str = "message", data: Mapping[str, Any] | None = None) -> None:
        """An event of a job."""
        made = {
            "object": "fine_tuning.job.event",
            "id": f"{PREFIX['event']}{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "level": "error" if kind == "error" else "info",
            "message": message,
            "type": "metrics" if kind == "metrics" else "message",
            "data": dict(data or {}),
        }
        with self.at_once() as connection:
            connection.execute(
                "insert into events (id, job, body) values (?, ?, ?)", (made["id"], job, json.dumps(made))
            )

    def events(self, job: str) -> list[dict[str, Any]]:
        """Of a job, newest first."""
        with self._lock:
            query = "select body from events where job = ? order by number desc"
            return [dict(json.loads(body)) for (body,) in self._connection.execute(query, (job,))]

    def file(self, name: str) -> Path:
        """Where the content of a file is."""
        return self.folder / "files" / name

    def write_file(self, name: str, content: bytes) -> None:
        """Keep the content of a file."""
        descriptor = os.open(self.file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def run(self, job: str) -> Path:
        """The run folder of a job."""
        return self.folder / "runs" / job

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()


def file_fields(filename: str, purpose: str, size: int) -> dict[str, Any]:
    """A file object, as OpenAI's API has it."""
    fields = {"object": "file", "bytes": size, "filename": filename, "purpose": purpose}
    return fields | {"status": "processed", "status_details": None, "expires_at": None}
