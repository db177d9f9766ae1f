"""What the host answers, and the optional fields of some bodies, as the contract has them."""

# Made from openapi.yaml by tools/generate.py: `make sdk`.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from typing_extensions import NotRequired

_absent: Callable[[], Any] = dict
"""For objects that an older host leaves out."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Answer:
    """Anything a host answers with. What this release does not know of it is in `extra`."""

    extra: Mapping[str, Any] = field(default_factory=dict)


class AdapterLayout(TypedDict):
    """The adapters of a job: how the flat vector is laid out."""

    object: str
    """Always `fine_tuning.job.adapters`."""
    adapter_sets: int
    """Number n of adapter sets."""
    parameters: int
    """Length P of a set's flat vector."""
    layout: Sequence[SlotJson]
    """Where each matrix stands in it."""
    peft_config: Mapping[str, Any]
    """PEFT's `adapter_config.json` for these adapters."""


class BatchErrorList(TypedDict):
    """What was wrong with its lines, the first hundred of it."""

    object: str
    """Always `list`."""
    data: Sequence[BatchErrorObject]
    """In the order of the lines."""


class BatchErrorObject(TypedDict):
    """What was wrong with a line, or why the batch failed."""

    code: str
    """A stable code for programs."""
    message: str
    """A sentence for people."""
    param: str | None
    """The field at fault."""
    line: int | None
    """The line at fault, from 1; blank ones are not counted."""


class BatchRequestCounts(TypedDict):
    """Requests of a batch."""

    total: int
    """Lines of its file."""
    completed: int
    """Those in the output file."""
    failed: int
    """Those in the error file."""


class BatchUsage(TypedDict):
    """Tokens of a batch."""

    input_tokens: int
    """Tokens of the inputs, of requests that were answered."""
    input_tokens_details: InputTokensDetails
    """Of the inputs."""
    output_tokens: int
    """Always 0: nothing is generated."""
    output_tokens_details: OutputTokensDetails
    """Of the outputs."""
    total_tokens: int
    """The same as `input_tokens`."""


class BudgetObject(TypedDict):
    """A budget of a calendar month (UTC). A call that comes when nothing is left is refused with 429."""

    object: str
    """Always `budget`."""
    holder: str
    """Whose it is."""
    name: str
    """`monthly_tokens` or `monthly_device_seconds`, which says the unit."""
    limit: int
    """What there is for the month."""
    used: int
    """What was used of it."""
    left: int
    """What is left, at least 0."""


class Connections(TypedDict):
    """Connections to Postgres."""

    busy: int
    """At work."""
    idle: int
    """Open, and waiting for work."""
    limit: int
    """`database.max_connections`."""


class EmbeddingObject(TypedDict):
    """The vector of one input."""

    object: str
    """Always `embedding`."""
    index: int
    """Place of the input in the call."""
    embedding: Sequence[float] | str
    """The activation at the model's cut, not normalized; of a fine-tuned model those of all sets side by side, `[n *
    H]`."""


class EmbeddingsAnswer(TypedDict):
    """Answer to a call for embeddings."""

    object: str
    """Always `list`."""
    data: Sequence[EmbeddingObject]
    """One vector an input, in their order."""
    model: str
    """The model."""
    usage: TokenUsage
    """Tokens of the call."""


class Erased(TypedDict):
    """How much was deleted for good."""

    steps: int
    """Records of step calls."""
    ledger_entries: int
    """Entries of the ledger."""
    events: int
    """Events."""
    checkpoints: int
    """Checkpoints, with their state."""
    bytes: int
    """Bytes of the checkpoints."""


class FeatureSettings(TypedDict):
    """Settings of method `features`."""

    layers: NotRequired[str | int | Sequence[int]]
    tokens: NotRequired[str | Sequence[str]]
    dtype: NotRequired[str]
    project: NotRequired[Projection | None]
    """Makes the features narrower; null keeps the backbone's width."""
    precision: NotRequired[str]
    expires_after: NotRequired[FeaturesLife | None]
    """How long the files are kept; the host's own time when null."""


class FeaturesLife(TypedDict):
    """How long the files of a features job are kept."""

    anchor: str
    """The anchor: `created_at`, of each file."""
    seconds: int
    """Seconds after the anchor, an hour to 30 days."""


class FeaturesState(TypedDict):
    """Progress of a features job."""

    rows: int
    """Rows of the training file."""
    rows_done: int
    """Rows whose features are in `result_files`."""
    bytes: int
    """Size of these files."""
    expected_bytes: int
    """Bytes of features of all rows, as counted when the job was made; headers come on top."""
    hidden_size: int | None
    """Width of the backbone's hidden states."""


class HostAtWork(TypedDict):
    """A host of this database that is at work."""

    id: str
    """Of its process: another one after each start."""
    this: bool
    """Whether it is the one that answers."""
    jobs: int
    """Jobs that it holds."""
    batches: int
    """Batches that it holds."""


