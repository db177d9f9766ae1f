"""`client.jobs`: fine-tuning runs, in both clients. What it answers are handles (live_job.py).

Owns: which calls are where, and that jobs come as handles. Must never: say what a call is; `operations` says it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec

from . import event_stream as _events
from .live_job import AsyncLiveJob, AsyncStepClient, LiveJob, StepClient
from .objects import Event, Job
from .operations import jobs
from .operations.core import Ask, Listing
from .resources import AsyncCheckpoints, Checkpoints
from .sync_async import AsyncPages, AsyncResource, Pages, Resource, async_pages, dressed, later, now, pages

P = ParamSpec("P")


def live(call: Callable[P, Ask[Job]]) -> Callable[Concatenate[Jobs, P], LiveJob]:
    """The method that sends this call and answers a handle."""

    def method(self: Jobs, /, *args: P.args, **kwargs: P.kwargs) -> LiveJob:
        return LiveJob.of(self._client, self._client.ask(call(*args, **kwargs)))

    return dressed(method, call, lambda _: LiveJob)


def live_later(call: Callable[P, Ask[Job]]) -> Callable[Concatenate[AsyncJobs, P], Starting]:
    """The same, to await or to use with `async with`."""

    def method(self: AsyncJobs, /, *args: P.args, **kwargs: P.kwargs) -> Starting:
        return Starting(self._client, call(*args, **kwargs))

    return dressed(method, call, lambda _: Starting)


def live_pages(call: Callable[P, Listing[Job]]) -> Callable[Concatenate[Jobs, P], Pages[LiveJob]]:
    """The method that answers this list as handles."""

    def method(self: Jobs, /, *args: P.args, **kwargs: P.kwargs) -> Pages[LiveJob]:
        client = self._client
        return Pages(client, call(*args, **kwargs).mapped(lambda job: LiveJob.of(client, job)))

    return dressed(method, call, lambda _: Pages[LiveJob])


def async_live_pages(call: Callable[P, Listing[Job]]) -> Callable[Concatenate[AsyncJobs, P], AsyncPages[AsyncLiveJob]]:
    """The same, for `async for`."""

    def method(self: AsyncJobs, /, *args: P.args, **kwargs: P.kwargs) -> AsyncPages[AsyncLiveJob]:
        client = self._client
        return AsyncPages(client, call(*args, **kwargs).mapped(lambda job: AsyncLiveJob.of(client, job)))

    return dressed(method, call, lambda _: AsyncPages[AsyncLiveJob])


class Starting:
    """A call that answers a handle: `job = await ...`, or `async with ... as job:`."""

    def __init__(self, client: AsyncStepClient, ask: Ask[Job]) -> None:
        self._client, self._ask = client, ask
        self._job: AsyncLiveJob | None = None

    def __await__(self) -> Generator[Any, None, AsyncLiveJob]:
        return self._sent().__await__()

    async def __aenter__(self) -> AsyncLiveJob:
        self._job = await self._sent()
        return self._job

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._job is not None:
            await self._job.__aexit__(kind, error, where)

    async def _sent(self) -> AsyncLiveJob:
        return AsyncLiveJob.of(self._client, await self._client.ask(self._ask))


class Jobs(Resource):
    """`client.jobs`: fine-tuning runs."""

    def __init__(self, client: StepClient) -> None:
        super().__init__(client)
        self._client = client
        self.checkpoints = Checkpoints(client)
        """Saved states of jobs."""

    create = live(jobs.create)
    list = live_pages(jobs.list)
    retrieve = live(jobs.retrieve)
    cancel = live(jobs.cancel)
    pause = live(jobs.pause)
    resume = live(jobs.resume)
    complete = live(jobs.complete)
    events = pages(jobs.events)
    ledger = pages(jobs.ledger)
    metrics = now(jobs.metrics)
    estimate = now(jobs.estimate)
    capabilities = now(jobs.capabilities)

    def stream_events(self, job_id: str, after: str | None = None) -> Iterator[Event]:
        """Every event of a job, or those after the one with the id `after`, as they happen; ends when the job has."""
        return _events.stream_events(self._client, job_id, after)


class AsyncJobs(AsyncResource):
    """`client.jobs` of an `AsyncClient`."""

    def __init__(self, client: AsyncStepClient) -> None:
        super().__init__(client)
        self._client = client
        self.checkpoints = AsyncCheckpoints(client)
        """Saved states of jobs."""

    create = live_later(jobs.create)
    list = async_live_pages(jobs.list)
    retrieve = live_later(jobs.retrieve)
    cancel = live_later(jobs.cancel)
    pause = live_later(jobs.pause)
    resume = live_later(jobs.resume)
    complete = live_later(jobs.complete)
    events = async_pages(jobs.events)
    ledger = async_pages(jobs.ledger)
    metrics = later(jobs.metrics)
    estimate = later(jobs.estimate)
    capabilities = later(jobs.capabilities)

    def stream_events(self, job_id: str, after: str | None = None) -> AsyncIterator[Event]:
        """Every event of a job, or those after the one with the id `after`, as they happen; ends when the job has."""
        return _events.stream_events_async(self._client, job_id, after)
