"""A call that is ready to be sent, and how its answer is read: said once, sent by both clients.

Owns: what a call is (`Ask`), a list (`Listing`), and a piece of work of several calls (`Plan`). Must never: send
anything, or know which client will.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from ...errors import BlindtuneError
from ..objects import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One call. `path` is relative to the base URL; `options` are those of `httpx.Client.request`.

    `makes` says that the host should make something once only: it is sent with an Idempotency-Key, and the same one
    goes with every retry.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    options: Mapping[str, Any] = field(default_factory=dict)
    makes: bool = False

    @classmethod
    def of(cls, operation: ModuleType, read: Callable[[bytes], T], **arguments: Any) -> Ask[T]:
        """A call of the generated core: method, path, query and body as the contract has them.

        The core's own sending is not used: it knows no retries, and refuses answers that say more than it expects.
        """
        wanted = dict(operation._get_kwargs(**{k: v for k, v in arguments.items() if v is not None}))
        method, path = wanted.pop("method").upper(), str(wanted.pop("url")).removeprefix("/v1/")
        return cls(method, path, read, wanted, makes=method == "POST")

    def prepared(self) -> dict[str, Any]:
        """The options to send this with; for what makes something, under a new Idempotency-Key."""
        if not self.makes:
            return dict(self.options)
        headers = {"Idempotency-Key": str(uuid.uuid4())} | dict(self.options.get("headers", {}))
        return {**self.options, "headers": headers}


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list, and the cursor of the next part."""

    data: tuple[T, ...]
    after: str | None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that comes in pages, and how one item is read."""

    path: str
    item: Callable[[Mapping[str, Any]], T]
    query: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, operation: ModuleType, item: Callable[[Mapping[str, Any]], T], **arguments: Any) -> Listing[T]:
        """A list of the generated core."""
        ask = Ask.of(operation, bytes, **arguments)
        return cls(ask.path, item, ask.options.get("params", {}))

    def page(self, after: str | None) -> Ask[Page[T]]:
        """The page after this cursor; None for the first."""
        given = {**self.query, "after": after} if after is not None else self.query
        query = {key: value for key, value in given.items() if value is not None}
        return Ask("GET", self.path, lambda body: self._read(body, after), {"params": query})

    def mapped(self, change: Callable[[T], R]) -> Listing[R]:
        """The same list with its items changed."""
        item = self.item
        return Listing(self.path, lambda body: change(item(body)), self.query)

    def _read(self, body: bytes, asked: str | None) -> Page[T]:
        page = decoded(body)
        items = page.get("data", [])
        last = items[-1].get("id") if items else None
        after = page.get("last_id") or last
        further = bool(page.get("has_more")) and after is not None and after != asked
        return Page(tuple(map(self.item, items)), str(after) if further else None)


@dataclass(frozen=True)
class Wait:
    """A step of a plan: let this time pass."""

    seconds: float


Plan = Generator["Ask[Any] | Wait", Any, T]
"""Several calls, one after the other: yields what to send and is given the answer, or the error it ended in."""


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object in a body."""
    value = json.loads(body)
    if not isinstance(value, dict):
        raise BlindtuneError(f"expected a JSON object, got {type(value).__name__}")
    return value


def reads(kind: type[R]) -> Callable[[bytes], R]:
    """A reader of one object."""
    return lambda body: kind.read(decoded(body))


def nothing(_body: bytes) -> None:
    """A reader of answers that say nothing new."""


def post(path: str, read: Callable[[bytes], T], body: Mapping[str, Any] | None = None) -> Ask[T]:
    """A POST that makes something. Without `body` it has none; what is None in it is left out."""
    return Ask("POST", path, read, {} if body is None else {"json": given(body)}, makes=True)


def compute(path: str, read: Callable[[bytes], T], body: Mapping[str, Any]) -> Ask[T]:
    """A POST that only computes."""
    return replace(post(path, read, body), makes=False)


def patch(path: str, read: Callable[[bytes], T], body: Mapping[str, Any]) -> Ask[T]:
    """A PATCH. What is None in `body` is sent: it takes something away."""
    return Ask("PATCH", path, read, {"json": dict(body)})


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {key: value for key, value in fields.items() if value is not None}


def to(*parts: str) -> str:
    """A path of parts, each quoted whole: names of models have slashes and colons."""
    return "/".join(quote(part, safe="") for part in parts)


def expiry(seconds: int | None, anchor: str = "created_at") -> dict[str, Any] | None:
    """OpenAI's `expires_after`."""
    return None if seconds is None else {"anchor": anchor, "seconds": seconds}