class InputTokensDetails(TypedDict):
    """Tokens by where they came from."""

    cached_tokens: int
    """Always 0: nothing is kept of a call."""


class JobError(TypedDict):
    """Why a job failed."""

    code: str
    """A stable code for programs."""
    message: str
    """A sentence for people."""
    param: str | None
    """The field at fault."""


class LedgerTotal(TypedDict):
    """Calls of one kind, added up."""

    kind: str
    """The call, as in an entry."""
    calls: int
    """How many there were."""
    bytes: int
    """Of their bodies."""
    tensor_bytes: int
    """Of the tensors in them."""
    first_at: int
    """When the first was received, seconds since 1970."""
    last_at: int
    """When the last was received."""


class Level(TypedDict):
    """How much there is of something, and how much there may be."""

    now: int
    """At this moment."""
    limit: int
    """At most."""


class LoraNames(TypedDict):
    """Names for `target_modules`."""

    target_modules_default: Sequence[str]
    """The default of a job that names none."""
    modules: Sequence[str]
    """The last parts of the names of all linear layers."""


class LoraSettings(TypedDict):
    """LoRA settings, as in PEFT's `LoraConfig`."""

    rank: NotRequired[int]
    """Rank r of the update."""
    alpha: NotRequired[float]
    """Numerator of the scale `alpha / rank`."""
    dropout: NotRequired[float]
    """Dropout on the input of the update, while training."""
    target_modules: NotRequired[Sequence[str]]
    """Linear layers that get an update: full module names or their last parts, or `all-linear`; empty (the default)
    means the family's PEFT default."""
    use_rslora: NotRequired[bool]
    """Scale by `alpha / sqrt(rank)` instead (rank-stabilised LoRA, arXiv 2312.03732)."""
    rank_pattern: NotRequired[Mapping[str, int]]
    """Rank for modules whose name ends in the key."""
    alpha_pattern: NotRequired[Mapping[str, float]]
    """Alpha for modules whose name ends in the key."""


class Method(TypedDict):
    """The method of a job."""

    type: str
    """`split`: the label holder drives each step and keeps the labels. `features`: the host computes features of
    every row by itself."""
    split: NotRequired[SplitSettings]
    """Settings of method `split`; defaults where absent."""
    features: NotRequired[FeatureSettings]
    """Settings of method `features`; defaults where absent."""


class ModelCapabilities(TypedDict):
    """A backbone, and what a job may ask of it."""

    id: str
    """Its name."""
    family: str
    """Its family."""
    hidden_size: int
    """Width H of the activations."""
    levels: int
    """Levels of hidden states: `layers` of `/v1/activations` are from 0 (the embeddings' output) to one less."""
    max_tokens: int
    """Most tokens in one input."""
    parameters: int
    """Number of parameters."""
    poolings: Sequence[str]
    """Where it can be cut."""
    default_pooling: str
    """Its own cut."""
    precisions: Sequence[str]
    """Its precisions."""
    lora: LoraNames
    """Where adapters can go."""


class OpenJobCounts(TypedDict):
    """How many jobs are not over, by where they stand."""

    queued: int
    """They wait for a slot."""
    running: int
    """They take step calls, or are worked off."""
    paused: int
    """They hold no memory."""


class OptimStepAnswer(TypedDict):
    """Answer to an optimizer step."""

    object: str
    """Always `fine_tuning.job.optim_step`."""
    seq: int
    """Step number."""
    step: int
    """Optimizer steps taken, this one included."""
    gradient_norms: Mapping[str, float]
    """Norm of each set's gradient before clipping."""
    clipped_norm: float
    """Norm over all sets after clipping."""
    durable_step: int
    """Optimizer steps that survive a crash of the host."""
    durable_seq: int
    """The newest seq that survives a crash: keep what you sent after it."""


class OutputTokensDetails(TypedDict):
    """Tokens by what they were for."""

    reasoning_tokens: int
    """Always 0: nothing is generated."""


class Projection(TypedDict):
    """A projection of every level to `dim` features."""

    kind: str
    """How the directions are found."""
    dim: int
    """Features that remain of each level, at most the backbone's width."""
    seed: NotRequired[int]
    """Seed of `orthogonal`'s directions."""


class SentTensor(TypedDict):
    """What the ledger keeps of a tensor."""

    name: str
    """Its name, `s.0.1` for example."""
    dtype: str
    """Its element type, `F32` for example."""
    shape: Sequence[int]
    """Its dimensions, outermost first."""
    bytes: int
    """Its size."""
    sha256: str
    """Hash of its elements, in hexadecimal."""


class SlotJson(TypedDict):
    """One matrix in the flat adapter vector."""

    name: str
    """PEFT's name."""
    shape: Sequence[int]
    """`[r, in]` for `lora_A`, `[out, r]` for `lora_B`."""
    offset: int
    """First element in the flat vector."""


