"""`/fine_tuning`: jobs, and what a host can do and would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from typing_extensions import Unpack

from ..._generated.api.fine_tuning import (
    cancel_job,
    complete_job,
    get_job,
    list_events,
    list_jobs,
    list_ledger,
    pause_job,
    report_metrics,
    resume_job,
)
from ..._generated.api.fine_tuning import capabilities as get_capabilities
from ..._generated.models import ListJobsMetadata, MetricsBody
from ..objects import Capabilities, Estimate, Event, Job, LedgerEntry
from .core import Ask, Listing, compute, nothing, post, reads

JOBS = "fine_tuning/jobs"


class JobFields(TypedDict, total=False):
    """What else a job may be given."""

    training_file: str | None
    suffix: str | None
    seed: int | None
    metadata: Mapping[str, str] | None
    hyperparameters: Mapping[str, Any] | None


class EstimateFields(TypedDict, total=False):
    """What to estimate: the method, a `training_file` or `rows` of `tokens_per_row`, and how it would be trained."""

    method: Mapping[str, Any] | None
    training_file: str | None
    rows: int | None
    tokens_per_row: int | None
    batch_size: int | None
    n_epochs: int | None
    shares: int | None
    base: bool | None


def create(model: str, method: Mapping[str, Any] | None = None, **fields: Unpack[JobFields]) -> Ask[Job]:
    """Start a job on a backbone, a fine-tuned model or a checkpoint. `method` is `{"type": "split", "split": {...}}`.

    Other `fields` are training_file, suffix, seed, metadata and hyperparameters. Use the job in a `with` block:
    when an error leaves the block, the job is paused, or cancelled if it has taken no step yet; otherwise it is left
    as it is.
    """
    return post(JOBS, reads(Job), {"model": model, "method": None if method is None else dict(method), **fields})


def list(limit: int | None = None, *, metadata: Mapping[str, str] | None = None) -> Listing[Job]:
    """All jobs, newest first, or those that were given this `metadata`; `limit` is the page size."""
    wanted = ListJobsMetadata.from_dict({f"metadata[{key}]": value for key, value in (metadata or {}).items()})
    return Listing.of(list_jobs, Job.read, limit=limit, metadata=wanted)


def retrieve(job_id: str) -> Ask[Job]:
    """One job."""
    return Ask.of(get_job, reads(Job), job_id=job_id)


def cancel(job_id: str) -> Ask[Job]:
    """Stop for good."""
    return Ask.of(cancel_job, reads(Job), job_id=job_id)


def pause(job_id: str) -> Ask[Job]:
    """Stop taking steps until `resume`; the host keeps a checkpoint."""
    return Ask.of(pause_job, reads(Job), job_id=job_id)


def resume(job_id: str) -> Ask[Job]:
    """Take steps again."""
    return Ask.of(resume_job, reads(Job), job_id=job_id)


def complete(job_id: str) -> Ask[Job]:
    """Finish: the adapters become a model, named in `fine_tuned_model`."""
    return Ask.of(complete_job, reads(Job), job_id=job_id)


def events(job_id: str, limit: int | None = None, *, order: str | None = None) -> Listing[Event]:
    """What happened, newest first, or oldest first with `order="asc"`."""
    return Listing.of(list_events, Event.read, job_id=job_id, limit=limit, order=order)


def ledger(job_id: str) -> Listing[LedgerEntry]:
    """What the host was sent, call by call: names, shapes, bytes, hashes; never the contents."""
    return Listing.of(list_ledger, LedgerEntry.read, job_id=job_id)


def metrics(job_id: str, step: int, metrics: Mapping[str, float]) -> Ask[None]:
    """Tell the host scalars of your choice.

    Nothing in this package calls it: a loss says something about labels.
    """
    body = MetricsBody.from_dict({"step": step, "metrics": dict(metrics)})
    return Ask.of(report_metrics, nothing, job_id=job_id, body=body)


def estimate(model: str, **fields: Unpack[EstimateFields]) -> Ask[Estimate]:
    """What a job would take on this host: steps, tokens, FLOPs, bytes each way and seconds, from a few real steps."""
    body = {"model": model, **{key: value for key, value in fields.items() if value is not None}}
    return compute("fine_tuning/estimate", reads(Estimate), body)


def capabilities() -> Ask[Capabilities]:
    """What this host can do: its models, methods, precisions and limits."""
    return Ask.of(get_capabilities, reads(Capabilities))
