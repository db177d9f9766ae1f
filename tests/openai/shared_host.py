"""One host for all versions that run at once: run.py starts it and hands it on; pytest by itself starts its own.

Owns: how it is handed on, and its clock. Never: ending a host that somebody else started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tiny_host import ROOT, TinyHost, running_host

# Webhooks are delivered on loopback here.
SETTINGS = {"BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE": "true", "BLINDTUNE_WEBHOOKS__BACKOFF_SECS": "[1]"}
FOLDER, URL = "BLINDTUNE_TEST_HOST_FOLDER", "BLINDTUNE_TEST_HOST_URL"


def handed_on(host: TinyHost) -> Mapping[str, str]:
    """What a child's environment says of a host."""
    return {FOLDER: str(host.folder), URL: host.url}


@contextmanager
def shared_host() -> Iterator[TinyHost]:
    """The host that was handed on, or one of our own."""
    if FOLDER not in os.environ:
        with running_host(SETTINGS) as started:
            yield started
        return
    host = TinyHost(Path(os.environ[FOLDER]), SETTINGS)
    host.url = os.environ[URL]
    yield host


def let_pass(host: TinyHost, table: str, row: str, seconds: int) -> None:
    """Move the end of a row this far back, in the host's own Postgres: for this row that much time goes by."""
    log = (host.state / "postgres.log").read_text(encoding="utf-8")
    socket = Path(re.findall(r'listening on Unix socket "(.+)"', log)[-1])
    assert re.fullmatch(r"[0-9a-f]{32}", row), row
    sql = f"update {table} set expires_at = expires_at - interval '{seconds} seconds' where id = '{row}'"
    words = [_psql(), "--no-psqlrc", "-h", socket.parent, "-U", "blindtune", "-d", "blindtune", "-c", sql]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.strip() == "UPDATE 1", f"{done.stdout}{done.stderr}"


def _psql() -> str:
    beside = [ROOT / ".deps/postgres/bin/psql", *sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))]
    found = next((str(path) for path in beside if path.exists()), None) or shutil.which("psql")
    assert found is not None, "psql is missing: install PostgreSQL's client"
    return found
