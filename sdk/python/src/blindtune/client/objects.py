"""The objects that a host answers with. Their fields are the contract's (`_generated/schemas.py`).

Owns: reading them leniently, and showing them. Must never: refuse an answer because it says more than expected, show a
key, or name a field that the contract has already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from .._generated import schemas
from ..errors import BlindtuneError
from .display import html_table, short

if TYPE_CHECKING:
    from ..arrays import F32, AnyArray


class Record(schemas.Answer):
    """Anything a host answers with. Fields that this release does not know are kept in `extra`."""

    named_in_repr: ClassVar[tuple[str, ...]] = ("status",)
    """The fields of its short form, beside its id; they come first in the long one."""

    unshown: ClassVar[frozenset[str]] = frozenset()
    """The fields that are there for programs, and not shown."""

    secrets: ClassVar[frozenset[str]] = frozenset()
    """The fields that are never shown."""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """From the decoded JSON."""
        known = {f.name for f in fields(cls)} - {"extra"}
        named = {key: value for key, value in body.items() if key in known}
        return cls(**named, extra={key: value for key, value in body.items() if key not in known})

    def shown(self) -> dict[str, Any]:
        """What may be shown of it: no secrets, nothing empty, nothing this release does not know."""
        names = dict.fromkeys(("id", *self.named_in_repr, *(f.name for f in fields(self))))
        hidden = self.secrets | self.unshown | {"object", "extra"}
        named = {name: getattr(self, name, None) for name in names if name not in hidden}
        return {name: value for name, value in named.items() if value not in (None, "", {}, [], ())}

    def described(self, name: str) -> str:
        """Its short form, under this name of a class."""
        shown = self.shown()
        words = {word: shown[word] for word in ("id", *self.named_in_repr) if word in shown}
        return f"{name}({', '.join(f'{word}={short(value)}' for word, value in words.items())})"

    def __repr__(self) -> str:
        return self.described(type(self).__name__)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [self.shown()])


class File(Record, schemas.FileObject):
    """An uploaded, label-free file. `rows` is what `forward` may index."""

    named_in_repr = ("filename", "status", "rows")


class Upload(Record, schemas.UploadObject):
    """A file that comes in parts; `file` is there when it is complete."""

    file: File | None

    named_in_repr = ("filename", "status")

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """From the decoded JSON."""
        file = body.get("file")
        return super().read({**body, "file": File.read(file) if isinstance(file, Mapping) else None})


class UploadPart(Record, schemas.PartObject):
    """Some bytes of an upload."""

    named_in_repr = ("upload_id",)


class Model(Record, schemas.ModelObject):
    """A backbone, or a fine-tuned model (`ft:...`)."""

    named_in_repr = ("base_model",)
    unshown = frozenset({"family", "parameters"})


class Node(Record, schemas.NodeObject):
    """A host of a fleet."""

    named_in_repr = ("address", "alive", "draining")


class Job(Record, schemas.JobObject):
    """One run.

    Of method split, `split` holds next_seq, hidden_size, adapter_parameters and max_tokens; of method features,
    `features` holds rows, rows_done, bytes, expected_bytes and hidden_size.
    """

    named_in_repr = ("status", "model", "fine_tuned_model")
    unshown = frozenset({"organization_id", "integrations", "hyperparameters", "validation_file"})

    @property
    def next_seq(self) -> int:
        """The number the host expects of the next step call."""
        return int(self.split.get("next_seq", 1)) if self.split else 1

    @property
    def hidden_size(self) -> int:
        """H, the width of the activations."""
        state = self.split or self.features
        width = state and state["hidden_size"]
        if width is None:
            raise BlindtuneError(f"the host does not say how wide the activations of {self.id} are")
        return int(width)

    @property
    def open(self) -> bool:
        """Whether the job still takes steps."""
        return self.status in ("validating_files", "queued", "running", "paused")


class Batch(Record, schemas.BatchObject):
    """Many requests in one file. `output_file_id` has the answers once it is over, `error_file_id` what was refused."""

    named_in_repr = ("status", "request_counts")
    unshown = frozenset({"completion_window"})

    @property
    def open(self) -> bool:
        """Whether it is still worked on."""
        return self.status in ("validating", "in_progress", "finalizing", "cancelling")


class Event(Record, schemas.EventObject):
    """Something that happened to a job."""

    named_in_repr = ("type", "message")


class Checkpoint(Record, schemas.CheckpointObject):
    """A saved state of a job; `fine_tuned_model_checkpoint` names it where a new job is to resume from it."""

    named_in_repr = ("step_number", "fine_tuning_job_id")
    unshown = frozenset({"bytes", "sha256"})


class LedgerEntry(Record, schemas.LedgerEntry):
    """One call as the host saw it: the names and shapes of its tensors, its size and hash, never what was in it."""

    named_in_repr = ("kind", "seq", "bytes")


class LedgerSummary(Record, schemas.LedgerSummary):
    """What a host was sent in a job, added up by the kind of call."""

    named_in_repr = ("calls", "bytes")


class JobCounts(Record, schemas.JobCounts):
    """How many jobs of a project are in each state."""

    named_in_repr = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


class DeletedJob(Record, schemas.DeletedJob):
    """The receipt of a deletion: what went with the job."""

    named_in_repr = ("erased",)


class Estimate(Record, schemas.EstimateObject):
    """What a job would take on the host that was asked; measured there on `measured_steps` real steps."""

    named_in_repr = ("steps", "seconds", "device")


class Capabilities(Record, schemas.CapabilitiesObject):
    """What a host can do."""

    named_in_repr = ("version", "device")


class Usage(Record, schemas.UsageReport):
    """What was used: `data` row by row as it was asked to be grouped, and `total`."""

    named_in_repr = ("start_date", "end_date")

    def _repr_html_(self) -> str:
        rows = [{name: value for name, value in row.items() if name != "object"} for row in (*self.data, self.total)]
        return html_table(f"Usage {self.start_date} to {self.end_date}", rows)


class ApiKey(Record, schemas.NewApiKey):
    """A key of the project. `key` is there once, when it is made, and is never shown: `print(made.key)`."""

    named_in_repr = ("name", "scopes")
    secrets = frozenset({"key"})


class Me(Record, schemas.MeObject):
    """The key that asked, and its project."""

    named_in_repr = ("key_name", "project_name", "scopes")


class Project(Record, schemas.ProjectObject):
    """A tenant: its limits, open jobs, use of this month, and stored bytes."""

    named_in_repr = ("name", "jobs")


class HostState(Record, schemas.HostObject):
    """A host at one moment."""

    named_in_repr = ("version", "device", "queue", "jobs")


class AuditEntry(Record, schemas.AuditEntry):
    """Something that was done with a key: `action` names the operation."""

    named_in_repr = ("action", "resource", "status")


class Webhook(Record, schemas.CreatedWebhook):
    """Where events are sent. `secret` is there once, when it is made, and is never shown."""

    named_in_repr = ("url", "enabled")
    secrets = frozenset({"secret"})


class WebhookDelivery(Record, schemas.DeliveryObject):
    """One event that is sent to a webhook; `state` is pending, delivered or failed."""

    named_in_repr = ("type", "state", "attempts")


@dataclass(frozen=True, kw_only=True, repr=False)
class WebhookEvent(Record):
    """What a webhook is sent; `data` has the `id` of what it is about. It is no answer, and so not in the contract."""

    id: str
    object: str = ""
    created_at: int = 0
    type: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    named_in_repr = ("type", "data")


@dataclass(frozen=True)
class Activations:
    """Named tensors [B, H]: `h.{i}` of adapter set i, `h.base` of the backbone; and the scalars that came with them."""

    tensors: dict[str, AnyArray] = field(repr=False)
    metadata: dict[str, str]


@dataclass(frozen=True)
class Embeddings:
    """`vectors` [B, H], one for each text, in order."""

    model: str
    vectors: F32 = field(repr=False)
    usage: dict[str, Any]