class SplitSettings(TypedDict):
    """Settings of method `split`."""

    custody: NotRequired[str]
    adapter_sets: NotRequired[int]
    """Number n of adapter sets."""
    lora: NotRequired[LoraSettings]
    pooling: NotRequired[str | None]
    """Where the backbone is cut; the family's own cut when absent: `cls`, `last` (LLaMA, Mistral, Qwen2) or `eos`
    (T5)."""
    precision: NotRequired[str]
    double_quant: NotRequired[bool]
    """With precision `nf4`: whether the scales of the 4-bit blocks are quantized too."""


class SplitState(TypedDict):
    """Progress of a split job."""

    next_seq: int
    """The seq that the next step call must carry."""
    durable_seq: int
    """The newest seq that survives a crash of the host (host custody)."""
    optimizer_steps: int
    """Optimizer steps taken (host custody)."""
    hidden_size: int | None
    """Width H of the activations."""
    adapter_parameters: int | None
    """Length P of a set's flat adapter vector; known after the first step call."""
    max_tokens: int | None
    """Most tokens in one input."""


class TokenUsage(TypedDict):
    """Tokens of a call."""

    prompt_tokens: int
    """Tokens of the inputs."""
    total_tokens: int
    """The same: nothing is generated."""


class UsageObject(TypedDict):
    """One row of usage."""

    object: str
    """Always `usage.row`."""
    key_id: str | None
    """The key; null where rows are not grouped by key."""
    job_id: str | None
    """The job; null where rows are not grouped by job. A job that was deleted since keeps its rows."""
    model: str | None
    """The model; null where rows are not grouped by model, empty for requests that need none."""
    day: str | None
    """The day (UTC); null where rows are not grouped by day."""
    requests: int
    """Requests answered to a valid key, refused ones included; 0 in a job's rows, whose requests are not counted
    apart."""
    steps: int
    """Step calls that were applied."""
    training_tokens: int
    """Tokens of training steps: of a forward, and of a backward once for each share number."""
    inference_tokens: int
    """Tokens of evaluations, activations and embeddings."""
    bytes_in: int
    """Bytes of bodies that came in with work for the device."""
    bytes_out: int
    """Bytes of tensors that went out."""
    device_seconds: float
    """Time of the device, its queue not included, in seconds."""
    cost: float | None
    """What it costs, in the report's currency; null where the host has no prices."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ApiKeyObject(Answer):
    """A key, without its secret."""

    id: str
    """Id, `key-...`."""
    object: str = ""
    """Always `api_key`."""
    name: str = ""
    """What it is called."""
    created_at: int = 0
    """When it was made, seconds since 1970."""
    expires_at: int | None = None
    """When it expires."""
    last_used_at: int | None = None
    """When it was last used, to the minute."""
    revoked_at: int | None = None
    """When it was revoked."""
    scopes: Sequence[str] = ()
    """What it may do."""
    requests_per_minute: int | None = None
    """Requests a minute; null: the project's limit alone."""
    tokens_per_minute: int | None = None
    """Tokens a minute."""
    monthly_tokens: int | None = None
    """Budget of tokens for a calendar month (UTC)."""
    monthly_device_seconds: int | None = None
    """Budget of device time for a calendar month (UTC), in seconds."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditEntry(Answer):
    """An audit entry: something that a key changed."""

    id: str
    """Id, `audit-...`."""
    object: str = ""
    """Always `audit_entry`."""
    created_at: int = 0
    """When, seconds since 1970."""
    key_id: str = ""
    """The key."""
    action: str = ""
    """Name of the operation, as in this contract."""
    resource: str | None = None
    """The thing that it was about."""
    status: int = 0
    """How it was answered."""
    request_id: str = ""
    """The answer's `x-request-id`."""


