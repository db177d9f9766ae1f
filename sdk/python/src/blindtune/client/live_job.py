"""The handle of one job: data, steps and `with`, in both clients.

Owns: a handle's step number, and what becomes of a job when an error leaves its `with` block. Must never: hold labels,
or repeat a step with other bytes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from typing_extensions import Self

from ..arrays import F32
from ..errors import ApiConnectionError, ApiError, BlindtuneError
from . import event_stream as _events
from .objects import Event, Job
from .operations import checkpoints, jobs, steps
from .operations.core import Ask
from .progress import Bar
from .step_calls import BackwardRequest, Call, ForwardRequest, StepAnswer
from .sync_async import AsyncPages, AsyncSender, Named, Pages, Sender, dressed, itself

log = logging.getLogger("blindtune")

P = ParamSpec("P")
T = TypeVar("T")


class StepClient(Sender, _events.Opens, Protocol):
    """What a handle needs of a client."""

    def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call."""
        ...


class AsyncStepClient(AsyncSender, _events.AsyncOpens, Protocol):
    """What a handle needs of an asynchronous client."""

    async def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call."""
        ...


class _Handle(Named, Job):
    """A job that is followed: unlike other objects it changes, to what the host last said of it."""

    _seq: int
    _forward_id: str

    def _become(self, job: Job) -> Self:
        """Take over what the host now says. `vars`, for the fields are frozen to everybody else."""
        vars(self).update({f.name: getattr(job, f.name) for f in fields(Job)})
        vars(self)["_seq"] = max(job.next_seq, vars(self).get("_seq", 1))
        vars(self).setdefault("_forward_id", "")
        return self

    def _forward_call(self, request: ForwardRequest) -> Call:
        numbered = replace(request, seq=self._seq) if request.train and request.seq is None else request
        return numbered.call(self.id)

    def _backward_call(self, shares: Mapping[tuple[int, int], F32], forward_id: str | None) -> Call:
        return BackwardRequest(self._seq, forward_id or self._forward_id, shares).call(self.id)

    def _optim_ask(self, settings: Mapping[str, Any]) -> Ask[dict[str, Any]]:
        return steps.optim_step(self.id, {"seq": self._seq, **settings})

    def _counted(self, metadata: Mapping[str, Any]) -> None:
        """A numbered step was answered."""
        vars(self)["_seq"] = self._seq + 1
        vars(self)["_forward_id"] = str(metadata.get("forward_id", self._forward_id))

    def _refused(self, error: ApiError) -> None:
        """Adopt the host's count, where that was the trouble: the next call then fits."""
        if "expected_seq" in error.envelope:
            vars(self)["_seq"] = int(error.envelope["expected_seq"])

    def _rescue(self, error: BaseException | None) -> Ask[Job] | None:
        """What to do when a `with` block ends with this. A host that is away pauses an idle job by itself."""
        if error is None or isinstance(error, ApiConnectionError) or not self.open:
            return None
        return jobs.pause(self.id) if self._seq > 1 else jobs.cancel(self.id)


