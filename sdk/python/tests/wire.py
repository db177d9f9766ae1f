"""A host as a function, for both clients: what was asked is kept, what is answered is written down in the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from blindtune import AsyncClient, Client, RetryPolicy

QUICK = RetryPolicy(patience_s=3.0, first_wait_s=0.01)

Host = Callable[[httpx.Request], httpx.Response]


class Wire:
    """Answers with `host`, and keeps the requests in `seen`, bodies read."""

    def __init__(self, host: Host | list[httpx.Response | Exception]) -> None:
        self.seen: list[httpx.Request] = []
        self._host = host

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if callable(self._host):
            return self._host(request)
        answer = self._host.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def later(self, request: httpx.Request) -> httpx.Response:
        """The same, for asyncio, with another task's turn in between."""
        await asyncio.sleep(0)
        return self(request)

    def client(self, **options: Any) -> Client:
        """A client of this host."""
        return Client("http://host", "a-key", transport=httpx.MockTransport(self), **{"retry": QUICK, **options})

    def async_client(self, **options: Any) -> AsyncClient:
        """An asynchronous client of this host."""
        transport = httpx.MockTransport(self.later)
        return AsyncClient("http://host", "a-key", transport=transport, **{"retry": QUICK, **options})


def page(items: list[dict[str, Any]], more: bool) -> httpx.Response:
    last = items[-1]["id"] if items else None
    return httpx.Response(200, json={"object": "list", "data": items, "has_more": more, "last_id": last})


def of_job(status: str = "running", next_seq: int = 1, **fields: Any) -> dict[str, Any]:
    split = {"next_seq": next_seq, "hidden_size": 4}
    return {"id": "ftjob-1", "object": "fine_tuning.job", "status": status, "model": "m", "split": split, **fields}


def sse(*messages: tuple[str, str, dict[str, Any] | str]) -> bytes:
    """Messages (id, event, data) as a host streams them."""
    lines = []
    for number, name, data in messages:
        text = data if isinstance(data, str) else json.dumps(data)
        lines.append(f"id: {number}\nevent: {name}\ndata: {text}\n\n" if number else f"data: {text}\n\n")
    return "".join(lines).encode()


@cache
def contract() -> Any:
    """openapi.yaml."""
    text = (Path(__file__).resolve().parents[3] / "openapi.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
