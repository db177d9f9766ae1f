"""Hidden states by a features job: the host works off a file of texts by itself, and may be left alone meanwhile.

Owns: the job, the note of it in the store, and the way from its files to the store. Must never: let anything but texts
decide what is asked for; leave files on the host that were read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..arrays import decode
from ..client import Client, LiveJob
from ..client.step_calls import Text
from ..data.chunks import upload_bytes
from ..data.taps import Taps
from ..errors import NotFoundError, RunError
from .download import KEPT, FeatureSource, levels_of
from .store import FeatureStore

log = logging.getLogger("blindtune")

UPLOAD_NAME = "inputs.jsonl"
POLL_S = 1.0
OVER = ("succeeded", "failed", "cancelled")


def download_by_job(source: FeatureSource, texts: Sequence[Text], store: FeatureStore, progress: bool = False) -> None:
    """As `download`. A job that was begun for these texts is taken up; a host that was left alone has gone on."""
    keys = [source.key(text) for text in texts]
    missing = store.missing(keys)
    if not missing:
        return
    rows = {keys[number]: texts[number] for number in missing}
    note = _Note.of(store, keys)
    work = note.read(source.client)
    if work is None or not rows.keys() <= set(work.keys):
        work = _begin(source, rows)
        note.write(work)
    with tqdm(total=len(work.keys), disable=None if progress else True, unit="text", desc="features job") as bar:
        _follow(source.client, work, store, bar)
    note.path.unlink(missing_ok=True)
    left = store.missing(keys)
    if left:
        raise RunError(f"features job {work.job_id}: {len(left)} texts are not in its files; call again")


@dataclass(frozen=True)
class _Work:
    """A job, its file of texts, and the key of each row."""

    job_id: str
    file_id: str
    keys: list[str]


@dataclass(frozen=True)
class _Note:
    """What the store remembers of a job that is under way."""

    path: Path

    @classmethod
    def of(cls, store: FeatureStore, keys: Sequence[str]) -> _Note:
        """Of the job that these texts were asked for with."""
        return cls(store.folder / f"job-{hashlib.sha256(' '.join(keys).encode()).hexdigest()[:32]}.json")

    def read(self, client: Client) -> _Work | None:
        """None where there is no such job, or no longer on the host."""
        if not self.path.exists():
            return None
        work = _Work(**json.loads(self.path.read_text(encoding="utf-8")))
        try:
            job = client.jobs.retrieve(work.job_id)
        except NotFoundError:
            return None
        if job.status == "paused":
            client.jobs.resume(work.job_id)
        return None if job.status in ("failed", "cancelled") else work

    def write(self, work: _Work) -> None:
        """Whole, or not at all."""
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"job_id": work.job_id, "file_id": work.file_id, "keys": work.keys}))
        partial.replace(self.path)


def _begin(source: FeatureSource, rows: dict[str, Text]) -> _Work:
    file = source.client.files.create((UPLOAD_NAME, upload_bytes(rows.values())))
    features = {"layers": source.layers, "tokens": "all", "dtype": KEPT}
    method = {"type": "features", "features": features}
    job = source.client.jobs.create(source.model, method, training_file=file.id, protection="blind")
    log.info("features job %s on %s: %d texts", job.id, source.client.base_url, len(rows))
    return _Work(job.id, file.id, list(rows))


def _follow(client: Client, work: _Work, store: FeatureStore, bar: tqdm) -> None:  # type: ignore[type-arg]
    """Read every file as soon as it is there, until the job is over."""
    read: set[str] = set()
    while True:
        job = client.jobs.retrieve(work.job_id)
        for file_id in job.result_files:
            if file_id not in read:
                bar.update(_take(client, file_id, work, store))
                read.add(file_id)
        if job.status in OVER:
            break
        time.sleep(POLL_S)
    _check(job)
    for file_id in (*read, work.file_id):
        client.files.delete(file_id)


def _take(client: Client, file_id: str, work: _Work, store: FeatureStore) -> int:
    """The texts of one file; what the store has of them is left as it is."""
    tensors, about = decode(client.files.content(file_id))
    if "first_row" not in about:
        return 0
    first, count = int(about["first_row"]), int(about["rows"])
    keys = work.keys[first : first + count]
    if store.missing(keys):
        store.add(keys, Taps.of(levels_of(tensors), np.asarray(tensors["lengths"], dtype=np.int64)))
    return count


def _check(job: LiveJob) -> None:
    if job.status == "failed":
        why = job.error["message"] if job.error else "the host does not say why"
        raise RunError(f"features job {job.id} failed: {why}")
    if job.status == "cancelled":
        raise RunError(f"features job {job.id} was cancelled; call again to make another")
