"""Events as they happen: parsing, a connection that breaks, the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from wire import Wire, of_job, sse

from blindtune import ApiConnectionError, BlindtuneError, RetryPolicy
from blindtune.client.objects import Event

STREAM = {"content-type": "text/event-stream"}


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks after these bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content
        raise httpx.ReadError("cut")


def event(number: int, **data: Any) -> dict[str, Any]:
    return {"id": f"ftevent-{number}", "object": "fine_tuning.job.event", "message": f"event {number}", "data": data}


FIRST = sse(("ftevent-1", "job.status", event(1, status="running"))) + b": ping\n\n"
SECOND = sse(("ftevent-2", "job.metrics", event(2, step=1, loss=0.5)))
LAST = sse(("ftevent-3", "job.status", event(3, status="succeeded")), ("", "", "[DONE]"))


def stream(content: bytes) -> httpx.Response:
    return httpx.Response(200, headers=STREAM, content=content)


def collected(wire: Wire, twin: str, **options: Any) -> list[Event]:
    if twin == "sync":
        return list(wire.client(**options).jobs.stream_events("ftjob-1"))

    async def run() -> list[Event]:
        async with wire.async_client(**options) as client:
            return [event async for event in client.jobs.stream_events("ftjob-1")]

    return asyncio.run(run())


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_goes_on_where_the_connection_broke(twin: str) -> None:
    cut = httpx.Response(200, headers=STREAM, stream=Cut(FIRST + SECOND[:20]))
    wire = Wire([cut, httpx.Response(503), stream(SECOND), stream(LAST)])
    events = collected(wire, twin)
    assert [event.id for event in events] == ["ftevent-1", "ftevent-2", "ftevent-3"]
    assert events[1].data == {"step": 1, "loss": 0.5}
    asked = [request.headers.get("last-event-id") for request in wire.seen]
    assert asked == [None, "ftevent-1", "ftevent-1", "ftevent-2"]
    assert all(request.headers["accept"] == "text/event-stream" for request in wire.seen)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_nothing_is_read_beyond_the_end(twin: str) -> None:
    assert [event.id for event in collected(Wire([stream(LAST + FIRST)]), twin)] == ["ftevent-3"]


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_what_is_no_stream_is_said_at_once(twin: str) -> None:
    with pytest.raises(BlindtuneError, match="does not stream"):
        collected(Wire([httpx.Response(200, json={"object": "list", "data": []})]), twin)
    with pytest.raises(BlindtuneError, match="404"):
        collected(Wire([httpx.Response(404, json={"error": {"message": "no such job"}})]), twin)
    with pytest.raises(BlindtuneError, match="error"):
        collected(Wire([stream(sse(("1", "error", {"error": {"message": "broken"}})))]), twin)
    with pytest.raises(BlindtuneError, match="no JSON"):
        collected(Wire([stream(sse(("1", "job.message", "words")))]), twin)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_gives_up_on_a_host_that_always_hangs_up(twin: str) -> None:
    wire = Wire(lambda _: stream(b": ping\n\n"))
    with pytest.raises(ApiConnectionError, match="again and again"):
        collected(wire, twin, retry=RetryPolicy(patience_s=0.1, first_wait_s=0.02))
    assert len(wire.seen) > 2


def test_progress_follows_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def host(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return stream(FIRST + SECOND + LAST)
        return httpx.Response(200, json=of_job("succeeded", fine_tuned_model="ft:m:p::1"))

    done = Wire(host).client().jobs.retrieve("ftjob-1").progress(total=1, ascii=True)
    shown = capsys.readouterr().err
    assert done.fine_tuned_model == "ft:m:p::1" and "1/1" in shown and "loss=0.5" in shown and "succeeded" in shown


def test_progress_can_be_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    def host(request: httpx.Request) -> httpx.Response:
        return stream(FIRST + LAST) if request.url.path.endswith("/events") else httpx.Response(200, json=of_job())

    async def run() -> str:
        async with Wire(host).async_client() as client:
            return (await (await client.jobs.retrieve("ftjob-1")).progress()).status

    assert asyncio.run(run()) == "running" and "succeeded" in capsys.readouterr().err
