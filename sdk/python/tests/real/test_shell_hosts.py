"""What the shell says of real hosts: their jobs, models, usage, keys, and what the doctor finds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from blindtune.cli import main

from .conftest import MODEL, RealHost


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What a command says with --json."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_host_is_asked_from_the_shell(hosts: list[RealHost], capsys: pytest.CaptureFixture[str]) -> None:
    host = hosts[0]
    where = ["--host", host.url, "--api-key", host.api_key]
    method = {"type": "split", "split": {"custody": "client"}}
    job = host.client().jobs.create(MODEL, method=method)
    assert job.id in [row["id"] for row in told(capsys, "jobs", "list", *where, "--status", "running")]
    assert told(capsys, "jobs", "show", job.id, *where)["model"] == MODEL
    assert told(capsys, "jobs", "cancel", job.id, *where)[0]["status"] == "cancelled"
    assert job.id not in [row["id"] for row in told(capsys, "jobs", "list", *where, "--status", "running")]
    assert MODEL in [row["id"] for row in told(capsys, "models", *where)]
    end = time.monotonic() + 60  # requests are counted within a second or two
    while not (counted := told(capsys, "usage", *where)[0]["requests"]) and time.monotonic() < end:
        time.sleep(0.1)
    assert counted > 0
    about = told(capsys, "whoami", *where)
    assert about["accepted"] is True and about["project"] and about["project_name"] and "jobs:read" in about["scopes"]
    found = {check["what"]: check["result"] for check in told(capsys, "doctor", *where)}
    assert {found[what] for what in ("clock", "key", "version", "models")} == {"ok"}
    assert main(["whoami", *where]) == 0 and host.api_key not in capsys.readouterr().out
    wrong = told(capsys, "whoami", "--host", host.url, "--api-key", host.api_key[:-3] + "abc", code=1)
    assert wrong["accepted"] is False
