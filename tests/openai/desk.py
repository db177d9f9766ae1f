"""One face for both clients of the stock package, so that each call of the acceptance list is written once.

Owns: the awaitable form of the synchronous client, and what a call gives page by page. Never: a change to what is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import openai


class Later:
    """A call of the synchronous client: it happens when it is awaited or iterated over."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return self.call()
        yield

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self.call():
            yield item


class Awaitable:
    """The synchronous client with calls that are awaited."""

    def __init__(self, resource: Any) -> None:
        self.resource = resource

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.resource, name)
        if not callable(found):
            return Awaitable(found)
        return lambda *args, **kwargs: Later(lambda: found(*args, **kwargs))


class Desk:
    """A project of a host, and clients of one kind for it."""

    def __init__(self, kind: str, url: str, project: str, key: str) -> None:
        self.kind, self.url, self.project, self.key = kind, url, project, key
        self.client = self.another()

    def another(self, **settings: Any) -> Any:
        """A client of the kind."""
        settings = {"base_url": f"{self.url}/v1", "api_key": self.key} | settings
        return Awaitable(openai.OpenAI(**settings)) if self.kind == "sync" else openai.AsyncOpenAI(**settings)

    def stream_class(self, item: Any) -> Any:
        """The class of a stream of these."""
        return openai.Stream[item] if self.kind == "sync" else openai.AsyncStream[item]


async def items(stream: Any) -> list[Any]:
    """All that a stream or a list of pages gives."""
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)
