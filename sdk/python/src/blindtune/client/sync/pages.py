"""Lists that ask for their next page when they get there.

Owns: turning pages. Must never: know what is listed.
"""

# Made from ../aio/pages.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..._generated.operations import Operation
from ..paging import Listed, Page, page_html, read_page
from ..requests import path_of

if TYPE_CHECKING:
    from .client import Client

T = TypeVar("T", bound=Listed)


class Pages(Generic[T]):
    """A list that asks for its next page when it gets there. Iterating again starts again."""

    def __init__(
        self, client: Client, operation: Operation, item: Callable[[Mapping[str, Any]], T], /, **arguments: Any
    ) -> None:
        self._client, self._operation, self._item, self._arguments = client, operation, item, arguments
        self._path = path_of(operation, **{k: v for k, v in arguments.items() if k not in operation.query})
        self._first: Page[T] | None = None
        self._rest: Iterator[T] | None = None

    def first_page(self) -> tuple[T, ...]:
        """The first page, which is asked for once."""
        page = self._start()
        return page.data

    def __iter__(self) -> Iterator[T]:
        page = self._start()
        for item in page.data:
            yield item
        while page.after is not None:
            page = self._page(page.after)
            for item in page.data:
                yield item

    def __next__(self) -> T:
        self._rest = self._rest or iter(self)
        return next(self._rest)

    def _start(self) -> Page[T]:
        if self._first is None:
            self._first = self._page(None)
        return self._first

    def _page(self, after: str | None) -> Page[T]:
        cursor = {} if after is None else {"after": after}
        return self._client.call(
            self._operation, lambda body: read_page(body, self._item, after), **self._arguments, **cursor
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def _repr_html_(self) -> str:
        """The first page."""
        return page_html(self._path, self._start())