@dataclass(frozen=True, kw_only=True, repr=False)
class BatchObject(Answer):
    """A batch."""

    id: str
    """Id, `batch_...`."""
    object: str = ""
    """Always `batch`."""
    endpoint: str = ""
    """The endpoint of its lines."""
    model: str | None = None
    """The one model of its lines, once they were checked; null where they name several."""
    errors: BatchErrorList | None = None
    """What was wrong with its lines, or why it failed; null when nothing was."""
    input_file_id: str = ""
    """The file with its requests."""
    completion_window: str = ""
    """Always `24h`."""
    status: str = ""
    """Where it stands."""
    output_file_id: str | None = None
    """The file with the answers, once it is over and there are any."""
    error_file_id: str | None = None
    """The file with the requests that were refused, once it is over and there are any."""
    created_at: int = 0
    """When it was made, seconds since 1970."""
    in_progress_at: int | None = None
    """When its lines had been checked."""
    expires_at: int = 0
    """When its window passes."""
    finalizing_at: int | None = None
    """When every request had been answered."""
    completed_at: int | None = None
    """When it was completed."""
    failed_at: int | None = None
    """When it failed."""
    expired_at: int | None = None
    """When it ended as expired."""
    cancelling_at: int | None = None
    """When it was given up."""
    cancelled_at: int | None = None
    """When the files of what was answered by then were written."""
    request_counts: BatchRequestCounts = field(default_factory=_absent)
    """Its requests."""
    usage: BatchUsage = field(default_factory=_absent)
    """Tokens that the device read for it."""
    metadata: Mapping[str, Any] | None = None
    """Your own key-value pairs."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CapabilitiesObject(Answer):
    """What this host can do."""

    object: str = ""
    """Always `fine_tuning.capabilities`."""
    version: str = ""
    """Version of the host."""
    device: str = ""
    """Where the engine computes."""
    methods: Sequence[str] = ()
    """Values of `method.type`."""
    custody: Sequence[str] = ()
    """Values of `method.split.custody`."""
    precisions: Sequence[str] = ()
    """Values of `method.split.precision`; each model has its own among them."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Every limit, by the name that it has in the configuration."""
    inference: Sequence[str] = ()
    """Calls that run a model outside of a job."""
    models: Sequence[ModelCapabilities] = ()
    """The backbones. One whose files cannot be read is left out."""
    tensor_media_types: Sequence[str] = ()
    """Accepted media types of tensors."""
    features: Mapping[str, bool] = field(default_factory=dict)
    """Optional features."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckpointObject(Answer):
    """A saved state of a job."""

    id: str
    """Id, `ftckpt_...`."""
    object: str = ""
    """Always `fine_tuning.job.checkpoint`."""
    created_at: int = 0
    """When, seconds since 1970."""
    fine_tuned_model_checkpoint: str = ""
    """Name under which it can be used."""
    fine_tuning_job_id: str = ""
    """The job."""
    step_number: int = 0
    """The newest seq in it."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Empty: metrics stay with the label holder."""
    bytes: int = 0
    """Size in bytes."""
    sha256: str = ""
    """SHA-256 of the state, in hex."""
    expires_at: int | None = None
    """When it expires; null when it is kept as long as its job."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DeletedJob(Answer):
    """What was deleted with a job: the receipt."""

    id: str
    """The job's id."""
    object: str = ""
    """`fine_tuning.job`."""
    deleted: bool = False
    """Always true."""
    erased: Erased = field(default_factory=_absent)
    """What went with it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DeliveryObject(Answer):
    """A message to a webhook."""

    id: str
    """Id, `msg_...`: the header `webhook-id`, the same over all attempts."""
    object: str = ""
    """Always `webhook.delivery`."""
    created_at: int = 0
    """When it was written, seconds since 1970."""
    type: str = ""
    """Its event."""
    state: str = ""
    """Its state."""
    attempts: int = 0
    """Attempts so far."""
    next_attempt_at: int | None = None
    """When the next one is due; null when none is."""
    last_status: int | None = None
    """Status of the receiver's last answer."""
    last_error: str | None = None
    """What went wrong with the last attempt."""
    delivered_at: int | None = None
    """When the receiver answered 2xx."""


@dataclass(frozen=True, kw_only=True, repr=False)
class EstimateObject(Answer):
    """What a job would cost on this host."""

    object: str = ""
    """Always `fine_tuning.estimate`."""
    steps: int = 0
    """Steps. A last batch that is not full is left out of each epoch, unless it is the only one. A features job has
    none."""
    rows: int = 0
    """Rows of the inputs."""
    tokens: int = 0
    """Tokens of all rows, each counted once."""
    trained_tokens: int = 0
    """Tokens of all steps: tokens times epochs, less the rows that are left out; of a features job what the device
    reads."""
    sampled_share: float = 0.0
    """Share of the rows that was tokenized: 1 up to 2,000 rows, an even sample beyond."""
    flops: float = 0.0
    """Floating-point operations of the linear layers. With N weights in the backbone's and P in a set's adapters, n
    sets, m shares, and b = 1 where the bare backbone runs too, each token takes 2N(n + b) + 2Pn forward and mn(2N +
    4P) backward."""
    bytes_up: int = 0
    """Bodies of the steps' requests (safetensors), in bytes."""
    bytes_down: int = 0
    """Bodies of the steps' answers (safetensors), in bytes; of a features job its results."""
    result_bytes: int | None = None
    """Bytes of features that a features job leaves in its result files, headers left out; null for other methods."""
    held_bytes: int | None = None
    """Bytes that the host holds for the job between its calls, at most, of `limits.held_bytes_per_job`: its adapters,
    as often as forwards that are retained pin them, in host custody the optimizer's state, and a step's answers. Null
    for other methods."""
    seconds: float = 0.0
    """Seconds that this host works on the steps under its present load. Network and the client's own work come on
    top."""
    seconds_per_step: float = 0.0
    """Seconds of a step of average length."""
    device: str = ""
    """Where the engine computes."""
    measured_steps: int = 0
    """Real steps that were run to measure it."""
    cost: float | None = None
    """What that costs, in `currency`; null where the host has no prices."""
    currency: str | None = None
    """ISO 4217; null where the host has no prices."""


