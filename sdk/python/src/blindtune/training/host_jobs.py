"""Jobs on hosts: made for a run, found again, and what they start from.

Owns: what a host is told of a run (model, method, seed, class of protection, the file of texts). Must never: know a
private part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32
from ..client import Client, LiveJob
from ..errors import NotFoundError
from .host_group import HostGroup, HostLink
from .placement import make_placement
from .protection import protection
from .settings import Settings

UPLOAD_NAME = "inputs.jsonl"


def create_job(client: Client, model: str, settings: Settings, upload: bytes | None, host: int = 0) -> LiveJob:
    """A job on host number `host`, with the label-free file if there is one.

    Its columns were named as inputs, and the label's stayed out: a second text of few short values is one.
    """
    file_id = client.files.create((UPLOAD_NAME, upload), inputs_only=True).id if upload is not None else None
    how = {"seed": settings.job_seed(host), "protection": protection(settings)}
    return client.jobs.create(model, settings.split_method(), training_file=file_id, **how)  # type: ignore[arg-type]


def open_jobs(model: str, settings: Settings, clients: Sequence[Client], upload: bytes | None) -> tuple[HostGroup, int]:
    """A job on every host, and H, the width of the activations. `upload` is the file that `data.upload_bytes` makes."""
    jobs = [create_job(client, model, settings, upload, k) for k, client in enumerate(clients)]
    links = [HostLink(client, job.id, job.next_seq) for client, job in zip(clients, jobs, strict=True)]
    return HostGroup(links, make_placement(settings.placement, len(links))), jobs[0].hidden_size


def find_job(link: HostLink) -> tuple[LiveJob | None, bool]:
    """The link's job, running again if it was paused, and whether it was; None where it is over or unknown."""
    try:
        job = link.client.jobs.retrieve(link.job_id)
    except NotFoundError:
        return None, False
    paused = job.status == "paused"
    if paused:
        job = link.client.jobs.resume(link.job_id)
    return (job if job.open else None), paused


def first_adapters(group: HostGroup, sets: int) -> list[F32]:
    """theta_i [P] as the host that runs set i starts it."""
    found = []
    for i in range(sets):
        host = group.placement.host_of(i, 0, 0)
        link, own = group.links[host], group.placement.sets(host, sets).index(i)
        tensors = link.client.adapter(link.job_id, own, form="flat")
        found.append(np.array(tensors[f"theta.{own}"], dtype=np.float32))
    return found
