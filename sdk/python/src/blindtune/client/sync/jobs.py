"""`client.jobs`: fine-tuning runs, what a host can do and would take, and saved states. Jobs come as handles.

Owns: the calls under `/fine_tuning`. Must never: send steps (the client and a job's handle do).
"""

# Made from ../aio/jobs.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from .live_job import LiveJob
from .pages import Pages
from .resource import Resource

if TYPE_CHECKING:
    from .client import Client


class Checkpoints(Resource):
    """`client.jobs.checkpoints`: saved states of jobs."""

    def create(self, job_id: str, *, expires_after_s: int | None = None) -> Checkpoint:
        """Save the state now; with `expires_after_s`, for that long."""
        after = expiry(expires_after_s)
        body = None if after is None else {"expires_after": after}
        return self._client.call(op.CREATE_CHECKPOINT, reads(Checkpoint), body, job_id=job_id)

    def list(self, job_id: str, limit: int | None = None) -> Pages[Checkpoint]:
        """Saved states, newest first."""
        return Pages(self._client, op.LIST_CHECKPOINTS, Checkpoint.read, job_id=job_id, limit=limit)

    def retrieve(self, job_id: str, checkpoint_id: str) -> Checkpoint:
        """One saved state."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        return self._client.call(op.GET_CHECKPOINT, reads(Checkpoint), **named)

    def update(
        self, job_id: str, checkpoint_id: str, *, expires_after_s: int | None, anchor: str = "now"
    ) -> Checkpoint:
        """Keep it for `expires_after_s` from now, or from when it was made (`anchor="created_at"`); None: for good."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        body = {"expires_after": expiry(expires_after_s, anchor)}
        return self._client.call(op.UPDATE_CHECKPOINT, reads(Checkpoint), body, **named)

    def delete(self, job_id: str, checkpoint_id: str) -> None:
        """Remove it from the host."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id}
        self._client.call(op.DELETE_CHECKPOINT, nothing, **named)

    def download(
        self, job_id: str, checkpoint_id: str, folder: str | Path, *, adapter_set: int | None = None
    ) -> tuple[Path, ...]:
        """Write its adapters into `folder`, one PEFT folder for each set; or one set's two files. Their paths."""
        named = {"job_id": job_id, "checkpoint_id": checkpoint_id, "set": adapter_set}
        return unpack(self._client.call(op.GET_CHECKPOINT_CONTENT, bytes, **named), Path(folder))


class Jobs(Resource):
    """`client.jobs`: fine-tuning runs."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.checkpoints = Checkpoints(client)
        """Saved states of jobs."""

    def create(self, model: str, method: Mapping[str, Any] | None = None, **fields: Unpack[JobFields]) -> LiveJob:
        """Start a job on a backbone, a fine-tuned model or a checkpoint.

        `method` is `{"type": "split", "split": {...}}`. Other `fields` are training_file, suffix, seed, metadata and
        hyperparameters. Use the job in a `with` block: when an error leaves the block, the job is paused, or
        cancelled if it has taken no step yet; otherwise it is left as it is.
        """
        named = {"model": model, "method": None if method is None else dict(method), **fields}
        return self._one(op.CREATE_JOB, given(named))

    def list(
        self, limit: int | None = None, *, metadata: Mapping[str, str] | None = None, **wanted: Unpack[JobFilter]
    ) -> Pages[LiveJob]:
        """All jobs, newest first, or those that are wanted: by `metadata`, `status`, `model`, `created_from` (seconds
        since 1970), `created_before`; `order="asc"` begins with the oldest. `limit` is the page size."""
        client = self._client
        pick = {"limit": limit, "metadata": metadata, **wanted}
        return Pages(client, op.LIST_JOBS, lambda body: LiveJob(client, Job.read(body)), **pick)

    def counts(self) -> JobCounts:
        """How many jobs of the project are in each state."""
        return self._client.call(op.COUNT_JOBS, reads(JobCounts))

    def retrieve(self, job_id: str) -> LiveJob:
        """One job."""
        return self._one(op.GET_JOB, job_id=job_id)

    def cancel(self, job_id: str) -> LiveJob:
        """Stop for good."""
        return self._one(op.CANCEL_JOB, job_id=job_id)

    def pause(self, job_id: str) -> LiveJob:
        """Stop taking steps until `resume`; the host keeps a checkpoint."""
        return self._one(op.PAUSE_JOB, job_id=job_id)

    def resume(self, job_id: str) -> LiveJob:
        """Take steps again."""
        return self._one(op.RESUME_JOB, job_id=job_id)

    def complete(self, job_id: str) -> LiveJob:
        """Finish: the adapters become a model, named in `fine_tuned_model`."""
        return self._one(op.COMPLETE_JOB, job_id=job_id)

    def delete(self, job_id: str) -> DeletedJob:
        """Remove a job that is over, with its steps, ledger, events and checkpoints; how much that was."""
        return self._client.call(op.DELETE_JOB, reads(DeletedJob), job_id=job_id)

    def events(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> Pages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`."""
        return Pages(self._client, op.LIST_EVENTS, Event.read, job_id=job_id, limit=limit, order=order)

    def stream_events(self, job_id: str, after: str | None = None) -> Iterator[Event]:
        """Every event of a job, or those after the one with the id `after`, as they happen; ends when the job has."""
        return event_stream.stream_events(self._client, job_id, after)

    def ledger(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> Pages[LedgerEntry]:
        """What the host was sent, call by call: names, shapes, bytes, hashes; never the contents. `limit` a page.

        Oldest first, or newest first with `order="desc"`.
        """
        return Pages(self._client, op.LIST_LEDGER, LedgerEntry.read, job_id=job_id, limit=limit, order=order)

    def ledger_summary(self, job_id: str) -> LedgerSummary:
        """The same added up by the kind of call."""
        return self._client.call(op.GET_LEDGER_SUMMARY, reads(LedgerSummary), job_id=job_id)

    def reports(self, job_id: str, limit: int | None = None, *, order: str | None = None) -> Pages[Event]:
        """What was told by `metrics`, newest first, or oldest first with `order="asc"`; the scalars are in `data`."""
        return Pages(self._client, op.LIST_METRICS, Event.read, job_id=job_id, limit=limit, order=order)

    def metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        self._client.call(op.REPORT_METRICS, nothing, {"step": step, "metrics": dict(metrics)}, job_id=job_id)

    def estimate(self, model: str, **fields: Unpack[EstimateFields]) -> Estimate:
        """What a job would take on this host, from a few real steps: steps, tokens, FLOPs, bytes each way, seconds."""
        return self._client.call(op.ESTIMATE, reads(Estimate), given({"model": model, **fields}))

    def capabilities(self) -> Capabilities:
        """What this host can do: its models, methods, precisions and limits."""
        return self._client.call(op.CAPABILITIES, reads(Capabilities))

    def _one(self, operation: Operation, body: Body = None, /, **named: str) -> LiveJob:
        """The job that this answers."""
        return LiveJob(self._client, self._client.call(operation, reads(Job), body, **named))