@dataclass(frozen=True, kw_only=True, repr=False)
class EventObject(Answer):
    """Something that happened to a job."""

    id: str
    """Id, `ftevent-...`."""
    object: str = ""
    """Always `fine_tuning.job.event`."""
    job_id: str = ""
    """The job that it happened to."""
    created_at: int = 0
    """When, seconds since 1970."""
    level: str = ""
    """`info`, `warn` or `error`."""
    message: str = ""
    """A sentence for people."""
    type: str = ""
    """`message` or `metrics`."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """For `metrics`: the scalars that the client chose to report. For a change of state `{"status": ...}`, for a
    checkpoint `{"checkpoint": id}`, for a shard of features `{"file": id, "first_row": ..., "rows": ...}`, else
    empty."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FileObject(Answer):
    """An uploaded file."""

    id: str
    """Id, `file-...`."""
    object: str = ""
    """Always `file`."""
    bytes: int = 0
    """Size in bytes."""
    created_at: int = 0
    """When it was uploaded, seconds since 1970."""
    expires_at: int | None = None
    """When it expires; null when it does not."""
    filename: str = ""
    """Name it was uploaded under."""
    purpose: str = ""
    """What it is for."""
    status: str = ""
    """Always `processed`: an unusable file is refused at upload."""
    rows: int = 0
    """Number of rows."""
    sha256: str = ""
    """SHA-256 of its bytes, in hex."""


@dataclass(frozen=True, kw_only=True, repr=False)
class HostObject(Answer):
    """A host, at one moment."""

    object: str = ""
    """Always `host`."""
    version: str = ""
    """Of the program."""
    uptime_seconds: int = 0
    """Since it started."""
    draining: bool = False
    """Whether it shuts down."""
    device: str = ""
    """Where it computes."""
    device_busy_seconds: float = 0.0
    """For how long the device has worked since the start, in seconds: over a time, its growth is the share that it
    was busy."""
    queue: Level = field(default_factory=_absent)
    """Calls that wait for the device; the limit is `engine.queue`."""
    graph_bytes: Level = field(default_factory=_absent)
    """Bytes of retained graphs, by estimate; the limit is `engine.graph_bytes`."""
    held_bytes: Level = field(default_factory=_absent)
    """Bytes held between calls; the limit is `limits.held_bytes`."""
    sessions: int = 0
    """Jobs whose sessions are open."""
    event_streams: Level = field(default_factory=_absent)
    """Open event streams; the limit is `server.max_event_streams`."""
    database_connections: Connections = field(default_factory=_absent)
    """Its connections to Postgres."""
    resident_bytes: int = 0
    """Memory of the process, in bytes."""
    jobs: OpenJobCounts = field(default_factory=_absent)
    """Open jobs of all projects at this database."""
    hosts: Sequence[HostAtWork] = ()
    """Hosts of this database that hold jobs or batches."""


@dataclass(frozen=True, kw_only=True, repr=False)
class JobCounts(Answer):
    """How many jobs of the project are in each state."""

    object: str = ""
    """Always `fine_tuning.job.counts`."""
    queued: int = 0
    """Waiting for a place."""
    running: int = 0
    """Taking step calls, or worked off by the host."""
    paused: int = 0
    """Saved, and without memory on the device."""
    succeeded: int = 0
    """Completed."""
    failed: int = 0
    """Could not go on."""
    cancelled: int = 0
    """Given up."""


