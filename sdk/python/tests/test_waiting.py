"""What a client says of an address where nobody is, of waits, and of who it was that refused."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from typing import Any

import httpx
import pytest
from wire import Wire

from blindtune import AsyncClient, Client, RetryPolicy
from blindtune import errors as e
from blindtune.client import waiting

PATIENT = RetryPolicy(patience_s=60)
JOBS = [
    {"id": "ftjob-new", "status": "running", "model": "m", "created_at": 30},
    {"id": "ftjob-over", "status": "succeeded", "model": "m", "created_at": 1},
    {"id": "ftjob-old", "status": "running", "model": "m", "created_at": 10},
]


def refused(status: int, code: str, message: str = "try again", **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"error": {"message": message, "code": code}})


def message_of(twin: str, url: str) -> str:
    """What the first request of a client ends with, which is not repeated."""
    started = time.monotonic()
    with pytest.raises(e.HostUnreachableError) as caught:
        if twin == "sync":
            Client(url, "key", retry=PATIENT).jobs.retrieve("x")
        else:
            asyncio.run(retrieved(AsyncClient(url, "key", retry=PATIENT)))
    assert time.monotonic() - started < PATIENT.patience_s / 2
    return str(caught.value)


async def retrieved(client: AsyncClient) -> Any:
    return await client.jobs.retrieve("x")


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_first_request_that_is_refused_fails_at_once(twin: str) -> None:
    said = message_of(twin, "http://me:hidden@127.0.0.1:9")
    assert said == "nothing listens at http://127.0.0.1:9: is the host running, is the port right?"


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_name_that_nobody_has_is_told_apart(twin: str) -> None:
    assert "there is no host of the name in http://nobody.invalid:9" in message_of(twin, "http://nobody.invalid:9")


def test_a_host_that_answered_once_is_waited_for() -> None:
    here = httpx.Response(200, json={"id": "file-1", "object": "file"})
    again = httpx.Response(200, json={"id": "file-1", "object": "file"})
    wire = Wire([here, httpx.ConnectError("refused"), again])
    client = wire.client()
    client.files.retrieve("file-1")
    assert client.files.retrieve("file-1").id == "file-1" and len(wire.seen) == 3


def test_every_refusal_names_its_host() -> None:
    wire = Wire(lambda _: refused(401, "invalid_api_key", "Incorrect API key provided.", **{"x-request-id": "req-7"}))
    with pytest.raises(e.AuthenticationError) as caught:
        Client("http://me:hidden@host:8001/v1", "key", transport=httpx.MockTransport(wire)).files.retrieve("x")
    error = caught.value
    assert str(error) == "401 invalid_api_key: Incorrect API key provided. (http://host:8001, request req-7)"
    assert error.host == "http://host:8001" and str(pickle.loads(pickle.dumps(error))) == str(error)


def no_pauses(client: Any) -> None:
    client._http._transport.sleep = lambda _: None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused(429, "rate_limit_exceeded", **{"retry-after": "3"}), "rate limit of this key"),
        (refused(503, "storage_full", "The disk is full.", **{"retry-after": "3"}), "The disk is full."),
        (httpx.ReadError("cut"), "the host does not answer (ReadError); waiting for it to come back"),
    ],
)
def test_a_long_wait_is_said_once(answer: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    good = httpx.Response(200, json={"id": "file-1", "object": "file"})
    client = Wire([answer, answer, answer, good]).client(retry=RetryPolicy(patience_s=60, first_wait_s=3))
    no_pauses(client)
    with caplog.at_level(logging.WARNING, "blindtune"):
        client.files.retrieve("file-1")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("http://host: ") and said in line
    if "limit" in said:
        assert line in ("http://host: waiting 3 s: rate limit of this key", "http://host: waiting 4 s: " + said)


def test_a_short_wait_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    good = httpx.Response(200, json={"id": "file-1", "object": "file"})
    client = Wire([refused(503, "busy"), good]).client()
    with caplog.at_level(logging.WARNING, "blindtune"):
        client.files.retrieve("file-1")
    assert not caplog.records


def test_causes_are_said_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    notices = waiting.Notices("h")
    assert [notices.due("a", 3.0), notices.due("a", 4.0), notices.due("b", 3.0)] == [True, False, True]
    now[0] += waiting.SAID_EVERY_S
    assert notices.due("a", 20.0) and not notices.due("c", waiting.SAID_FROM_S / 2)


def crowded(request: httpx.Request) -> httpx.Response:
    """A host whose places are all taken."""
    assert request.headers["authorization"] == "Bearer a-key"
    if request.url.path == "/v1/fine_tuning/jobs":
        return httpx.Response(200, json={"object": "list", "data": JOBS, "has_more": False})
    return refused(429, "job_queued", "The job waits for another job of the project to end; try again.")


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_who_holds_the_places_is_said(twin: str) -> None:
    wire, policy = Wire(crowded), RetryPolicy(patience_s=0.5, first_wait_s=0.01)
    with pytest.raises(e.RateLimitError) as caught:
        if twin == "sync":
            wire.client(retry=policy).jobs.retrieve("x")
        else:
            asyncio.run(retrieved(wire.async_client(retry=policy)))
    assert "hold the project's places, the oldest first: ftjob-old (m), ftjob-new (m)." in str(caught.value)
    assert "client.jobs.cancel('ftjob-old')" in str(caught.value) and "ftjob-over" not in str(caught.value)


def test_a_wait_for_a_place_tells_of_the_oldest_job(caplog: pytest.LogCaptureFixture) -> None:
    def slept(_: float) -> None:
        raise InterruptedError

    client = Wire(crowded).client(retry=RetryPolicy(patience_s=60, first_wait_s=3))
    client._http._transport.sleep = slept  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "blindtune"), pytest.raises(InterruptedError):
        client.jobs.retrieve("x")
    assert "waiting for a place: 2 jobs of the project run, the oldest is ftjob-old" in caplog.text
