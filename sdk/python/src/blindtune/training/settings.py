"""Every setting of a run, with its type, its default and its description.

Owns: names, types, defaults and descriptions; setting_types.py reads the types, setting_rules.py says what follows from
them. Must never: hold a secret, for settings are written to `run.json` and parts of them travel; or know a private
part, which factory.py makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Gt, Lt

from .auto_rules import settled_auto
from .projections import projection, written
from .setting_rules import settled
from .setting_types import Panel, SettingsError, types_of, validated

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
PositiveInt: TypeAlias = Annotated[int, Gt(0)]
PositiveFloat: TypeAlias = Annotated[float, Gt(0)]
ClassWeights: TypeAlias = Literal["balanced"] | tuple[PositiveFloat, ...]
Metric: TypeAlias = Literal[
    "loss", "accuracy", "f1_macro", "f1_micro", "auc", "ece", "brier", "spearman", "pearson", "mae", "rmse", "r2"
]
Share: TypeAlias = Annotated[float, Ge(0), Lt(1)]


COMMON, PRIVACY, SIDE = Panel("Common settings"), Panel("Privacy settings"), Panel("Side networks (method side)")
OPTIMIZER, HOST, EXPERT = Panel("Optimizer settings"), Panel("Settings of the host's model"), Panel("Expert settings")


@dataclass(frozen=True)
class Settings:
    """Every setting of a run. What each one is stands with it, and in `blindtune train --help`.

    The method is the paper's (arXiv 2412.16669), the regularizer ours; docs/privacy.md has what they reach. `seed`
    travels with the job and orders the batches; what hides something comes from the run's secret instead. What is left
    open of `epochs`, `lr`, `batch_size`, `dropout` and `side_width` is in `setting_rules.USUAL`.
    """

    method: Literal["p3eft", "lora", "frozen", "side", "auto", "dc", "pslf"] = COMMON(
        "p3eft",
        "side: networks trained at home on the host's hidden states, blind. p3eft: adapters on the host, gradients "
        "split or mixed. auto: side first, and more where you accept it. frozen: a head alone. lora: nothing hidden. "
        "dc, pslf: what others proposed",
    )
    wanted: Annotated[float, Gt(0)] | None = COMMON(
        None,
        "of method auto: the score asked for on rows held out, as 0.9; without it side's result is taken",
    )
    accept: Literal["blind", "bounded", "hurdle"] = COMMON(
        "blind",
        "of method auto: the weakest class of protection that may be tried where side stays below what is wanted",
    )
    adapter_sets: PositiveInt | None = EXPERT(
        None, "sets of adapters that are mixed at home; left open: 2, and 1 under camouflage or placement sets"
    )

    # How a gradient travels.
    obfuscation: ObfuscationKind | None = PRIVACY(
        None, "how a gradient travels; left open: shares over several hosts, decoys over one, plain for the baselines"
    )
    shares: PositiveInt | None = PRIVACY(
        None, "tensors that a gradient becomes; left open: one for each host, and at least two"
    )
    noise_scale: float = EXPERT(100.0, "size of the noise on shares, as a multiple of the gradient")
    decoys: PositiveInt = PRIVACY(3, "decoy gradients that are mixed with the real one, where one host has them all")
    max_gradient_error: PositiveFloat | None = EXPERT(
        None, "largest relative error of a gradient put together again; left open: 1e-3, on bfloat16 0.05"
    )
    placement: Literal["shares", "steps", "sets"] = PRIVACY(
        "shares", "what several hosts divide: the shares of each gradient, the steps in turn, or the adapter sets"
    )

    # What is learned at home.
    coefficients: Literal["antisymmetric_n01", "averaged"] = EXPERT("antisymmetric_n01", "how adapter sets are mixed")
    train_coefficients: bool = EXPERT(
        False, "train the mixing weights beside the head, as the authors' code does, in place of keeping them as drawn"
    )
    mult_std: float | None = EXPERT(None, "spread of the mixing weights; left open: 0, and 1 under camouflage")
    head: Literal["dense-tanh-linear", "linear"] = EXPERT("dense-tanh-linear", "the private head")

    # What the hosts run.
    pooling: Literal["cls", "mean", "last", "eos"] | None = HOST(
        None, "which vector stands for a text; left open: the one of the model's family"
    )
    precision: Literal["float32", "bfloat16", "nf4"] = HOST("float32", "in which the host holds the backbone")
    double_quant: bool = HOST(False, "of precision nf4: quantize the scales too")
    rank: PositiveInt = HOST(8, "rank of the LoRA adapters")
    alpha: float = HOST(16.0, "scale of the LoRA adapters")
    dropout: Share | None = HOST(None, "share of inputs left out while training, of adapters or side networks")
    target_modules: tuple[str, ...] = HOST((), "modules of the backbone that get adapters; left open: the host's")
    use_rslora: bool = HOST(False, "rank-stabilized LoRA")
    max_length: Literal["error", "truncate", "chunk"] | None = COMMON(
        None,
        "texts longer than the backbone takes: error refuses them (usual of method side), truncate reads the beginning "
        "and counts them (usual where hosts train), chunk reads them in overlapping pieces (method side)",
    )

    # What keeps labels out of activations.
    activation_weight: float = EXPERT(0.3, "weight of the penalty on activations")
    shift_weight: float = EXPERT(0.3, "weight of the penalty on what adapters change in activations")
    difference_weight: float = EXPERT(0.3, "weight of the penalty on the difference of two adapter sets")
    activation_dc_weight: float = EXPERT(0.3, "of method dc: weight of distance correlation with activations")
    shift_dc_weight: float = EXPERT(0.3, "of method dc: weight of distance correlation with their changes")
    regularizer: Literal["camouflage", "probe"] = PRIVACY(
        "camouflage", "what keeps labels out of activations: camouflage is ours, probe the paper's"
    )
    schedule: Literal["automatic", "ramp", "constant"] | None = EXPERT(
        None, "how the penalty's weight goes; automatic follows what checks during training find"
    )
    ramp_steps: int = EXPERT(200, "steps in which a ramp reaches the full weight")
    max_leak: float = PRIVACY(
        0.6, "largest leak that is accepted, 0.5 is guessing with two labels; training steers towards it"
    )
    audit_every: int | None = PRIVACY(
        None, "steps between two checks of the leak during training; 0 never; left open: 20 where they steer"
    )
    on_leak: Literal["raise", "stop"] = PRIVACY(
        "raise", "when a check finds more than max_leak: raise the penalty's weight, or stop the run"
    )
    scatter_weight: PositiveFloat = EXPERT(1.9, "of camouflage: weight of the penalty on the distance of class means")
    decoy_weight: PositiveFloat = EXPERT(1.6, "of camouflage: weight of the decoy features")
    decoy_amplitude: PositiveFloat = EXPERT(0.3, "of camouflage: size of the decoy features")
    decoy_features: PositiveInt = EXPERT(8, "of camouflage: how many decoy features there are")
    head_lr: PositiveFloat | None = EXPERT(None, "learning rate of the head; left open: lr; in camouflage thrice that")

    # Side networks (method side), which are trained at home alone.
    layers: str = SIDE("all", "levels of the backbone that are read: all, a number of them, or which: 0,3,6 or 6,")
    fetch: Literal["calls", "job"] = SIDE("calls", "get hidden states by calls, or by a job that the host works off")
    feature_dtype: Literal["float16", "int8"] = SIDE("float16", "of hidden states on the wire; int8 takes half")
    project: str | None = SIDE(None, "components of each level: 96, pca:96 or orthogonal:96:SEED; fewer bytes")
    side: Literal["attentive", "ladder", "pooled"] = SIDE(
        "attentive", "the network: attentive, the larger ladder (extra torch), or pooled, which reads few bytes"
    )
    side_width: PositiveInt | None = SIDE(None, "its width")
    input_noise: Annotated[float, Ge(0)] = SIDE(0.0, "deviation of noise on standardized hidden states")
    class_weights: ClassWeights | None = SIDE(
        None, "balanced, or a number for each label in the order of the label names, with commas; they weigh the loss"
    )
    networks: PositiveInt = SIDE(3, "networks that are trained apart; their outputs are averaged")
    held_out: Annotated[float, Ge(0)] = SIDE(0.1, "share of the rows that chooses the epoch")

    # What is proven about labels.
    label_epsilon: PositiveFloat | None = PRIVACY(
        None, "a proven bound on what a host can learn of one label: labels are flipped by randomized response"
    )
    pslf_epsilon: PositiveFloat = EXPERT(1.0, "of method pslf: its epsilon")
    pslf_labels: Annotated[int, Ge(2)] = EXPERT(10, "of method pslf: how many pseudo labels there are")

    # How it is trained.
    optimizer: Literal["adamw", "sgd"] = OPTIMIZER("adamw", "the optimizer, which runs at home")
    accumulate: PositiveInt = OPTIMIZER(1, "batches that make one update")
    update_clip: PositiveFloat | None = PRIVACY(None, "clip the gradient of all adapters together to this length")
    update_noise: Annotated[float, Ge(0)] = PRIVACY(0.0, "noise on each update, as a multiple of update_clip")
    lr: PositiveFloat | None = COMMON(None, "learning rate; left open: what is usual for the method")
    weight_decay: float = OPTIMIZER(0.01, "weight decay")
    max_grad_norm: float | None = OPTIMIZER(None, "clip gradients to this length")
    epochs: PositiveFloat | None = COMMON(None, "passes over the rows; left open: what is usual for the method")
    steps: Annotated[int, Ge(1)] | None = COMMON(None, "batches to train on; wins over epochs")
    eval_every: PositiveInt | None = COMMON(
        None, "steps between two evaluations on the dev rows; the best state is kept; left open: only at the end"
    )
    patience: PositiveInt | None = COMMON(None, "evaluations without a better one after which training stops")
    metric: Metric = COMMON("loss", "score on the dev rows that says which evaluation is best")
    warmup: int | None = OPTIMIZER(None, "steps until the full learning rate; left open: a tenth of them")
    batch_size: PositiveInt | None = COMMON(None, "rows of a batch; left open: what is usual for the method")
    eval_batch_size: PositiveInt = OPTIMIZER(128, "rows of a call that evaluates or predicts")
    seed: int = COMMON(0, "orders the batches; known to the hosts, and hides nothing")
    save_every: PositiveInt = OPTIMIZER(10, "steps between two saved states of the run folder")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """From `to_dict`, or from keyword arguments; unknown names are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingsError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        given = dict(values)
        layers = given.get("layers", "all")
        given["layers"] = "".join(f"{n}," for n in layers) if isinstance(layers, list | tuple) else str(layers)
        given["project"] = written(given.get("project"))
        return validated(cls, given)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to `run.json`."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def resolve(self, hosts: int) -> Settings:
        """Check everything and fill in what follows from the method and the number of hosts."""
        checked = validated(Settings, {one.name: getattr(self, one.name) for one in fields(self)})
        return settled_auto(checked, hosts) if self.method == "auto" else settled(checked, hosts)

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