@dataclass(frozen=True, kw_only=True, repr=False)
class JobObject(Answer):
    """A fine-tuning run."""

    id: str
    """Id, `ftjob-...`."""
    object: str = ""
    """Always `fine_tuning.job`."""
    created_at: int = 0
    """When it was made, seconds since 1970."""
    error: JobError | None = None
    """Why it failed; null when it did not."""
    fine_tuned_model: str | None = None
    """Name of the model it became."""
    finished_at: int | None = None
    """When it ended, seconds since 1970."""
    last_call_at: int | None = None
    """When its newest call or shard was committed, seconds since 1970; null before the first."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """As they were sent; the label holder's loop decides them."""
    key_id: str = ""
    """The key that made it."""
    model: str = ""
    """Name that the job was made with."""
    origin: str | None = None
    """Name of the fine-tuned model or checkpoint that it started from."""
    organization_id: str = ""
    """The project, in OpenAI's words."""
    result_files: Sequence[str] = ()
    """Ids of what came of it: of a features job its shards in the order of their rows, as they are written; then
    `step_metrics.csv`, once the job is over, where metrics were reported."""
    estimated_finish: int | None = None
    """Always null: the label holder's loop decides."""
    integrations: Sequence[Mapping[str, Any]] | None = None
    """Always null."""
    status: str = ""
    """`validating_files`, `queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`."""
    queue_position: int | None = None
    """Of a queued job: its place among the project's queued jobs, 1 for the next that runs."""
    status_details: str | None = None
    """What it waits for, as a sentence for people; null when it is over."""
    trained_tokens: int | None = None
    """Tokens read in training forwards."""
    bytes_in: int = 0
    """Bytes of bodies that its calls brought in."""
    bytes_out: int = 0
    """Bytes of tensors that went out."""
    device_seconds: float = 0.0
    """Time of the device, waiting for it not included, in seconds."""
    training_file: str | None = None
    """The inputs; null when steps carry their own."""
    validation_file: str | None = None
    """Always null: validation happens at the label holder."""
    seed: int = 0
    """Seed of the adapters' initial values and of dropout."""
    user_provided_suffix: str | None = None
    """Part of the fine-tuned model's name."""
    metadata: Mapping[str, Any] | None = None
    """The client's own key-value pairs."""
    method: Method = field(default_factory=_absent)
    """The method and its settings."""
    protection: str | None = None
    """Class of protection of the labels, as the client declared it; the host does not check it."""
    split: SplitState | None = None
    """State of a split job; null for other methods."""
    features: FeaturesState | None = None
    """State of a features job; null for other methods."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LedgerEntry(Answer):
    """One call in the ledger: what the host was sent, never the contents."""

    id: str
    """Position in the job's ledger, from 1."""
    object: str = ""
    """Always `fine_tuning.job.ledger_entry`."""
    created_at: int = 0
    """When it was received, seconds since 1970."""
    created_at_ms: int = 0
    """The same in milliseconds."""
    kind: str = ""
    """The call: forward, evaluate, backward, optim_step, put_adapter, metrics or checkpoint."""
    seq: int | None = None
    """Step number, for numbered calls."""
    bytes: int = 0
    """Size of the body in bytes."""
    sha256: str = ""
    """SHA-256 over kind, parameters and body, in hex."""
    tensors: Sequence[SentTensor] = ()
    """Its tensors."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LedgerSummary(Answer):
    """All that the host was sent in a job."""

    object: str = ""
    """Always `fine_tuning.job.ledger_summary`."""
    calls: int = 0
    """Entries in all."""
    bytes: int = 0
    """Of all bodies."""
    kinds: Sequence[LedgerTotal] = ()
    """By kind, in the order in which kinds first came."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MeObject(Answer):
    """The key that asks, and its project."""

    object: str = ""
    """Always `me`."""
    key_id: str = ""
    """Id of the key, `key-...`."""
    key_name: str = ""
    """What the key is called."""
    project: str = ""
    """Id of its project."""
    project_name: str = ""
    """What the project is called."""
    scopes: Sequence[str] = ()
    """What the key may do."""
    created_at: int = 0
    """When the key was made, seconds since 1970."""
    expires_at: int | None = None
    """When it expires."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelObject(Answer):
    """A backbone or a fine-tuned model."""

    id: str
    """Name, to be used as `model` when a job is made."""
    object: str = ""
    """Always `model`."""
    created: int = 0
    """When it was added, seconds since 1970."""
    owned_by: str = ""
    """Who owns it."""
    family: str = ""
    """Family of the backbone, `bert` for example."""
    hidden_size: int = 0
    """Width H of the activations."""
    max_tokens: int = 0
    """Most tokens in one input."""
    parameters: int = 0
    """Number of parameters of the backbone."""
    base_model: str | None = None
    """Of a fine-tuned model: the backbone that its adapters go on."""
    adapter_sets: int | None = None
    """Of a fine-tuned model: its number of adapter sets."""
    pooling: str | None = None
    """Of a fine-tuned model: where the backbone is cut."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NodeObject(Answer):
    """A host of the fleet."""

    id: str
    """Id, `node-...`: another one after each start of the host. Answers of calls that need a session name it in
    `x-blindtune-node`."""
    object: str = ""
    """Always `node`."""
    address: str = ""
    """Where the other nodes reach it (`fleet.address`)."""
    version: str = ""
    """Of the program."""
    device: str = ""
    """Where it computes."""
    sessions: int = 0
    """Jobs whose sessions it has open."""
    waiting: int = 0
    """Calls that waited for its device at its last sign of life."""
    draining: bool = False
    """Whether it was told to drain."""
    alive: bool = False
    """Whether it gave a sign of life in the last five seconds; of one that did not, the jobs are free."""
    started_at: int = 0
    """When it joined, seconds since 1970."""
    seen_at: int = 0
    """Its last sign of life, seconds since 1970."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PartObject(Answer):
    """A part that was received."""

    id: str
    """Id, `part_...`."""
    object: str = ""
    """Always `upload.part`."""
    created_at: int = 0
    """When it was received, seconds since 1970."""
    upload_id: str = ""
    """What it is a part of."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ProjectObject(Answer):
    """A tenant, and how it stands."""

    id: str
    """Id, `proj-...`."""
    object: str = ""
    """Always `project`."""
    name: str = ""
    """What it is called."""
    created_at: int = 0
    """When it was made, seconds since 1970."""
    requests_per_minute: int | None = None
    """Requests a minute; null: `limits.requests_per_minute` of the host."""
    tokens_per_minute: int | None = None
    """Tokens a minute; null: `limits.tokens_per_minute` of the host."""
    monthly_tokens: int | None = None
    """Budget of tokens for a calendar month (UTC); null: none."""
    monthly_device_seconds: int | None = None
    """Budget of device time for a calendar month (UTC), in seconds; null: none."""
    jobs: OpenJobCounts = field(default_factory=_absent)
    """Its open jobs."""
    month_tokens: int = 0
    """Tokens of training and of inference that it used in this calendar month (UTC)."""
    month_device_seconds: float = 0.0
    """Device time that it used in this calendar month (UTC), in seconds."""
    stored_bytes: int = 0
    """What it has stored: files and their indexes, uploads, checkpoints, adapters of models."""


