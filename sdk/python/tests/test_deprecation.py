"""A client warns of calls that its host deprecates, against a server that answers like a host."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from blindtune import AsyncClient, Client, RetryPolicy
from blindtune import errors as e

SINCE = "@1767225600"  # 2026-01-01
FUTURE = "@32503680000"  # 3000-01-01
SUNSET = "Wed, 30 Jun 2027 23:59:59 GMT"
LINK = '</v1/openapi.json>; rel="service-desc", </docs/releasing#jobs>; rel="deprecation"; type="text/html"'
PAGE = json.dumps({"object": "list", "data": [], "has_more": False, "last_id": None})


@dataclass
class Host:
    """Answers every call with these headers; `status` for paths below /jobs/gone."""

    headers: dict[str, str] = field(default_factory=dict)
    address: str = ""

    def client(self, base: str = "") -> Client:
        return Client(self.address + base, "a-key", retry=RetryPolicy(patience_s=0.5))


def answer_of(path: str) -> tuple[int, str]:
    if path.endswith("/gone"):
        return 404, json.dumps(
            {"error": {"message": "no such job", "type": "not_found_error", "code": "job_not_found"}}
        )
    if path.partition("?")[0].endswith(("/jobs", "/files", "/checkpoints")):
        return 200, PAGE
    return 200, json.dumps({"id": "x", "object": "fine_tuning.job", "status": "running", "model": "m"})


@contextmanager
def serving(**headers: str) -> Iterator[Host]:
    host = Host({name.capitalize(): value for name, value in headers.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer_of(self.path)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **host.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def warned() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def retrieve(host: Host, twin: str, *ids: str) -> None:
    async def later() -> None:
        async with AsyncClient(host.address, "a-key") as client:
            for job in ids:
                await client.jobs.retrieve(job)

    if twin == "async":
        asyncio.run(later())
        return
    with host.client() as client:
        for job in ids:
            client.jobs.retrieve(job)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_deprecated_call_is_warned_of_once_with_its_dates_and_its_page(twin: str) -> None:
    with serving(deprecation=SINCE, sunset=SUNSET, link=LINK) as host, warned() as found:
        retrieve(host, twin, "one", "a/b", "three")
        said = [str(one.message) for one in found if one.category is DeprecationWarning]
    assert said == [
        f"{host.address}: get_job (GET /v1/fine_tuning/jobs/{{job_id}}) is deprecated since 2026-01-01; "
        f"it may stop working on 2027-06-30; see {host.address}/docs/releasing#jobs"
    ]
    assert found[0].filename == __file__


def test_each_call_and_each_client_warns_for_itself() -> None:
    with serving(deprecation=SINCE) as host, warned() as found:
        for _ in range(2):
            with host.client() as client:
                list(client.jobs.list())
                client.jobs.retrieve("one")
                list(client.jobs.list())
        calls = [str(one.message).split()[1] for one in found]
    assert calls == ["list_jobs", "get_job"] * 2


def test_a_host_that_deprecates_nothing_is_not_warned_of() -> None:
    with serving(sunset=SUNSET, link=LINK) as host, warned() as found, host.client() as client:
        client.jobs.retrieve("one")
    assert found == []


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"deprecation": FUTURE}, "will be deprecated on 3000-01-01"),
        ({"deprecation": "@1767225600;a=1"}, "is deprecated since 2026-01-01"),
        ({"deprecation": "true"}, "is deprecated"),
        ({"deprecation": "@999999999999"}, "is deprecated"),
        ({"deprecation": "true", "sunset": "soon"}, "is deprecated"),
        ({"deprecation": "true", "link": "<https://example.com/a>; rel=next"}, "is deprecated"),
        (
            {"deprecation": "true", "link": "<https://example.com/a>; rel=deprecation"},
            "is deprecated; see https://example.com/a",
        ),
    ],
)
def test_headers_that_say_less_or_nonsense_are_read_as_far_as_they_go(headers: dict[str, str], words: str) -> None:
    with serving(**headers) as host, warned() as found, host.client() as client:
        assert client.jobs.retrieve("one").id == "x"
    (said,) = [str(one.message) for one in found]
    assert said.endswith(f"/{{job_id}}) {words}")


def test_a_refused_call_is_warned_of_before_it_is_raised() -> None:
    with serving(deprecation=SINCE) as host, warned() as found, host.client() as client, pytest.raises(e.NotFoundError):
        client.jobs.retrieve("gone")
    assert len(found) == 1


def test_a_host_below_a_path_has_its_calls_named_as_well() -> None:
    with serving(deprecation=SINCE) as host, warned() as found, host.client("/proxy") as client:
        list(client.files.list())
    assert " list_files (GET /v1/files) is deprecated since" in str(found[0].message)


def test_a_program_that_makes_warnings_errors_meets_one_and_goes_on() -> None:
    with serving(deprecation=SINCE) as host, host.client() as client:
        with pytest.raises(DeprecationWarning, match="get_job"):
            client.jobs.retrieve("one")
        assert client.jobs.retrieve("one").id == "x"
