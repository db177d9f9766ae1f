"""`/fine_tuning/jobs/{id}/checkpoints`: saved states of a job."""

from __future__ import annotations

from pathlib import Path

from ..._generated.api.fine_tuning import (
    delete_checkpoint,
    get_checkpoint,
    get_checkpoint_content,
    list_checkpoints,
)
from ..objects import Checkpoint
from ..peft_folders import unpack
from .core import Ask, Listing, expiry, nothing, patch, post, reads, to


def _path(job_id: str, *rest: str) -> str:
    return to("fine_tuning", "jobs", job_id, "checkpoints", *rest)


def create(job_id: str, *, expires_after_s: int | None = None) -> Ask[Checkpoint]:
    """Save the state now; with `expires_after_s`, for that long."""
    after = expiry(expires_after_s)
    return post(_path(job_id), reads(Checkpoint), None if after is None else {"expires_after": after})


def list(job_id: str, limit: int | None = None) -> Listing[Checkpoint]:
    """Saved states, newest first."""
    return Listing.of(list_checkpoints, Checkpoint.read, job_id=job_id, limit=limit)


def retrieve(job_id: str, checkpoint_id: str) -> Ask[Checkpoint]:
    """One saved state."""
    return Ask.of(get_checkpoint, reads(Checkpoint), job_id=job_id, checkpoint_id=checkpoint_id)


def update(job_id: str, checkpoint_id: str, *, expires_after_s: int | None, anchor: str = "now") -> Ask[Checkpoint]:
    """Keep it for `expires_after_s` from now, or from when it was made (`anchor="created_at"`); None: for good."""
    return patch(_path(job_id, checkpoint_id), reads(Checkpoint), {"expires_after": expiry(expires_after_s, anchor)})


def delete(job_id: str, checkpoint_id: str) -> Ask[None]:
    """Remove it from the host."""
    return Ask.of(delete_checkpoint, nothing, job_id=job_id, checkpoint_id=checkpoint_id)


def download(
    job_id: str, checkpoint_id: str, folder: str | Path, *, adapter_set: int | None = None
) -> Ask[tuple[Path, ...]]:
    """Write its adapters into `folder`, one PEFT folder for each set; or one set's two files. The folders' paths."""
    wanted = {"job_id": job_id, "checkpoint_id": checkpoint_id, "set_": adapter_set}
    return Ask.of(get_checkpoint_content, lambda body: unpack(body, Path(folder)), **wanted)