@dataclass(frozen=True, kw_only=True, repr=False)
class UploadObject(Answer):
    """An upload in progress."""

    id: str
    """Id, `upload_...`."""
    object: str = ""
    """Always `upload`."""
    bytes: int = 0
    """Declared size of the whole file, in bytes."""
    created_at: int = 0
    """When it was created, seconds since 1970."""
    expires_at: int = 0
    """When it expires, seconds since 1970."""
    filename: str = ""
    """Name of the file."""
    purpose: str = ""
    """What it is for."""
    status: str = ""
    """`pending`, `completed`, `cancelled` or `expired`."""
    file: FileObject | None = None
    """The file it became."""


@dataclass(frozen=True, kw_only=True, repr=False)
class UsageReport(Answer):
    """A usage report."""

    object: str = ""
    """Always `usage`."""
    start_date: str = ""
    """First day (UTC)."""
    end_date: str = ""
    """Last day (UTC)."""
    data: Sequence[UsageObject] = ()
    """Grouped as requested. By job: what was used for no job is in the total alone."""
    truncated: bool = False
    """Whether rows are left out: a report of jobs has 10,000 at most. Ask for fewer days."""
    total: UsageObject = field(default_factory=_absent)
    """The total."""
    currency: str | None = None
    """Of the costs, ISO 4217; null where the host has no prices."""
    budgets: Sequence[BudgetObject] = ()
    """Budgets of this calendar month (UTC), whatever days the report covers: of the key that asks, and of its
    project."""


@dataclass(frozen=True, kw_only=True, repr=False)
class WebhookObject(Answer):
    """A URL that receives the events of the project's jobs."""

    id: str
    """Id, `wh_...`."""
    object: str = ""
    """Always `webhook`."""
    url: str = ""
    """Where messages are posted."""
    events: Sequence[str] = ()
    """The events it receives."""
    enabled: bool = False
    """Whether messages are sent. An answer of 410 Gone turns it off."""
    created_at: int = 0
    """When it was made, seconds since 1970."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CreatedWebhook(WebhookObject):
    """A webhook that was just made, with its secret."""

    secret: str | None = None
    """Checks the signatures of messages: `whsec_` and base64. Shown once."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NewApiKey(ApiKeyObject):
    """A key that was just made."""

    key: str | None = None
    """The secret. It is shown only once."""


