"""Both clients have the same words, and the same manners: retries, keys, pages, plans."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from wire import Wire, page

from blindtune import ApiConnectionError, AsyncClient, BlindtuneError, Client, RetryPolicy
from blindtune import errors as e
from blindtune.client import AsyncLiveJob, AsyncPages, LiveJob, Pages

TOOL = Path(__file__).resolve().parents[1] / "tools" / "unasync.py"

CALLS = ["files", "uploads", "models", "jobs", "activations", "embeddings", "batches"]
RESOURCES = [*CALLS, "webhooks", "usage", "api_keys"]


def words(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_both_clients_have_the_same_words() -> None:
    one, other = Client("http://h"), AsyncClient("http://h")
    assert words(other) == words(one)
    for name in [*RESOURCES, "audit_log"]:
        mine, theirs = getattr(one, name), getattr(other, name)
        assert words(mine) == words(theirs) and len(words(mine)) >= 1
        for word in words(mine) - {"checkpoints"}:
            here, there = (inspect.signature(getattr(resource, word)) for resource in (mine, theirs))
            assert here.parameters == there.parameters, f"{name}.{word}"
            assert inspect.getdoc(getattr(mine, word)), f"{name}.{word} has no docstring"
    assert words(one.jobs.checkpoints) == words(other.jobs.checkpoints)


def test_a_method_shows_the_signature_of_its_call() -> None:
    client = Client("http://h")
    shown = inspect.signature(client.jobs.list)
    assert list(shown.parameters) == ["limit", "metadata", "wanted"] and "LiveJob" in str(shown.return_annotation)
    assert client.jobs.list.__qualname__ == "Jobs.list" and "newest first" in (client.jobs.list.__doc__ or "")


def methods(*kinds: type) -> Iterator[Callable[..., Any]]:
    """Every public method of these classes."""
    for kind in kinds:
        yield from (f for name, f in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_"))


def resources(client: Client | AsyncClient) -> list[type]:
    return [type(getattr(client, name)) for name in [*RESOURCES, "audit_log"]] + [type(client.jobs.checkpoints)]


def test_a_method_is_what_its_signature_shows() -> None:
    """Help, type checkers and go-to-definition read the same lines: nothing is wrapped, and no signature is put on."""
    one, other = Client("http://h"), AsyncClient("http://h")
    mine = list(methods(Client, LiveJob, Pages, *resources(one)))
    theirs = list(methods(AsyncClient, AsyncLiveJob, AsyncPages, *resources(other)))
    assert len(mine) == len(theirs) > 80
    for here, there in zip(mine, theirs, strict=True):
        assert inspect.signature(here).parameters == inspect.signature(there).parameters, here.__qualname__
        for method in (here, there):
            assert not {"__signature__", "__wrapped__"} & vars(method).keys()
            assert f"def {method.__name__}(" in inspect.getsource(method), method.__qualname__


def tool() -> ModuleType:
    """tools/unasync.py, freshly loaded."""
    spec = importlib.util.spec_from_file_location("unasync", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_client_that_blocks_is_what_the_other_makes_of_it() -> None:
    tool().main(check=True)


def test_a_stale_twin_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unasync = tool()
    shutil.copytree(unasync.TARGET, tmp_path / "sync", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(unasync, "TARGET", tmp_path / "sync")
    unasync.main(check=True)
    with (tmp_path / "sync" / "files.py").open("a") as file:
        file.write("\n# a change by hand\n")
    (tmp_path / "sync" / "other.py").touch()
    with pytest.raises(SystemExit, match=r"files\.py, other\.py"):
        unasync.main(check=True)
    unasync.main(check=False)
    unasync.main(check=True)


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("async with aclosing(await f()) as x: pass", "with closing(f()) as x:\n    pass"),
        ("def f(x: AsyncPages) -> AsyncIterator[int]: ...", "def f(x: Pages) -> Iterator[int]: ..."),
        ("x = [1]  # sync: x = [2]", "x = [2]"),
        ("x = 'an AsyncClient'", 'x = "an Client"'),
        ("x = is_async_now", None),
        ("x = 'awaited'", None),
        ("x = a.__acall__", None),
    ],
)
def test_words_of_asyncio_are_replaced_or_refused(tmp_path: Path, line: str, made: str | None) -> None:
    source = tmp_path / "example.py"
    source.write_text(f'"""Words."""\n\n{line}\n')
    if made is None:
        with pytest.raises(SystemExit, match="no word for what is left"):
            tool().twin(source, set())
    else:
        assert tool().twin(source, set()).endswith(f"\n{made}\n")


def refused(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"error": {"message": "wait", "code": "busy"}})


def made() -> httpx.Response:
    return httpx.Response(200, json={"id": "file-1", "object": "file", "status": "processed"})


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_retries_keep_the_key_and_the_bytes(twin: str) -> None:
    wire = Wire([refused(503), httpx.ReadError("cut"), refused(429, **{"retry-after-ms": "5"}), made()])
    assert call(wire, twin, lambda client: client.files.create(("a.jsonl", b"{}\n"))).id == "file-1"
    keys = {request.headers["idempotency-key"] for request in wire.seen}
    assert len(wire.seen) == 4 and len(keys) == 1 and len({request.content for request in wire.seen}) == 1
    assert re.fullmatch(r"[0-9a-f-]{36}", keys.pop())
    assert all(request.headers["authorization"] == "Bearer a-key" for request in wire.seen)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_two_calls_have_two_keys_and_reading_has_none(twin: str) -> None:
    wire = Wire(lambda _: made())
    for _ in range(2):
        call(wire, twin, lambda client: client.files.create(("a.jsonl", b"{}\n")))
    call(wire, twin, lambda client: client.files.retrieve("file-1"))
    first, second, third = wire.seen
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert "idempotency-key" not in third.headers


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_host_that_says_so_is_not_asked_again(twin: str) -> None:
    wire = Wire([refused(429, **{"x-should-retry": "false"})])
    with pytest.raises(e.RateLimitError) as caught:
        call(wire, twin, lambda client: client.files.retrieve("file-1"))
    assert caught.value.code == "busy" and len(wire.seen) == 1
    wire = Wire([refused(409, **{"x-should-retry": "true"}), made()])
    assert call(wire, twin, lambda client: client.files.retrieve("file-1")).id == "file-1"
    wire = Wire([refused(503, **{"retry-after": "500"})])
    with pytest.raises(e.ServerError):
        call(wire, twin, lambda client: client.files.retrieve("file-1"))
    assert len(wire.seen) == 1, "what is asked for is longer than anybody waits"


def test_waits_are_awaited_as_asked_with_jitter() -> None:
    async def run() -> list[float]:
        waits: list[float] = []
        wire = Wire([refused(429, **{"retry-after-ms": "2000", "retry-after": "9"}), refused(503), made()])
        client = wire.async_client(retry=RetryPolicy(patience_s=60))

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        client._http._transport.sleep = sleep  # type: ignore[attr-defined]
        await client.files.retrieve("file-1")
        return waits

    asked, backoff = asyncio.run(run())
    assert 2.0 <= asked <= 2.5 and 1.0 <= backoff <= 1.25


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_host_that_is_away_is_named_and_the_password_is_not(twin: str) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("cut", request=request)

    options = {"base_url": "http://me:hidden@host:1", "retry": RetryPolicy(patience_s=0.5, first_wait_s=0.01)}
    client: Any
    if twin == "sync":
        client = Client(transport=httpx.MockTransport(away), **options)
        with pytest.raises(ApiConnectionError, match="host:1") as caught:
            client.files.retrieve("x")
    else:
        client = AsyncClient(transport=httpx.MockTransport(away), **options)
        with pytest.raises(ApiConnectionError, match="host:1") as caught:
            asyncio.run(client.files.retrieve("x"))
    assert "hidden" not in str(caught.value) and "hidden" not in repr(client) and client.traffic.retries > 0


def files(request: httpx.Request) -> httpx.Response:
    after = int(request.url.params.get("after", "0"))
    limit = int(request.url.params.get("limit", "2"))
    names = list(range(after + 1, min(after + limit, 5) + 1))
    return page([{"id": str(name), "object": "file"} for name in names], more=after + limit < 5)


def test_lists_turn_their_pages() -> None:
    wire = Wire(files)
    listed = wire.client().files.list()
    assert isinstance(listed, Pages)
    assert [file.id for file in listed] == ["1", "2", "3", "4", "5"] and len(wire.seen) == 3
    assert [file.id for file in listed] == ["1", "2", "3", "4", "5"], "iterating again starts again"
    assert next(listed).id == "1" and next(listed).id == "2"
    assert [file.id for file in wire.client().files.list(limit=3).first_page()] == ["1", "2", "3"]


def test_lists_turn_their_pages_with_async_for() -> None:
    async def run() -> list[str]:
        async with wire.async_client() as client:
            listed = client.files.list(limit=1)
            assert isinstance(listed, AsyncPages) and len(await listed.first_page()) == 1
            return [file.id async for file in listed]

    wire = Wire(files)
    assert asyncio.run(run()) == ["1", "2", "3", "4", "5"] and len(wire.seen) == 5


def test_a_list_ends_where_a_host_ignores_the_cursor() -> None:
    wire = Wire(lambda _: page([{"id": "1"}], more=True))
    assert [file.id for file in wire.client().files.list()] == ["1", "1"] and len(wire.seen) == 2


def uploads(fails: bool) -> Any:
    parts: list[bytes] = []

    def host(request: httpx.Request) -> httpx.Response:
        upload = {"id": "upload_1", "object": "upload", "status": "pending", "file": None}
        if request.url.path.endswith("/parts"):
            if fails and len(parts) == 1:
                return httpx.Response(400, json={"error": {"message": "a label", "code": "label_present"}})
            parts.append(request.content)
            return httpx.Response(200, json={"id": f"part_{len(parts)}", "object": "upload.part"})
        if request.url.path.endswith("/complete"):
            upload |= {"status": "completed", "file": {"id": "file-9", "object": "file", "rows": 3}}
        return httpx.Response(200, json=upload)

    return host


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_large_file_goes_in_parts(twin: str) -> None:
    wire = Wire(uploads(fails=False))
    content = b"0123456789"
    done = call(wire, twin, lambda client: client.uploads.upload_file_chunked(("a.jsonl", content), part_bytes=4))
    assert done.file is not None and (done.status, done.file.id, done.file.rows) == ("completed", "file-9", 3)
    assert [request.url.path.rpartition("/")[2] for request in wire.seen] == ["uploads", *["parts"] * 3, "complete"]
    for request, part in zip(wire.seen[1:4], (b"0123", b"4567", b"89"), strict=True):
        assert b"\r\n\r\n" + part + b"\r\n--" in request.content
    assert hashlib.sha256(content).hexdigest().encode() in wire.seen[-1].content
    assert b'["part_1","part_2","part_3"]' in wire.seen[-1].content.replace(b" ", b"")


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_an_upload_that_fails_is_cancelled(twin: str) -> None:
    wire = Wire(uploads(fails=True))
    with pytest.raises(e.BadRequestError, match="a label"):
        call(wire, twin, lambda client: client.uploads.upload_file_chunked(("a.jsonl", b"01234567"), part_bytes=4))
    assert wire.seen[-1].url.path == "/v1/uploads/upload_1/cancel" and len(wire.seen) == 4


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_waits_for_a_file_to_be_checked(twin: str) -> None:
    states = iter(["uploaded", "uploaded", "processed"])
    wire = Wire(lambda _: httpx.Response(200, json={"id": "file-1", "status": next(states)}))
    file = call(wire, twin, lambda client: client.files.wait_for_processing("file-1", poll_s=0.001))
    assert file.status == "processed" and len(wire.seen) == 3
    wire = Wire(lambda _: httpx.Response(200, json={"id": "file-1", "status": "uploaded"}))
    with pytest.raises(BlindtuneError, match="still uploaded"):
        call(wire, twin, lambda client: client.files.wait_for_processing("file-1", poll_s=0.01, max_wait_s=0.02))


def call(wire: Wire, twin: str, act: Any) -> Any:
    """What `act` on either client comes to."""
    if twin == "sync":
        return act(wire.client())

    async def run() -> Any:
        async with wire.async_client() as client:
            return await act(client)

    return asyncio.run(run())
