"""The objects a host answers with, as small frozen dataclasses. Fields this release does not know are kept in `extra`.

Owns: reading those objects leniently. Must never: refuse an answer because it says more than expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T", bound="ApiObject")


@dataclass(frozen=True, kw_only=True)
class ApiObject:
    """Anything with an id."""

    id: str
    object: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls: type[T], body: Mapping[str, Any]) -> T:
        """From the decoded JSON."""
        known = {f.name for f in fields(cls)} - {"extra"}
        named = {key: value for key, value in body.items() if key in known}
        return cls(**named, extra={key: value for key, value in body.items() if key not in known})


@dataclass(frozen=True, kw_only=True)
class File(ApiObject):
    """An uploaded, label-free file. `rows` is what `forward` may index."""

    filename: str = ""
    bytes: int = 0
    purpose: str = ""
    status: str = ""
    created_at: int = 0
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Model(ApiObject):
    """A backbone, or a fine-tuned model (`ft:...`)."""

    created: int = 0
    owned_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Job(ApiObject):
    """One fine-tuning run. `split` holds next_seq, hidden_size, adapter_parameters and max_tokens."""

    model: str = ""
    status: str = ""
    created_at: int = 0
    fine_tuned_model: str | None = None
    training_file: str | None = None
    seed: int | None = None
    error: Mapping[str, Any] | None = None
    method: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)

    @property
    def next_seq(self) -> int:
        """The number the host expects of the next step call."""
        return int(self.split.get("next_seq", 1))

    @property
    def hidden_size(self) -> int:
        """H, the width of the activations."""
        return int(self.split["hidden_size"])

    @property
    def open(self) -> bool:
        """Whether the job still takes steps."""
        return self.status in ("validating_files", "queued", "running", "paused")


@dataclass(frozen=True, kw_only=True)
class Event(ApiObject):
    """Something that happened to a job."""

    created_at: int = 0
    level: str = ""
    message: str = ""
    type: str = ""
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(ApiObject):
    """A saved state of a job."""

    created_at: int = 0
    step_number: int = 0
    fine_tuned_model_checkpoint: str = ""
    fine_tuning_job_id: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
