"""Hidden states by a features job: the host works off a file of texts by itself, and may be left alone meanwhile.

Owns: the job, the note of it in the store, the transform that it made, and the way from its files to the store. Must
never: let anything but texts decide what is asked for; leave files on the host that were read, but for a transform,
which calls for other texts need there (until it expires).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..arrays import AnyArray, decode
from ..client import Client, LiveJob
from ..client.step_calls import Text
from ..data.chunks import upload_bytes
from ..errors import BlindtuneError, ConflictError, NotFoundError, RunError
from .bounds import explained
from .download import FeatureSource, download, taps_of
from .store import FeatureStore
from .transform import Transform

log = logging.getLogger("blindtune")

UPLOAD_NAME = "inputs.jsonl"
POLL_S = 1.0
OVER = ("succeeded", "failed", "cancelled")
KEEP_S = 30 * 86_400
"""How long a transform is wanted on the host, the longest that there is: predictions are made with it."""


def download_by_job(
    source: FeatureSource, texts: Sequence[Text], store: FeatureStore, progress: bool = False
) -> FeatureSource:
    """As `download`. A job that was begun for these texts is taken up; a host that was left alone has gone on.

    Gives the source with the transform of the job, where its features have one. The store knows the transform of texts
    that were asked for so before; then no job is made for them, and what the store lacks is asked by calls.
    """
    texts_of = {source.name(text): text for text in texts}
    place = _Place.of(store, texts_of)
    if source.transform is None and source.of_job:
        source = replace(source, transform=place.transform())
    lacking = _lacking(source, texts_of, store)
    if not lacking:
        return source
    work = place.read(source.client)
    if work is None or not work.serves(source, lacking):
        if source.transform is not None:
            return download(source, list(lacking.values()), store, progress)
        work = _begin(source, lacking)
        place.write(work)
    with tqdm(total=len(work.names), disable=None if progress else True, unit="text", desc="features job") as bar:
        found = _Following(source, work, place, bar).to_the_end()
    place.note.unlink(missing_ok=True)
    if not found.is_whole:
        log.warning("features job %s: files of it are gone from the host; the rest is asked for again", work.job_id)
        return download_by_job(found.source, texts, store, progress)
    left = _lacking(found.source, texts_of, store)
    if left:
        raise RunError(f"features job {work.job_id}: {len(left)} texts are not in its files; call again")
    return found.source


def _lacking(source: FeatureSource, texts_of: Mapping[str, Text], store: FeatureStore) -> dict[str, Text]:
    """Texts that the store does not have, by name, in their order; without a transform it can have none of them."""
    if source.of_job and source.transform is None:
        return dict(texts_of)
    names = list(texts_of)
    return {names[k]: texts_of[names[k]] for k in store.missing([source.bound(name) for name in names])}


@dataclass(frozen=True)
class _Work:
    """A job, its file of texts, and the name of each row."""

    job_id: str
    file_id: str
    names: list[str]

    def serves(self, source: FeatureSource, lacking: Mapping[str, Text]) -> bool:
        """Whether it has these texts, and made them by the transform of the source where that is known."""
        mine = source.transform is None or source.transform.job_id == self.job_id
        return mine and lacking.keys() <= set(self.names)


@dataclass(frozen=True)
class _Place:
    """Where the store has what belongs to these texts, in whatever order: a note of their job, and its transform."""

    store: FeatureStore
    digest: str

    @classmethod
    def of(cls, store: FeatureStore, names: Mapping[str, Text]) -> _Place:
        """Of texts by their names."""
        return cls(store, hashlib.sha256(" ".join(sorted(names)).encode()).hexdigest()[:32])

    @property
    def note(self) -> Path:
        """The note of a job that is under way."""
        return self.store.folder / f"job-{self.digest}.json"

    def read(self, client: Client) -> _Work | None:
        """None where there is no such job, or no longer on the host."""
        if not self.note.exists():
            return None
        try:
            work = _Work(**json.loads(self.note.read_text(encoding="utf-8")))
            job = client.jobs.retrieve(work.job_id)
        except NotFoundError:
            return None
        if job.status == "paused":
            client.jobs.resume(work.job_id)
        return None if job.status in ("failed", "cancelled") else work

    def write(self, work: _Work) -> None:
        """Whole, or not at all."""
        partial = self.note.with_suffix(".partial")
        partial.write_text(json.dumps({"job_id": work.job_id, "file_id": work.file_id, "names": work.names}))
        partial.replace(self.note)

    def transform(self) -> Transform | None:
        """The one that these texts' features came through."""
        body = self.store.kept(self._transform_name)
        return None if body is None else Transform.read(body, str(self.store.folder / self._transform_name))

    def keep(self, transform: Transform) -> None:
        """Keep it for the next run."""
        self.store.keep(self._transform_name, transform.to_bytes())

    @property
    def _transform_name(self) -> str:
        return f"transform-{self.digest}.safetensors"


