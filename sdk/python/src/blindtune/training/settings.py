"""Every setting of a run, with its type and its default.

Owns: names, types and defaults; setting_types.py reads the types, setting_rules.py says what follows from them. Must
never: hold a secret, for settings are written to `run.json` and parts of them travel; or know a private part, which
factory.py makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias

from .auto_rules import settled_auto
from .projections import projection, written
from .setting_rules import settled
from .setting_types import Above, AtLeast, Below, SettingsError, WordOrNumbers, types_of

__all__ = [
    "METHODS",
    "ON_LEAK",
    "OPTIMIZERS",
    "POOLINGS",
    "PRECISIONS",
    "REGULARIZERS",
    "SETTING_TYPES",
    "ObfuscationKind",
    "Settings",
    "SettingsError",
]

ObfuscationKind: TypeAlias = Literal["shares", "decoys", "plain"]
PositiveInt: TypeAlias = Annotated[int, Above(0)]
PositiveFloat: TypeAlias = Annotated[float, Above(0)]
ClassWeights: TypeAlias = Annotated[str | tuple[float, ...], WordOrNumbers(("balanced",))]
Share: TypeAlias = Annotated[float, AtLeast(0), Below(1)]


@dataclass(frozen=True)
class Settings:
    """The method is the paper's (arXiv 2412.16669), the regularizer ours; docs/privacy.md has what they reach.

    `steps` (batches) wins over `epochs`; `warmup` None is a tenth of the steps;
    `pooling` None is the family's own cut (cls, last or eos). `seed` travels with the job and orders the batches; what
    hides something comes from the run's secret instead.

    `obfuscation` None is shares where the tensors of a gradient go to several hosts or `shares` is given, else decoys
    for p3eft and plain for the baselines. `shares` is how many tensors a gradient becomes; None is one per host, and
    at least two. `max_gradient_error` None is 1e-3, and 0.05 on a bfloat16 backbone. `placement` says what several
    hosts divide among them: the shares of each gradient, the steps (in turn, each with everything), or the adapter sets
    (one each, so that no host sees another's). `accumulate` batches make one update, and the adapters stay as they are
    meanwhile. `update_clip` and `update_noise` are those of `update_noise.UpdateNoise`; `label_epsilon` that of
    label_privacy.py; `pslf_epsilon` and `pslf_labels` those of pslf.py.

    `regularizer` is ours (camouflage.py) or the authors' probe (probe.py). `schedule` says how its weight goes
    over the run: automatic (None means that for camouflage) looks every `audit_every` steps at what the attacks of
    tiers 0 and 1 find and steers towards `max_leak`; a probe's ramps over `ramp_steps`. `on_leak` stop ends the run
    when a look finds more than `max_leak`. `adapter_sets` None is 2, and under camouflage 1: more sets give a host
    more to compare (benches/README.md). `head_lr` None is `lr`, and under camouflage three times that; `mult_std` None
    is 0, and under camouflage 1.

    `max_length` says what becomes of texts that are longer than the backbone takes: truncate (usual where hosts train:
    they read the beginning, and a warning counts such texts), error (usual of method side), or, of method side, chunk:
    they are read in overlapping pieces, whose tokens the networks get as one text.

    Method side trains `side` networks: attentive, the larger ladder (extra `torch`), or pooled, which reads of each
    text and level the first token, mean and largest values, a fraction of the bytes. It takes `layers` (the levels of
    the backbone that are read: `all`, a number of them, evenly spaced, or which, `0,3,6` or `6,`, where 0 is the
    embeddings' output), `fetch` (training rows' features by calls, of which a host keeps nothing, or by a features
    job, which it works off by itself), `feature_dtype` and `project` (fewer bytes: whole numbers of 8 bits, and so many
    components of each level, `96`, `pca:96`, `orthogonal:96:SEED` or a mapping of kind, dim and seed; both are made by
    a features job, which `fetch` then is), `epochs`, `lr`, `batch_size`, `seed`, `dropout`, `side_width`,
    `input_noise` (deviation of noise on standardised hidden states), `networks` (trained apart, their outputs
    averaged), `held_out` (the share of rows that chooses the epoch) and `class_weights` (balanced, or a number for
    each class in the order of `label_names`; they weigh the loss at home, and change nothing that a host is asked). The
    rest is about hosts that see something of the training. What is None of `epochs`, `lr`, `batch_size`, `dropout` and
    `side_width` is in `setting_rules.USUAL`.

    Method auto trains side first. `wanted` is the score asked for on rows held out (`auto_decision.SCORES`); where side
    stays below it, `accept` says how weak a class of protection may be tried: blind (none but side), bounded (also LoRA
    under `label_epsilon`) or hurdle (also P3EFT). `epochs`, `lr`, `batch_size` and `dropout` are side's; the others
    take theirs from `steps` and from what is usual.
    """

    method: Literal["p3eft", "lora", "frozen", "side", "auto", "dc", "pslf"] = "p3eft"
    wanted: Annotated[float, Above(0)] | None = None
    accept: Literal["blind", "bounded", "hurdle"] = "blind"
    adapter_sets: PositiveInt | None = None

    # How a gradient travels.
    obfuscation: ObfuscationKind | None = None
    shares: PositiveInt | None = None
    noise_scale: float = 100.0
    decoys: PositiveInt = 3
    max_gradient_error: PositiveFloat | None = None
    placement: Literal["shares", "steps", "sets"] = "shares"

    # What is learned at home.
    coefficients: Literal["antisymmetric_n01", "averaged"] = "antisymmetric_n01"
    mult_std: float | None = None
    head: Literal["dense-tanh-linear", "linear"] = "dense-tanh-linear"

    # What the hosts run.
    pooling: Literal["cls", "mean", "last", "eos"] | None = None
    precision: Literal["float32", "bfloat16", "nf4"] = "float32"
    double_quant: bool = False
    rank: PositiveInt = 8
    alpha: float = 16.0
    dropout: Share | None = None
    target_modules: tuple[str, ...] = ()
    use_rslora: bool = False
    max_length: Literal["error", "truncate", "chunk"] | None = None

    # What keeps labels out of activations.
    activation_weight: float = 0.3
    shift_weight: float = 0.3
    difference_weight: float = 0.3
    activation_dc_weight: float = 0.3
    shift_dc_weight: float = 0.3
    regularizer: Literal["camouflage", "probe"] = "camouflage"
    schedule: Literal["automatic", "ramp", "constant"] | None = None
    ramp_steps: int = 200
    max_leak: float = 0.6
    audit_every: int | None = None
    on_leak: Literal["raise", "stop"] = "raise"
    scatter_weight: PositiveFloat = 1.9
    decoy_weight: PositiveFloat = 1.6
    decoy_amplitude: PositiveFloat = 0.3
    decoy_features: PositiveInt = 8
    head_lr: PositiveFloat | None = None

    # Side networks (method side), which are trained at home alone.
    layers: str = "all"
    fetch: Literal["calls", "job"] = "calls"
    feature_dtype: Literal["float16", "int8"] = "float16"
    project: str | None = None
    side: Literal["attentive", "ladder", "pooled"] = "attentive"
    side_width: PositiveInt | None = None
    input_noise: Annotated[float, AtLeast(0)] = 0.0
    class_weights: ClassWeights | None = None
    networks: PositiveInt = 3
    held_out: Annotated[float, AtLeast(0)] = 0.1

    # What is proven about labels.
    label_epsilon: PositiveFloat | None = None
    pslf_epsilon: PositiveFloat = 1.0
    pslf_labels: Annotated[int, AtLeast(2)] = 10

    # How it is trained.
    optimizer: Literal["adamw", "sgd"] = "adamw"
    accumulate: PositiveInt = 1
    update_clip: PositiveFloat | None = None
    update_noise: Annotated[float, AtLeast(0)] = 0.0
    lr: PositiveFloat | None = None
    weight_decay: float = 0.01
    max_grad_norm: float | None = None
    epochs: PositiveFloat | None = None
    steps: Annotated[int, AtLeast(1)] | None = None
    warmup: int | None = None
    batch_size: PositiveInt | None = None
    eval_batch_size: PositiveInt = 128
    seed: int = 0
    save_every: PositiveInt = 10

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """From `to_dict`, or from keyword arguments; unknown names are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingsError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        given = dict(values)
        given["target_modules"] = tuple(given.get("target_modules", ()))
        layers = given.get("layers", "all")
        given["layers"] = "".join(f"{n}," for n in layers) if isinstance(layers, list | tuple) else str(layers)
        given["project"] = written(given.get("project"))
        if isinstance(given.get("class_weights"), list):
            given["class_weights"] = tuple(given["class_weights"])
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to `run.json`."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def resolve(self, hosts: int) -> Settings:
        """Check everything and fill in what follows from the method and the number of hosts."""
        for name, kind in SETTING_TYPES.items():
            kind.check(name, getattr(self, name))
        return settled_auto(self, hosts) if self.method == "auto" else settled(self, hosts)

    @property
    def sets(self) -> int:
        """How many adapter sets there are."""
        if self.adapter_sets is not None:
            return self.adapter_sets
        return 1 if self.camouflaged and self.placement != "sets" else 2

    @property
    def camouflaged(self) -> bool:
        """Whether the label hides among decoy features (camouflage.py)."""
        return self.method == "p3eft" and self.regularizer == "camouflage"

    @property
    def whole_epochs(self) -> int:
        """Passes of a side network, at least one."""
        return max(1, round(self.epochs or 1.0))

    @property
    def levels(self) -> str | int | list[int]:
        """The levels that are read, as a host is asked for them."""
        if self.layers == "all":
            return "all"
        numbers = [int(number) for number in self.layers.rstrip(",").split(",")]
        return numbers if "," in self.layers else numbers[0]

    @property
    def projection(self) -> dict[str, Any] | None:
        """The projection of every level, as a host is asked for it."""
        return projection(self.project)

    @property
    def peak_lr(self) -> float:
        """The learning rate. Of resolved settings, as `rows_per_batch`."""
        assert self.lr is not None, "settings must be resolved first"
        return self.lr

    @property
    def rows_per_batch(self) -> int:
        """Rows of a batch."""
        assert self.batch_size is not None, "settings must be resolved first"
        return self.batch_size

    # What a host is told.

    def split_method(self) -> dict[str, Any]:
        """The `method` of the job, as the host needs it. Adapters are in the client's custody."""
        lora: dict[str, Any] = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout or 0.0}
        if self.target_modules:
            lora["target_modules"] = list(self.target_modules)
        if self.use_rslora:
            lora["use_rslora"] = True
        sets = 1 if self.placement == "sets" else self.sets
        split: dict[str, Any] = {"custody": "client", "adapter_sets": sets, "lora": lora}
        split["precision"] = self.precision
        if self.pooling is not None:
            split["pooling"] = self.pooling
        if self.double_quant:
            split["double_quant"] = True
        return {"type": "split", "split": split}

    def job_seed(self, host: int) -> int:
        """The seed of the job on a host: the same for all, unless each runs a set of its own."""
        return self.seed + host if self.placement == "sets" else self.seed


SETTING_TYPES = types_of(Settings)
"""Each setting's type, by its name, in their order."""

METHODS = SETTING_TYPES["method"].choices
POOLINGS = SETTING_TYPES["pooling"].choices
PRECISIONS = SETTING_TYPES["precision"].choices
OPTIMIZERS = SETTING_TYPES["optimizer"].choices
REGULARIZERS = SETTING_TYPES["regularizer"].choices
ON_LEAK = SETTING_TYPES["on_leak"].choices
