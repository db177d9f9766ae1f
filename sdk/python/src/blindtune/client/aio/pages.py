"""Lists that ask for their next page when they get there.

Owns: turning pages. Must never: know what is listed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..._generated.operations import Operation
from ..paging import Listed, Page, page_html, read_page
from ..requests import path_of

if TYPE_CHECKING:
    from .client import AsyncClient

T = TypeVar("T", bound=Listed)


class AsyncPages(Generic[T]):
    """A list for `async for` that asks for its next page when it gets there. Iterating again starts again."""

    def __init__(
        self, client: AsyncClient, operation: Operation, item: Callable[[Mapping[str, Any]], T], /, **arguments: Any
    ) -> None:
        self._client, self._operation, self._item, self._arguments = client, operation, item, arguments
        self._path = path_of(operation, **{k: v for k, v in arguments.items() if k not in operation.query})
        self._first: Page[T] | None = None
        self._rest: AsyncIterator[T] | None = None

    async def first_page(self) -> tuple[T, ...]:
        """The first page, which is asked for once."""
        page = await self._start()
        return page.data

    async def __aiter__(self) -> AsyncIterator[T]:
        page = await self._start()
        for item in page.data:
            yield item
        while page.after is not None:
            page = await self._page(page.after)
            for item in page.data:
                yield item

    async def __anext__(self) -> T:
        self._rest = self._rest or aiter(self)
        return await anext(self._rest)

    async def _start(self) -> Page[T]:
        if self._first is None:
            self._first = await self._page(None)
        return self._first

    async def _page(self, after: str | None) -> Page[T]:
        cursor = {} if after is None else {"after": after}
        return await self._client.call(
            self._operation, lambda body: read_page(body, self._item, after), **self._arguments, **cursor
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def _repr_html_(self) -> str:
        """The first page. One that has to be awaited is shown once it was asked for."""
        return page_html(self._path, self._first or Page())  # sync: return page_html(self._path, self._start())