def mine(call: Callable[Concatenate[str, P], Ask[T]]) -> Callable[Concatenate[LiveJob, P], T]:
    """The method of a handle that sends this call about its job."""

    def method(self: LiveJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client.ask(call(self.id, *args, **kwargs))

    return dressed(method, call, itself, own=1)


def mine_later(call: Callable[Concatenate[str, P], Ask[T]]) -> Callable[Concatenate[AsyncLiveJob, P], Awaitable[T]]:
    """The same, to await."""

    async def method(self: AsyncLiveJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._client.ask(call(self.id, *args, **kwargs))

    return dressed(method, call, itself, own=1)


def becomes(call: Callable[[str], Ask[Job]]) -> Callable[[LiveJob], LiveJob]:
    """The method of a handle that sends this call about its job, and is then what the host says."""

    def method(self: LiveJob) -> LiveJob:
        return self._become(self._client.ask(call(self.id)))

    return dressed(method, call, lambda _: "LiveJob", own=1)


def becomes_later(call: Callable[[str], Ask[Job]]) -> Callable[[AsyncLiveJob], Awaitable[AsyncLiveJob]]:
    """The same, to await."""

    async def method(self: AsyncLiveJob) -> AsyncLiveJob:
        return self._become(await self._client.ask(call(self.id)))

    return dressed(method, call, lambda _: "AsyncLiveJob", own=1)


class LiveJob(_Handle):
    """A job and what can be done with it.

    In a `with` block, an error that leaves the block pauses the job, for what it has learnt is worth keeping:
    `client.jobs.resume(job.id)` goes on. A job that has taken no step is cancelled instead. A block that ends without
    an error leaves the job as it is: completed if you called `complete`, otherwise open.
    """

    _client: StepClient

    @classmethod
    def of(cls, client: StepClient, job: Job) -> LiveJob:
        """A handle of this job."""
        handle = cls(id=job.id)._become(job)
        vars(handle)["_client"] = client
        return handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        rescue = self._rescue(error)
        if rescue is not None:
            try:
                self._become(self._client.ask(rescue))
            except BlindtuneError as another:  # the error that left the block says more
                log.warning("%s is left as it is: %s", self.id, another)

    def forward(self, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`. A training forward is given the job's next step number."""
        try:
            answer = self._client.send(self._forward_call(request))
        except ApiError as error:
            self._refused(error)
            raise
        if request.train:
            self._counted(answer.metadata)
        return answer

    def backward(self, shares: Mapping[tuple[int, int], F32], forward_id: str | None = None) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share (set i, j) [B, H] of the last forward became."""
        try:
            answer = self._client.send(self._backward_call(shares, forward_id))
        except ApiError as error:
            self._refused(error)
            raise
        self._counted(answer.metadata)
        return answer

    def optim_step(self, **settings: Any) -> dict[str, Any]:
        """Host custody: let the host step its own AdamW, with lr, betas, eps, weight_decay, max_grad_norm."""
        try:
            answer = self._client.ask(self._optim_ask(settings))
        except ApiError as error:
            self._refused(error)
            raise
        self._counted({})
        return answer

    adapters = mine(steps.adapters)
    adapter = mine(steps.adapter)
    put_adapter = mine(steps.put_adapter)
    metrics = mine(jobs.metrics)
    checkpoint = mine(checkpoints.create)
    refresh = becomes(jobs.retrieve)
    pause = becomes(jobs.pause)
    resume = becomes(jobs.resume)
    cancel = becomes(jobs.cancel)
    complete = becomes(jobs.complete)

    def events(self, limit: int | None = None, *, order: str | None = None) -> Pages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`."""
        return Pages(self._client, jobs.events(self.id, limit, order=order))

    def stream_events(self, after: str | None = None) -> Iterator[Event]:
        """Every event as it happens, until the job has ended."""
        return _events.stream_events(self._client, self.id, after)

    def progress(self, total: int | None = None, **options: Any) -> LiveJob:
        """Follow the job with a bar until it has ended. `total` steps, and tqdm's other `options`."""
        with closing(Bar(self.id, total, **options)) as bar:
            for event in self.stream_events():
                bar.take(event)
        return self.refresh()


class AsyncLiveJob(_Handle):
    """A job and what can be done with it, to await. `async with` as `LiveJob` with `with`."""

    _client: AsyncStepClient

    @classmethod
    def of(cls, client: AsyncStepClient, job: Job) -> AsyncLiveJob:
        """A handle of this job."""
        handle = cls(id=job.id)._become(job)
        vars(handle)["_client"] = client
        return handle

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        rescue = self._rescue(error)
        if rescue is not None:
            try:
                self._become(await self._client.ask(rescue))
            except BlindtuneError as another:  # the error that left the block says more
                log.warning("%s is left as it is: %s", self.id, another)

    async def forward(self, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`. A training forward is given the job's next step number."""
        try:
            answer = await self._client.send(self._forward_call(request))
        except ApiError as error:
            self._refused(error)
            raise
        if request.train:
            self._counted(answer.metadata)
        return answer

    async def backward(self, shares: Mapping[tuple[int, int], F32], forward_id: str | None = None) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share (set i, j) [B, H] of the last forward became."""
        try:
            answer = await self._client.send(self._backward_call(shares, forward_id))
        except ApiError as error:
            self._refused(error)
            raise
        self._counted(answer.metadata)
        return answer

    async def optim_step(self, **settings: Any) -> dict[str, Any]:
        """Host custody: let the host step its own AdamW, with lr, betas, eps, weight_decay, max_grad_norm."""
        try:
            answer = await self._client.ask(self._optim_ask(settings))
        except ApiError as error:
            self._refused(error)
            raise
        self._counted({})
        return answer

    adapters = mine_later(steps.adapters)
    adapter = mine_later(steps.adapter)
    put_adapter = mine_later(steps.put_adapter)
    metrics = mine_later(jobs.metrics)
    checkpoint = mine_later(checkpoints.create)
    refresh = becomes_later(jobs.retrieve)
    pause = becomes_later(jobs.pause)
    resume = becomes_later(jobs.resume)
    cancel = becomes_later(jobs.cancel)
    complete = becomes_later(jobs.complete)

    def events(self, limit: int | None = None, *, order: str | None = None) -> AsyncPages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`."""
        return AsyncPages(self._client, jobs.events(self.id, limit, order=order))

    def stream_events(self, after: str | None = None) -> AsyncIterator[Event]:
        """Every event as it happens, until the job has ended."""
        return _events.stream_events_async(self._client, self.id, after)

    async def progress(self, total: int | None = None, **options: Any) -> AsyncLiveJob:
        """Follow the job with a bar until it has ended. `total` steps, and tqdm's other `options`."""
        with closing(Bar(self.id, total, **options)) as bar:
            async for event in self.stream_events():
                bar.take(event)
        return await self.refresh()
