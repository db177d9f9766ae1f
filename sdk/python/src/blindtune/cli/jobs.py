"""`blindtune jobs list | show | cancel | resume`.

Owns: what is shown of jobs. Must never: cancel a job that was not named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .hosts import clients
from .options import Where
from .tables import show, show_each

if TYPE_CHECKING:
    from ..client import Client, LiveJob
    from ..client.paging import JobFilter

STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which jobs are listed."""

    status: Annotated[
        list[str] | None, typer.Option(help=f"only those: {', '.join(STATES)}; may be repeated", show_default=False)
    ] = None
    limit: Annotated[int, typer.Option(metavar="N", help="most jobs of a host; 0 is all")] = 50


@dataclass(frozen=True, kw_only=True)
class Named:
    """Jobs by their ids."""

    job: Annotated[list[str], typer.Argument(metavar="JOB...", help="ids, as `blindtune jobs list` shows them")]


def list_jobs(which: Which, where: Where, talk: Talk) -> int:
    """List the project's jobs, newest first."""
    wanted = set(which.status or ())
    unknown = sorted(wanted - {*STATES, "validating_files"})
    if unknown:
        raise ArgumentError(f"--status {unknown[0]}: there is {', '.join(STATES)}")
    rows: list[dict[str, Any]] = []
    for client in clients(where):
        # One state is the host's to look for; of several each job is looked at here.
        asked: JobFilter = {"status": next(iter(wanted))} if len(wanted) == 1 and wanted <= {*STATES} else {}
        for job in client.jobs.list(**asked):
            if wanted and job.status not in wanted:
                continue
            if which.limit and sum(row["host"] == client.base_url for row in rows) >= which.limit:
                break
            rows.append(_row(client, job))
    show(rows, talk.as_json, "no jobs")
    return DONE


def show_job(named: Named, where: Where, talk: Talk) -> int:
    """Show all that the host says of jobs."""
    found = [found_job(where, job_id) for job_id in named.job]
    show_each([{"host": client.base_url, **job.shown()} for client, job in found], talk.as_json)
    return DONE


def cancel_jobs(named: Named, where: Where, talk: Talk) -> int:
    """Stop jobs for good; what they have learned so far goes."""
    return _each(named, where, talk, lambda client, job_id: client.jobs.cancel(job_id))


def resume_jobs(named: Named, where: Where, talk: Talk) -> int:
    """Let paused jobs take steps again."""
    return _each(named, where, talk, lambda client, job_id: client.jobs.resume(job_id))


def _each(named: Named, where: Where, talk: Talk, do: Callable[[Client, str], Any]) -> int:
    rows = []
    for job_id in named.job:
        client, _ = found_job(where, job_id)
        rows.append(_row(client, do(client, job_id)))
    show(rows, talk.as_json)
    return DONE


def found_job(where: Where, job_id: str) -> tuple[Client, Any]:
    """The host that has a job, and the job."""
    from ..errors import NotFoundError

    known = clients(where)
    for client in known:
        try:
            return client, client.jobs.retrieve(job_id)
        except NotFoundError:
            continue
    raise ArgumentError(f"there is no job {job_id} at {', '.join(client.base_url for client in known)}")


def _row(client: Client, job: LiveJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "model": job.model,
        "created_at": job.created_at,
        "last_call_at": job.last_call_at,
        "finished_at": job.finished_at,
        "steps": None if job.split is None else max(0, int(job.split.get("next_seq", 1)) - 1),
        "fine_tuned_model": job.fine_tuned_model,
        "host": client.base_url,
    }
