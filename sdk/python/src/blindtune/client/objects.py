"""The objects a host answers with, as small frozen dataclasses. Fields this release does not know are kept in `extra`.

Owns: reading those objects leniently, and showing them. Must never: refuse an answer because it says more than
expected, or show a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from ..arrays import F32, AnyArray
from .display import html_table, short

T = TypeVar("T", bound="Record")


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """Anything a host answers with."""

    object: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    named_in_repr: ClassVar[tuple[str, ...]] = ("status",)
    """The fields of its short form, beside its id."""

    secrets: ClassVar[frozenset[str]] = frozenset()
    """The fields that are never shown."""

    @classmethod
    def read(cls: type[T], body: Mapping[str, Any]) -> T:
        """From the decoded JSON."""
        known = {f.name for f in fields(cls)} - {"extra"}
        named = {key: value for key, value in body.items() if key in known}
        return cls(**named, extra={key: value for key, value in body.items() if key not in known})

    def shown(self) -> dict[str, Any]:
        """What may be shown of it: no secrets, nothing empty, nothing this release does not know."""
        hidden = self.secrets | {"object", "extra"}
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.repr and f.name not in hidden}
        return {name: value for name, value in named.items() if value not in (None, "", {}, [], ())}

    def __repr__(self) -> str:
        shown = self.shown()
        words = {name: shown[name] for name in ("id", *self.named_in_repr) if name in shown}
        return f"{type(self).__name__}({', '.join(f'{name}={short(value)}' for name, value in words.items())})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [self.shown()])


@dataclass(frozen=True, kw_only=True, repr=False)
class ApiObject(Record):
    """Anything with an id."""

    id: str


@dataclass(frozen=True, kw_only=True, repr=False)
class File(ApiObject):
    """An uploaded, label-free file. `rows` is what `forward` may index."""

    filename: str = ""
    bytes: int = 0
    purpose: str = ""
    status: str = ""
    created_at: int = 0
    expires_at: int | None = None
    rows: int | None = None

    named_in_repr = ("filename", "status", "rows")


@dataclass(frozen=True, kw_only=True, repr=False)
class Upload(ApiObject):
    """A file that comes in parts; `file` is there when it is complete."""

    filename: str = ""
    bytes: int = 0
    purpose: str = ""
    status: str = ""
    created_at: int = 0
    expires_at: int | None = None
    file: File | None = None

    named_in_repr = ("filename", "status")

    def __post_init__(self) -> None:
        if isinstance(self.file, Mapping):
            object.__setattr__(self, "file", File.read(self.file))


@dataclass(frozen=True, kw_only=True, repr=False)
class UploadPart(ApiObject):
    """Some bytes of an upload."""

    upload_id: str = ""
    created_at: int = 0

    named_in_repr = ("upload_id",)


@dataclass(frozen=True, kw_only=True, repr=False)
class Model(ApiObject):
    """A backbone, or a fine-tuned model (`ft:...`)."""

    created: int = 0
    owned_by: str = ""
    base_model: str | None = None
    adapter_sets: int | None = None
    pooling: str | None = None
    max_tokens: int | None = None
    hidden_size: int | None = None

    named_in_repr = ("base_model",)


@dataclass(frozen=True, kw_only=True, repr=False)
class Job(ApiObject):
    """One fine-tuning run. `split` holds next_seq, hidden_size, adapter_parameters and max_tokens."""

    model: str = ""
    status: str = ""
    created_at: int = 0
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    training_file: str | None = None
    result_files: Sequence[str] = ()
    trained_tokens: int | None = None
    seed: int | None = None
    origin: str | None = None
    error: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None
    method: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)

    named_in_repr = ("status", "model", "fine_tuned_model")

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


@dataclass(frozen=True, kw_only=True, repr=False)
class Event(ApiObject):
    """Something that happened to a job."""

    created_at: int = 0
    level: str = ""
    message: str = ""
    type: str = ""
    data: Any = None

    named_in_repr = ("type", "message")


@dataclass(frozen=True, kw_only=True, repr=False)
class Checkpoint(ApiObject):
    """A saved state of a job; `fine_tuned_model_checkpoint` names it where a new job is to go on from it."""

    created_at: int = 0
    expires_at: int | None = None
    step_number: int = 0
    fine_tuned_model_checkpoint: str = ""
    fine_tuning_job_id: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)

    named_in_repr = ("step_number", "fine_tuning_job_id")


@dataclass(frozen=True, kw_only=True, repr=False)
class LedgerEntry(ApiObject):
    """One call as the host saw it: the names and shapes of its tensors, its size and hash, never what was in it."""

    created_at: int = 0
    kind: str = ""
    seq: int | None = None
    bytes: int = 0
    sha256: str = ""
    tensors: Sequence[Mapping[str, Any]] = ()

    named_in_repr = ("kind", "seq", "bytes")


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate(Record):
    """What a job would take on the host that was asked; measured there on `measured_steps` real steps."""

    steps: int = 0
    rows: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    sampled_share: float | None = None
    flops: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    seconds_per_step: float = 0.0
    device: str = ""
    measured_steps: int = 0

    named_in_repr = ("steps", "seconds", "device")


@dataclass(frozen=True, kw_only=True, repr=False)
class Capabilities(Record):
    """What a host can do."""

    version: str = ""
    device: str = ""
    methods: Sequence[str] = ()
    custody: Sequence[str] = ()
    precisions: Sequence[str] = ()
    inference: Sequence[str] = ()
    tensor_media_types: Sequence[str] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[Mapping[str, Any]] = ()

    named_in_repr = ("version", "device")


@dataclass(frozen=True, kw_only=True, repr=False)
class Usage(Record):
    """What was used: `data` row by row as it was asked to be grouped, and `total`."""

    start_date: str = ""
    end_date: str = ""
    data: Sequence[Mapping[str, Any]] = ()
    total: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    named_in_repr = ("start_date", "end_date")

    def _repr_html_(self) -> str:
        total = {name: value for name, value in self.total.items() if name != "object"}
        rows = [{name: value for name, value in row.items() if name != "object"} for row in self.data]
        return html_table(f"Usage {self.start_date} to {self.end_date}", [*rows, total])


@dataclass(frozen=True, kw_only=True, repr=False)
class ApiKey(ApiObject):
    """A key of the project. `key` is there once, when it is made, and is never shown: `print(made.key)`."""

    name: str = ""
    created_at: int = 0
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None
    scopes: Sequence[str] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    monthly_tokens: int | None = None
    monthly_device_seconds: int | None = None
    key: str | None = None

    named_in_repr = ("name", "scopes")
    secrets = frozenset({"key"})


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditEntry(ApiObject):
    """Something that was done with a key: `action` names the operation."""

    created_at: int = 0
    key_id: str = ""
    action: str = ""
    resource: str | None = None
    status: int = 0
    request_id: str = ""

    named_in_repr = ("action", "resource", "status")


@dataclass(frozen=True, kw_only=True, repr=False)
class Webhook(ApiObject):
    """Where events are sent. `secret` is there once, when it is made, and is never shown."""

    url: str = ""
    events: Sequence[str] = ()
    enabled: bool = True
    created_at: int = 0
    secret: str | None = None

    named_in_repr = ("url", "enabled")
    secrets = frozenset({"secret"})


@dataclass(frozen=True, kw_only=True, repr=False)
class WebhookDelivery(ApiObject):
    """One event that is sent to a webhook; `state` is pending, delivered or failed."""

    created_at: int = 0
    type: str = ""
    state: str = ""
    attempts: int = 0
    next_attempt_at: int | None = None
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: int | None = None

    named_in_repr = ("type", "state", "attempts")


@dataclass(frozen=True, kw_only=True, repr=False)
class WebhookEvent(ApiObject):
    """What a webhook is sent; `data` has the `id` of what it is about."""

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
