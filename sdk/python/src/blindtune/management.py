"""The management plane: files, models and jobs, in OpenAI's shapes, over the generated core.

Owns: the words of those calls. Must never: read an answer strictly; hosts may say more than this release knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ._generated import types
from ._generated.api.files import create_file, delete_file, get_file, get_file_content, list_files
from ._generated.api.fine_tuning import (
    cancel_job,
    complete_job,
    create_checkpoint,
    create_job,
    get_job,
    list_checkpoints,
    list_events,
    list_jobs,
    pause_job,
    resume_job,
)
from ._generated.api.models import delete_model, get_model, list_models
from ._generated.models import CreateJob, FileUpload
from .objects import Checkpoint, Event, File, Job, Model


class Core(Protocol):
    """What the client offers to send a generated call."""

    def send_core(self, operation: ModuleType, **arguments: Any) -> bytes:
        """The body of the answer."""
        ...

    def call(self, operation: ModuleType, **arguments: Any) -> dict[str, Any]:
        """The answer, decoded."""
        ...

    def pages(self, operation: ModuleType, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        ...


class Files:
    """Label-free inputs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, file: tuple[str, bytes] | str | Path, purpose: str = "fine-tune") -> File:
        """Upload (name, bytes) or a path. The host refuses files with a column that looks like a label."""
        name, content = file if isinstance(file, tuple) else (Path(file).name, Path(file).read_bytes())
        part = types.File(payload=BytesIO(content), file_name=name, mime_type="application/octet-stream")
        return File.read(self._core.call(create_file, body=FileUpload(file=part, purpose=purpose)))

    def list(self) -> Iterator[File]:
        """All files, newest first."""
        return map(File.read, self._core.pages(list_files))

    def retrieve(self, file_id: str) -> File:
        """One file."""
        return File.read(self._core.call(get_file, file_id=file_id))

    def content(self, file_id: str) -> bytes:
        """What was uploaded."""
        return self._core.send_core(get_file_content, file_id=file_id)

    def delete(self, file_id: str) -> None:
        """Remove it from the host."""
        self._core.send_core(delete_file, file_id=file_id)


class Models:
    """Backbones and fine-tuned models."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def list(self) -> Iterator[Model]:
        """All that this key may use."""
        return map(Model.read, self._core.pages(list_models))

    def retrieve(self, model: str) -> Model:
        """One model."""
        return Model.read(self._core.call(get_model, model=model))

    def delete(self, model: str) -> None:
        """Remove a fine-tuned model."""
        self._core.send_core(delete_model, model=model)


class Jobs:
    """Fine-tuning runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, model: str, method: Mapping[str, Any], **fields: Any) -> Job:
        """Start a job. `method` is `{"type": "split", "split": {...}}`.

        Other `fields` are training_file, suffix, seed and metadata.
        """
        body = {"model": model, "method": dict(method), **{k: v for k, v in fields.items() if v is not None}}
        return Job.read(self._core.call(create_job, body=CreateJob.from_dict(body)))

    def list(self, limit: int | None = None) -> Iterator[Job]:
        """All jobs, newest first; `limit` is the page size."""
        return map(Job.read, self._core.pages(list_jobs, limit=limit))

    def retrieve(self, job_id: str) -> Job:
        """One job."""
        return Job.read(self._core.call(get_job, job_id=job_id))

    def cancel(self, job_id: str) -> Job:
        """Stop for good."""
        return Job.read(self._core.call(cancel_job, job_id=job_id))

    def pause(self, job_id: str) -> Job:
        """Stop taking steps until `resume`."""
        return Job.read(self._core.call(pause_job, job_id=job_id))

    def resume(self, job_id: str) -> Job:
        """Take steps again."""
        return Job.read(self._core.call(resume_job, job_id=job_id))

    def complete(self, job_id: str) -> Job:
        """Finish: the adapters become a model, named in `fine_tuned_model`."""
        return Job.read(self._core.call(complete_job, job_id=job_id))

    def events(self, job_id: str) -> Iterator[Event]:
        """What happened, newest first."""
        return map(Event.read, self._core.pages(list_events, job_id=job_id))

    def checkpoints(self, job_id: str) -> Iterator[Checkpoint]:
        """Saved states, newest first."""
        return map(Checkpoint.read, self._core.pages(list_checkpoints, job_id=job_id))

    def create_checkpoint(self, job_id: str) -> Checkpoint:
        """Save the state now."""
        return Checkpoint.read(self._core.call(create_checkpoint, job_id=job_id))
