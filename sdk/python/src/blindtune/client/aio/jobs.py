"""`client.jobs`: fine-tuning runs, what a host can do and would take, and saved states. Jobs come as handles.

Owns: the calls under `/fine_tuning`. Must never: send steps (the client and a job's handle do).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from ..._generated import operations as op
from ..._generated.operations import Operation
from ..._generated.schemas import EstimateFields, JobFields
from ..objects import (
    Capabilities,
    Checkpoint,
    DeletedJob,
    Estimate,
    Event,
    Job,
    JobCounts,
    LedgerEntry,
    LedgerSummary,
)
from ..paging import JobFilter
from ..peft_folders import unpack
from ..requests import Body, expiry, given, nothing, reads
from . import event_stream
from .live_job import AsyncLiveJob
from .pages import AsyncPages
from .resource import AsyncResource
from .starting import Starting

if TYPE_CHECKING:
    from .client import AsyncClient


class AsyncCheckpoints(AsyncResource):
    """`client.jobs.checkpoints`: saved states of jobs."""

    async def create(self, job_id: str, *, expires_after_s: int | None = None) -> Checkpoint:
        """Save the state now; with `expires_after_s`, for that long."""
        after = expiry(expires_after_s)
        body = None if after is None else {"expires_after": after}
        return await self._client.call(op.CREATE_CHECKPOINT, reads(Checkpoint), body, job_id=job_id)

    def list(self, job_id: str, limit: int | None = None) -> AsyncPages[Checkpoint]:
        """Saved states, newest first."""
        return AsyncPages(self._client, op.LIST_CHECKPOINTS, Checkpoint.read, job_id=job_id, limit=limit)

    async def retrieve(self, job_id: str, checkpoint_id: str) -> Checkpoint:
        """One saved state."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        return await self._client.call(op.GET_CHECKPOINT, reads(Checkpoint), **named)

    async def update(
        self, job_id: str, checkpoint_id: str, *, expires_after_s: int | None, anchor: str = "now"
    ) -> Checkpoint:
        """Keep it for `expires_after_s` from now, or from when it was made (`anchor="created_at"`); None: for good."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        body = {"expires_after": expiry(expires_after_s, anchor)}
        return await self._client.call(op.UPDATE_CHECKPOINT, reads(Checkpoint), body, **named)

    async def delete(self, job_id: str, checkpoint_id: str) -> None:
        """Remove it from the host."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        await self._client.call(op.DELETE_CHECKPOINT, nothing, **named)

    async def download(
        self, job_id: str, checkpoint_id: str, folder: str | Path, *, adapter_set: int | None = None
    ) -> tuple[Path, ...]:
        """Write its adapters into `folder`, one PEFT folder for each set; or one set's two files. Their paths."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id, "set": adapter_set}
        return unpack(await self._client.call(op.GET_CHECKPOINT_CONTENT, bytes, **named), Path(folder))


class AsyncJobs(AsyncResource):
    """`client.jobs`: fine-tuning runs."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client)
        self.checkpoints = AsyncCheckpoints(client)
        """Saved states of jobs."""

    def create(self, model: str, method: Mapping[str, Any] | None = None, **fields: Unpack[JobFields]) -> Starting:
        """Start a job on a backbone, a fine-tuned model or a checkpoint.

        `method` is `{"type": "split", "split": {...}}`. Other `fields` are training_file, suffix, seed, metadata and
        hyperparameters. Use the job in an `async with` block: when an error leaves the block, the job is paused, or
        cancelled if it has taken no step yet; otherwise it is left as it is.
        """
        named = {"model": model, "method": None if method is None else dict(method), **fields}
        return self._one(op.CREATE_JOB, given(named))

    def list(
        self, limit: int | None = None, *, metadata: Mapping[str, str] | None = None, **wanted: Unpack[JobFilter]
    ) -> AsyncPages[AsyncLiveJob]:
        """All jobs, newest first, or those that are wanted: by `metadata`, `status`, `model`, `created_from` (seconds
        since 1970), `created_before`; `order="asc"` begins with the oldest. `limit` is the page size."""
        client = self._client
        pick = {"limit": limit, "metadata": metadata, **wanted}
        return AsyncPages(client, op.LIST_JOBS, lambda body: AsyncLiveJob(client, Job.read(body)), **pick)

    async def counts(self) -> JobCounts:
        """How many jobs of the project are in each state."""
        return await self._client.call(op.COUNT_JOBS, reads(JobCounts))

    def retrieve(self, job_id: str) -> Starting:
        """One job."""
        return self._one(op.GET_JOB, job_id=job_id)

    def cancel(self, job_id: str) -> Starting:
        """Stop for good."""
        return self._one(op.CANCEL_JOB, job_id=job_id)

    def pause(self, job_id: str) -> Starting:
        """Stop taking steps until `resume`; the host keeps a checkpoint."""
        return self._one(op.PAUSE_JOB, job_id=job_id)

    def resume(self, job_id: str) -> Starting:
        """Take steps again."""
        return self._one(op.RESUME_JOB, job_id=job_id)

    def complete(self, job_id: str) -> Starting:
        """Finish: the adapters become a model, named in `fine_tuned_model`."""
        return self._one(op.COMPLETE_JOB, job_id=job_id)

    async def delete(self, job_id: str) -> DeletedJob:
        """Remove a job that is over, with its steps, ledger, events and checkpoints; how much that was."""
        return await self._client.call(op.DELETE_JOB, reads(DeletedJob), job_id=job_id)

    def events(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> AsyncPages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`."""
        return AsyncPages(self._client, op.LIST_EVENTS, Event.read, job_id=job_id, limit=limit, order=order)

    def stream_events(self, job_id: str, after: str | None = None) -> AsyncIterator[Event]:
        """Every event of a job, or those after the one with the id `after`, as they happen; ends when the job has."""
        return event_stream.stream_events(self._client, job_id, after)

    def ledger(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> AsyncPages[LedgerEntry]:
        """What the host was sent, call by call: names, shapes, bytes, hashes; never the contents. `limit` a page.

        Oldest first, or newest first with `order="desc"`.
        """
        return AsyncPages(self._client, op.LIST_LEDGER, LedgerEntry.read, job_id=job_id, limit=limit, order=order)

    async def ledger_summary(self, job_id: str) -> LedgerSummary:
        """The same added up by the kind of call."""
        return await self._client.call(op.GET_LEDGER_SUMMARY, reads(LedgerSummary), job_id=job_id)

    def reports(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> AsyncPages[Event]:
        """What was told by `metrics`, newest first, or oldest first with `order="asc"`; the scalars are in `data`."""
        return AsyncPages(self._client, op.LIST_METRICS, Event.read, job_id=job_id, limit=limit, order=order)

    async def metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        await self._client.call(op.REPORT_METRICS, nothing, {"step": step, "metrics": dict(metrics)}, job_id=job_id)

    async def estimate(self, model: str, **fields: Unpack[EstimateFields]) -> Estimate:
        """What a job would take on this host, from a few real steps: steps, tokens, FLOPs, bytes each way, seconds."""
        return await self._client.call(op.ESTIMATE, reads(Estimate), given({"model": model, **fields}))

    async def capabilities(self) -> Capabilities:
        """What this host can do: its models, methods, precisions and limits."""
        return await self._client.call(op.CAPABILITIES, reads(Capabilities))

    def _one(self, operation: Operation, body: Body = None, /, **named: str) -> Starting:
        """The job that this answers."""
        return Starting(self._client, self._client.call(operation, reads(Job), body, **named))
