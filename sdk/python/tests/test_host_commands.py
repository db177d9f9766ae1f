"""`jobs`, `models`, `usage`, `whoami` and `doctor`, against a host that answers from a table."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blindtune import __version__
from blindtune.cli import doctor, main
from blindtune.cli.account import claims_of

CLAIMS = {"sub": "proj-1", "jti": "key-7", "iat": 1_790_000_000, "exp": 1_800_000_000}
PARTS = (b"{}", json.dumps(CLAIMS).encode(), b"s")
KEY = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in PARTS)


def job(number: int, status: str) -> dict[str, Any]:
    split = {"next_seq": 5, "hidden_size": 8}
    return {"id": f"ftjob-{number}", "status": status, "model": "[b]toy", "created_at": 1_790_000_000, "split": split}


class Answers:
    """What the host says, by method and path; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.jobs = {f"ftjob-{k}": job(k, status) for k, status in enumerate(("running", "paused", "succeeded"))}
        self.models = [{"id": "toy", "hidden_size": 8, "max_tokens": 512, "created": 1_790_000_000}]
        self.key = KEY
        self.me: dict[str, Any] | None = {
            "key_id": "key-7",
            "key_name": "ops",
            "project": "proj-1",
            "project_name": "clinic",
            "scopes": ["jobs", "models"],
            "expires_at": 1_800_000_000,
        }

    def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path))
        if key != f"Bearer {self.key}":
            return 401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
        parts = path.removeprefix("/v1/").split("/")
        if parts[:2] == ["fine_tuning", "jobs"] and len(parts) == 2:
            return 200, {"data": list(self.jobs.values()), "has_more": False}
        if parts[:2] == ["fine_tuning", "jobs"]:
            found = self.jobs.get(parts[2])
            if found is None:
                return 404, {"error": {"message": "There is no such job."}}
            if len(parts) == 4:
                found["status"] = {"cancel": "cancelled", "resume": "running"}[parts[3]]
            return 200, found
        total = {"object": "usage.row", "requests": 12, "steps": 4, "device_seconds": 1.5}
        known: dict[str, Any] = {
            "models": {"data": self.models, "has_more": False},
            "usage": {"start_date": "2026-11-01", "end_date": "2026-11-30", "data": [total], "total": total},
            "me": self.me,
            "fine_tuning/capabilities": {"version": __version__, "device": "cpu", "models": self.models},
        }
        return (
            (200, known["/".join(parts)])
            if known.get("/".join(parts)) is not None
            else (404, {"error": {"message": "no"}})
        )


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def host(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("BLINDTUNE_API_KEY", KEY)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            status, body = answers.answer(self.command, self.path.split("?")[0], self.headers.get("Authorization", ""))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What a command says with --json."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_jobs_are_listed_shown_cancelled_and_resumed(
    host: str, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = told(capsys, "jobs", "list", "--host", host)
    assert [(row["id"], row["status"], row["steps"]) for row in rows] == [
        ("ftjob-0", "running", 4),
        ("ftjob-1", "paused", 4),
        ("ftjob-2", "succeeded", 4),
    ]
    assert [row["id"] for row in told(capsys, "jobs", "list", "--host", host, "--status", "paused")] == ["ftjob-1"]
    assert len(told(capsys, "jobs", "list", "--host", host, "--limit", "2")) == 2
    assert main(["jobs", "list", "--host", host]) == 0
    shown = capsys.readouterr().out
    assert "ftjob-0" in shown and "[b]toy" in shown and "2026-" in shown, "a name from outside is no markup"
    assert told(capsys, "jobs", "show", "ftjob-1", "--host", host)["status"] == "paused"
    assert [row["status"] for row in told(capsys, "jobs", "cancel", "ftjob-0", "ftjob-1", "--host", host)] == [
        "cancelled",
        "cancelled",
    ]
    assert answers.jobs["ftjob-2"]["status"] == "succeeded", "what was not named is left alone"
    assert told(capsys, "jobs", "resume", "ftjob-1", "--host", host)[0]["status"] == "running"
    assert main(["jobs", "cancel", "ftjob-9", "--host", host]) == 2
    assert f"there is no job ftjob-9 at {host}" in capsys.readouterr().err
    assert main(["jobs", "list", "--host", host, "--status", "done"]) == 2
    assert "--status done: there is queued" in capsys.readouterr().err


def test_models_and_usage(host: str, answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["id"] for row in told(capsys, "models", "--host", host)] == ["toy"]
    assert [row["requests"] for row in told(capsys, "usage", "--host", host)] == [12]
    assert len(told(capsys, "usage", "--host", host, "--group-by", "model")) == 2
    answers.models = []
    assert main(["models", "--host", host]) == 0
    assert "blindtuned models add" in capsys.readouterr().out


def test_whoami_says_what_a_key_is_and_never_the_key(
    host: str, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    about = told(capsys, "whoami", "--host", host)
    assert (about["project"], about["key"], about["name"]) == ("proj-1", "key-7", "ops") and about["accepted"] is True
    assert about["project_name"] == "clinic"
    assert main(["whoami", "--host", host]) == 0
    shown = capsys.readouterr().out
    assert "jobs, models" in shown and "2027-01-15" in shown and KEY not in shown
    answers.me = None
    older = told(capsys, "whoami", "--host", host)
    assert older["accepted"] is True and "a host before 0.3" in older["scopes"] and older["key"] == "key-7"
    answers.key = "another"
    refused = told(capsys, "whoami", "--host", host, code=1)
    assert refused["accepted"] is False and refused["host_says"] == "Incorrect API key provided."
    assert claims_of("no token") == claims_of("a.b.c") == {}


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(
    host: str, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    well = {check["what"]: check for check in told(capsys, "doctor", "--host", host)}
    assert [well[what]["result"] for what in (f"{host}/v1/", "clock", "key", "version", "models", "disk")] == ["ok"] * 6
    answers.models = []
    ill = {check["what"]: check for check in told(capsys, "doctor", "--host", host, code=1)}
    assert ill["models"]["result"] == "failed" and "blindtuned models add" in ill["models"]["do"]
    answers.key = "another"
    ill = {check["what"]: check for check in told(capsys, "doctor", "--host", host, code=1)}
    assert ill["key"]["found"] == "refused" and "blindtuned keys create" in ill["key"]["do"]
    nobody = {check["what"]: check for check in told(capsys, "doctor", "--host", "127.0.0.1:9", code=1)}
    assert "not reachable" in nobody["http://127.0.0.1:9/v1/"]["found"]
    assert main(["doctor", "--host", host]) == 1 and KEY not in capsys.readouterr().out


def test_single_checks_of_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_790_000_000.0
    assert doctor.clock({"date": "Mon, 21 Sep 2026 14:13:20 GMT"}, now + 5).result == "ok"
    off = doctor.clock({"date": "Mon, 21 Sep 2026 14:13:20 GMT"}, now + 400)
    assert off.result == "warning" and off.found == "400 s ahead of the host's"
    assert doctor.clock({}, now).found == "the host does not say its time"
    assert doctor.version("9.9.9").result == "warning" and doctor.version(__version__).result == "ok"
    (clear,) = doctor.transport("http://host.example/v1/")
    assert clear.do == "use https://" and not list(doctor.transport("https://host.example/v1/"))
    for free, result in ((10**12, "ok"), (10**9, "warning"), (10**7, "failed")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path, free=free: type("Usage", (), {"free": free}))
        assert doctor.disk(tmp_path / "not" / "there").result == result


def test_keys_and_hosts_must_match(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["models", "--host", "a:1", "--host", "b:2", "--host", "c:3", "--api-key", "x", "--api-key", "y"]
    assert main(words) == 2
    assert "2 keys for 3 hosts: one serves all, or each has its own" in capsys.readouterr().err