def _begin(source: FeatureSource, rows: dict[str, Text]) -> _Work:
    # Rows were read by the columns of inputs, so that a second text of few short values is one.
    file = source.client.files.create((UPLOAD_NAME, upload_bytes(rows.values())), inputs_only=True)
    features: dict[str, Any] = {"layers": source.layers, "tokens": source.picked, "dtype": source.dtype}
    if source.project is not None:
        features["project"] = dict(source.project)
    if source.of_job:
        features["expires_after"] = {"anchor": "created_at", "seconds": KEEP_S}
    method = {"type": "features", "features": features}
    try:
        with explained():
            job = source.client.jobs.create(source.model, method, training_file=file.id, protection="blind")
    except BlindtuneError:
        source.client.files.delete(file.id)
        raise
    log.info("features job %s on %s: %d texts", job.id, source.client.base_url, len(rows))
    return _Work(job.id, file.id, list(rows))


@dataclass
class _Following:
    """The way through a job's files, and `source` with the transform as soon as that is known."""

    source: FeatureSource
    work: _Work
    place: _Place
    bar: tqdm  # type: ignore[type-arg]
    is_whole: bool = True
    """Whether every file was still there."""

    def to_the_end(self) -> _Following:
        """Read every file as soon as it is there, until the job is over; then remove them."""
        client, seen, shards = self.source.client, set[str](), set[str]()
        while True:
            job = client.jobs.retrieve(self.work.job_id)
            for file_id in job.result_files:
                if file_id not in seen and self._take(file_id):
                    shards.add(file_id)
                seen.add(file_id)
            if job.status in OVER:
                break
            time.sleep(POLL_S)
        _check(job)
        self._delete(sorted(shards))
        return self

    def _take(self, file_id: str) -> bool:
        """Read one file. Whether it is a shard, which is not needed any more."""
        try:
            tensors, about = decode(self.source.client.files.content(file_id))
        except NotFoundError:
            self.is_whole = False
            return False
        if "first_row" in about:
            self._check_lengths(about)
            self._take_shard(tensors, int(about["first_row"]), int(about["rows"]))
            return True
        if self.source.transform is None and self.source.of_job:
            transform = Transform(self.work.job_id, tensors)
            self.place.keep(transform)
            self.source = replace(self.source, transform=transform)
        return False

    def _check_lengths(self, about: Mapping[str, str]) -> None:
        """A job cuts texts that calls refuse, so that a run would predict by more of them than it was trained on."""
        if not int(about.get("truncated", "0")):
            return
        client, first = self.source.client, int(about["first_row"])
        texts = f"{about['truncated']} of the texts {first + 1} to {first + int(about['rows'])} in the job's file"
        with suppress(BlindtuneError):
            self._remove()
        told = f"{client.host}: features job {self.work.job_id}: {texts} are longer than {self.source.model} takes"
        raise RunError(
            f"{told}, and would lose their end. Shorten them; max_length='chunk', without fetch, feature_dtype and "
            "project, reads them in overlapping pieces"
        )

    def _remove(self) -> None:
        """The job, its files and the note of it: nobody will ask for them."""
        client = self.source.client
        self.place.note.unlink(missing_ok=True)
        with suppress(ConflictError):  # over by itself
            client.jobs.cancel(self.work.job_id)
        self._delete(client.jobs.retrieve(self.work.job_id).result_files)

    def _delete(self, results: Iterable[str]) -> None:
        """These files of the job, and that of its texts."""
        for file_id in (*results, self.work.file_id):
            with suppress(NotFoundError):
                self.source.client.files.delete(file_id)

    def _take_shard(self, tensors: Mapping[str, AnyArray], first: int, count: int) -> None:
        """The texts of one file; what the store has of them is left as it is."""
        if self.source.of_job and self.source.transform is None:
            self.is_whole = False
            return
        keys = [self.source.bound(name) for name in self.work.names[first : first + count]]
        if self.place.store.missing(keys):
            self.place.store.add(keys, taps_of(tensors))
        self.bar.update(count)


def _check(job: LiveJob) -> None:
    if job.status == "failed":
        why = job.error["message"] if job.error else "the host does not say why"
        raise RunError(f"features job {job.id} failed: {why}")
    if job.status == "cancelled":
        raise RunError(f"features job {job.id} was cancelled; call again to make another")
