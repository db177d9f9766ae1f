"""Makes the methods of both clients out of the calls in `operations`: one that blocks, and one to await.

Owns: who sends (`Sender`, `AsyncSender`), lists that turn their own pages, and plans carried out. Must never: know what
a call is about.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from types import GenericAlias
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, get_args

from .display import html_table
from .objects import Record
from .operations.core import Ask, Listing, Page, Plan, Wait

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


class Sender(Protocol):
    """Sends a call and waits for its answer."""

    def ask(self, ask: Ask[T]) -> T:
        """The answer."""
        ...


class AsyncSender(Protocol):
    """Sends a call; its answer is awaited."""

    async def ask(self, ask: Ask[T]) -> T:
        """The answer."""
        ...


class Pages(Generic[T]):
    """A list that asks for its next page when it gets there. Iterating again starts again."""

    def __init__(self, sender: Sender, listing: Listing[T]) -> None:
        self._sender, self._listing = sender, listing
        self._first: Page[T] | None = None
        self._rest: Iterator[T] | None = None

    def first_page(self) -> tuple[T, ...]:
        """The first page, which is asked for once."""
        return self._start().data

    def __iter__(self) -> Iterator[T]:
        page = self._start()
        yield from page.data
        while page.after is not None:
            page = self._sender.ask(self._listing.page(page.after))
            yield from page.data

    def __next__(self) -> T:
        self._rest = self._rest or iter(self)
        return next(self._rest)

    def _start(self) -> Page[T]:
        if self._first is None:
            self._first = self._sender.ask(self._listing.page(None))
        return self._first

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._listing.path!r})"

    def _repr_html_(self) -> str:
        return _page_html(self._listing.path, self._start())


class AsyncPages(Generic[T]):
    """A list for `async for` that asks for its next page when it gets there. Iterating again starts again."""

    def __init__(self, sender: AsyncSender, listing: Listing[T]) -> None:
        self._sender, self._listing = sender, listing
        self._first: Page[T] | None = None

    async def first_page(self) -> tuple[T, ...]:
        """The first page, which is asked for once."""
        return (await self._start()).data

    async def __aiter__(self) -> AsyncIterator[T]:
        page = await self._start()
        for item in page.data:
            yield item
        while page.after is not None:
            page = await self._sender.ask(self._listing.page(page.after))
            for item in page.data:
                yield item

    async def _start(self) -> Page[T]:
        if self._first is None:
            self._first = await self._sender.ask(self._listing.page(None))
        return self._first

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._listing.path!r})"

    def _repr_html_(self) -> str:
        first: Page[T] = self._first or Page((), None)
        return _page_html(self._listing.path, first)


class Named:
    """Gives methods that were made elsewhere the name and place they have here, for tracebacks and documentation."""

    def __init_subclass__(cls) -> None:
        for name, value in vars(cls).items():
            if inspect.isfunction(value) and hasattr(value, "__signature__"):
                value.__name__, value.__qualname__, value.__module__ = (
                    name,
                    f"{cls.__qualname__}.{name}",
                    cls.__module__,
                )


class Resource(Named):
    """A group of calls that block."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender


class AsyncResource(Named):
    """A group of calls to await."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender


def now(call: Callable[P, Ask[T]]) -> Callable[Concatenate[Resource, P], T]:
    """The method that sends this call and waits."""

    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._sender.ask(call(*args, **kwargs))

    return dressed(method, call, itself)


def later(call: Callable[P, Ask[T]]) -> Callable[Concatenate[AsyncResource, P], Awaitable[T]]:
    """The method that sends this call and is awaited."""

    async def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._sender.ask(call(*args, **kwargs))

    return dressed(method, call, itself)


def pages(call: Callable[P, Listing[T]]) -> Callable[Concatenate[Resource, P], Pages[T]]:
    """The method that answers this list."""

    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> Pages[T]:
        return Pages(self._sender, call(*args, **kwargs))

    return dressed(method, call, lambda kind: GenericAlias(Pages, (kind,)))


def async_pages(call: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncResource, P], AsyncPages[T]]:
    """The method that answers this list, for `async for`."""

    def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> AsyncPages[T]:
        return AsyncPages(self._sender, call(*args, **kwargs))

    return dressed(method, call, lambda kind: GenericAlias(AsyncPages, (kind,)))


def work(call: Callable[P, Plan[T]]) -> Callable[Concatenate[Resource, P], T]:
    """The method that carries out this plan."""

    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        carried = Carried(call(*args, **kwargs))
        while not carried.done:
            answer: Any = None
            try:
                if isinstance(carried.step, Wait):
                    time.sleep(carried.step.seconds)
                else:
                    answer = self._sender.ask(carried.step)
            except Exception as error:
                carried.fail(error)
            else:
                carried.answer(answer)
        return carried.result()

    return dressed(method, call, itself)


def later_work(call: Callable[P, Plan[T]]) -> Callable[Concatenate[AsyncResource, P], Awaitable[T]]:
    """The method that carries out this plan, to await."""

    async def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        carried = Carried(call(*args, **kwargs))
        while not carried.done:
            answer: Any = None
            try:
                if isinstance(carried.step, Wait):
                    await asyncio.sleep(carried.step.seconds)
                else:
                    answer = await self._sender.ask(carried.step)
            except Exception as error:
                carried.fail(error)
            else:
                carried.answer(answer)
        return carried.result()

    return dressed(method, call, itself)


class Carried(Generic[T]):
    """A plan on its way: the `step` to take now, until it is `done`."""

    step: Ask[Any] | Wait

    def __init__(self, plan: Plan[T]) -> None:
        self._plan = plan
        self._result: tuple[T, ...] = ()
        self._move(plan.__next__)

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return bool(self._result)

    def result(self) -> T:
        """What the plan came to."""
        return self._result[0]

    def answer(self, answer: Any) -> None:
        """What the step was answered."""
        self._move(lambda: self._plan.send(answer))

    def fail(self, error: Exception) -> None:
        """What the step failed with; the plan may have something to put right, and raises."""
        self._move(lambda: self._plan.throw(error))

    def _move(self, onward: Callable[[], Ask[Any] | Wait]) -> None:
        try:
            self.step = onward()
        except StopIteration as stop:
            self._result = (stop.value,)


def dressed(method: M, call: Callable[..., Any], answer: Callable[[Any], Any], *, own: int = 0) -> M:
    """The method with the words and the signature of its call: with `self`, and its `answer` out of the call's.

    The first `own` parameters are the object's own affair and left out.
    """
    signature = inspect.signature(call, eval_str=True)
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += list(signature.parameters.values())[own:]
    returned = answer(get_args(signature.return_annotation)[-1])
    shown: Any = wraps(call)(method)
    del shown.__wrapped__  # it is not the same function: what it answers is sent first
    shown.__annotations__ = {}
    shown.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    return cast("M", shown)


def itself(kind: Any) -> Any:
    """The answer of a call that is sent is what it reads."""
    return kind


def _page_html(path: str, page: Page[Any]) -> str:
    rows = [item.shown() for item in page.data if isinstance(item, Record)]
    return html_table(path, rows, "and more" if page.after else "")