class JobView:
    """The fields of the newest `JobObject`, to be read."""

    _now: JobObject

    @property
    def id(self) -> str:
        """Id, `ftjob-...`."""
        return self._now.id

    @property
    def object(self) -> str:
        """Always `fine_tuning.job`."""
        return self._now.object

    @property
    def created_at(self) -> int:
        """When it was made, seconds since 1970."""
        return self._now.created_at

    @property
    def error(self) -> JobError | None:
        """Why it failed; null when it did not."""
        return self._now.error

    @property
    def fine_tuned_model(self) -> str | None:
        """Name of the model it became."""
        return self._now.fine_tuned_model

    @property
    def finished_at(self) -> int | None:
        """When it ended, seconds since 1970."""
        return self._now.finished_at

    @property
    def last_call_at(self) -> int | None:
        """When its newest call or shard was committed, seconds since 1970; null before the first."""
        return self._now.last_call_at

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """As they were sent; the label holder's loop decides them."""
        return self._now.hyperparameters

    @property
    def key_id(self) -> str:
        """The key that made it."""
        return self._now.key_id

    @property
    def model(self) -> str:
        """Name that the job was made with."""
        return self._now.model

    @property
    def origin(self) -> str | None:
        """Name of the fine-tuned model or checkpoint that it started from."""
        return self._now.origin

    @property
    def organization_id(self) -> str:
        """The project, in OpenAI's words."""
        return self._now.organization_id

    @property
    def result_files(self) -> Sequence[str]:
        """Ids of what came of it: of a features job its shards in the order of their rows, as they are written; then
        `step_metrics.csv`, once the job is over, where metrics were reported."""
        return self._now.result_files

    @property
    def estimated_finish(self) -> int | None:
        """Always null: the label holder's loop decides."""
        return self._now.estimated_finish

    @property
    def integrations(self) -> Sequence[Mapping[str, Any]] | None:
        """Always null."""
        return self._now.integrations

    @property
    def status(self) -> str:
        """`validating_files`, `queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`."""
        return self._now.status

    @property
    def queue_position(self) -> int | None:
        """Of a queued job: its place among the project's queued jobs, 1 for the next that runs."""
        return self._now.queue_position

    @property
    def status_details(self) -> str | None:
        """What it waits for, as a sentence for people; null when it is over."""
        return self._now.status_details

    @property
    def trained_tokens(self) -> int | None:
        """Tokens read in training forwards."""
        return self._now.trained_tokens

    @property
    def bytes_in(self) -> int:
        """Bytes of bodies that its calls brought in."""
        return self._now.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes of tensors that went out."""
        return self._now.bytes_out

    @property
    def device_seconds(self) -> float:
        """Time of the device, waiting for it not included, in seconds."""
        return self._now.device_seconds

    @property
    def training_file(self) -> str | None:
        """The inputs; null when steps carry their own."""
        return self._now.training_file

    @property
    def validation_file(self) -> str | None:
        """Always null: validation happens at the label holder."""
        return self._now.validation_file

    @property
    def seed(self) -> int:
        """Seed of the adapters' initial values and of dropout."""
        return self._now.seed

    @property
    def user_provided_suffix(self) -> str | None:
        """Part of the fine-tuned model's name."""
        return self._now.user_provided_suffix

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The client's own key-value pairs."""
        return self._now.metadata

    @property
    def method(self) -> Method:
        """The method and its settings."""
        return self._now.method

    @property
    def protection(self) -> str | None:
        """Class of protection of the labels, as the client declared it; the host does not check it."""
        return self._now.protection

    @property
    def split(self) -> SplitState | None:
        """State of a split job; null for other methods."""
        return self._now.split

    @property
    def features(self) -> FeaturesState | None:
        """State of a features job; null for other methods."""
        return self._now.features


class JobFields(TypedDict, total=False):
    """A job to be made."""

    training_file: str | None
    """Id of an uploaded file, for steps that name rows of it."""
    hyperparameters: Mapping[str, Any] | None
    """Stored and returned; the host does not read them."""
    suffix: str | None
    """Part of the fine-tuned model's name."""
    seed: int | None
    """Seed of the adapters' initial values and of dropout."""
    metadata: Mapping[str, str] | None
    """Up to 16 key-value pairs of your own."""
    protection: str | None
    """Class of protection that you declare for the labels; stored and shown, the host does not check it. A features
    job is `blind` where nothing else is declared."""


class EstimateFields(TypedDict, total=False):
    """A job to be estimated. The inputs are a `training_file`, or `rows` with `tokens_per_row`."""

    method: Mapping[str, Any] | None
    """How to fine-tune; the model's own settings when absent."""
    training_file: str | None
    """Id of an uploaded file."""
    rows: int | None
    """Rows, where there is no file yet."""
    tokens_per_row: int | None
    """Tokens of each row, where there is no file yet."""
    batch_size: int | None
    """Rows of a step."""
    n_epochs: float | None
    """Passes over the rows; need not be whole."""
    shares: int | None
    """Tensors that each set's gradient is sent as."""
    base: bool | None
    """Whether each step asks for the bare backbone's activations too; default true in client custody, false in host
    custody."""


class KeyLimits(TypedDict, total=False):
    """A key to be made."""

    requests_per_minute: int | None
    """Requests a minute."""
    tokens_per_minute: int | None
    """Tokens that the device reads a minute."""
    monthly_tokens: int | None
    """Budget of tokens for a calendar month (UTC)."""
    monthly_device_seconds: int | None
    """Budget of device time for a calendar month (UTC), in seconds."""


class WebhookFields(TypedDict, total=False):
    """Changes to a webhook; absent fields stay unchanged."""

    url: str | None
    """Where messages are posted."""
    events: Sequence[str] | None
    """The events it receives."""
    enabled: bool | None
    """Whether messages are sent. While false, no new ones are written and pending ones wait."""
