"""A page of a list: how it is read, where the next one starts, how it looks.

Owns: the cursor. Must never: ask for a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar

from .display import html_table
from .requests import decoded


class Listed(Protocol):
    """What is in lists: it can be shown."""

    def shown(self) -> dict[str, Any]:
        """What may be shown of it."""
        ...


T = TypeVar("T", bound=Listed)


class JobFilter(TypedDict, total=False):
    """Which jobs a list holds, and in which order; what is left out selects nothing."""

    status: str
    """`queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`."""
    model: str
    """The name of a model that they were made with."""
    created_from: int
    """Made then or later, seconds since 1970."""
    created_before: int
    """Made before, seconds since 1970."""
    order: Literal["asc", "desc"]
    """The oldest or the newest first."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list, and the cursor of the next part."""

    data: tuple[T, ...] = ()
    after: str | None = None


def read_page(body: bytes, item: Callable[[Mapping[str, Any]], T], asked: str | None) -> Page[T]:
    """The page that came for the cursor `asked`. A host that gives the same cursor again has no further page."""
    page = decoded(body)
    items = page.get("data", [])
    last = items[-1].get("id") if items else None
    after = page.get("last_id") or last
    further = bool(page.get("has_more")) and after is not None and after != asked
    return Page(tuple(map(item, items)), str(after) if further else None)


def page_html(path: str, page: Page[T]) -> str:
    """A page as a table."""
    return html_table(path, [item.shown() for item in page.data], "and more" if page.after else "")
