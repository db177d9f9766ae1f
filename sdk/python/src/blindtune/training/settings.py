"""Every setting of a run, with its default, and what each method makes of them.

Owns: defaults and their checks. Must never: hold a secret; settings are written to `run.json` and parts of them travel.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..optimizers import AdamWSettings
from ..private.heads import HEADS
from ..private.mixing import COEFFICIENTS
from ..private.obfuscation import OBFUSCATIONS, Obfuscation, gradient_error, make_obfuscation
from ..private.obfuscation.shares import NOISE_SCALE
from ..private.penalties.camouflage import CamouflageWeights
from ..private.penalties.probe import RegularizerWeights
from ..private.penalties.schedules import SCHEDULES, WeightSchedule
from .placement import PLACEMENTS

log = logging.getLogger("blindtune")

METHODS = ("p3eft", "lora", "frozen", "dc", "pslf")
POOLINGS = ("cls", "mean", "last", "eos")
PRECISIONS = ("float32", "bfloat16", "nf4")
OPTIMIZERS = ("adamw", "sgd")
REGULARIZERS = ("camouflage", "probe")
ON_LEAK = ("raise", "stop")

LOOK_EVERY = 20
HEAD_LR, CAMOUFLAGE_MULT_STD = 3.0, 1.0
"""Under camouflage the label is faint: the head, as a multiple of `lr`, is trained faster, and the mixing amplifies."""

MAX_GRADIENT_ERROR = {"float32": 1e-3, "nf4": 1e-3, "bfloat16": 0.05}
"""Largest relative error of a reconstructed gradient that is put up with, by the backbone's precision."""
ERROR_WARN = 0.01


POSITIVE = (
    *("adapter_sets", "shares", "decoys", "max_gradient_error", "rank", "label_epsilon", "pslf_epsilon", "accumulate"),
    *("update_clip", "lr", "head_lr", "epochs", "batch_size", "eval_batch_size", "save_every", "decoy_features"),
    *("scatter_weight", "decoy_weight", "decoy_amplitude"),
)


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


@dataclass(frozen=True)
class Settings:
    """Defaults are those of SCIENCE.md section 1 and 2.

    `steps` (batches) wins over `epochs`; `warmup` None is a tenth of the steps; `pooling` None is the family's own cut
    (cls, last or eos). `seed` travels with the job and orders the batches; what hides something comes from the run's
    secret instead.

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
    """

    method: str = "p3eft"
    adapter_sets: int | None = None
    obfuscation: str | None = None
    shares: int | None = None
    noise_scale: float = NOISE_SCALE
    decoys: int = 3
    max_gradient_error: float | None = None
    placement: str = "shares"
    coefficients: str = COEFFICIENTS[0]
    mult_std: float | None = None
    head: str = "dense-tanh-linear"
    pooling: str | None = None
    precision: str = "float32"
    double_quant: bool = False
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ()
    use_rslora: bool = False
    activation_weight: float = 0.3
    shift_weight: float = 0.3
    difference_weight: float = 0.3
    activation_dc_weight: float = 0.3
    shift_dc_weight: float = 0.3
    regularizer: str = "camouflage"
    schedule: str | None = None
    ramp_steps: int = 200
    max_leak: float = 0.6
    audit_every: int | None = None
    on_leak: str = "raise"
    scatter_weight: float = CamouflageWeights.scatter
    decoy_weight: float = CamouflageWeights.decoy
    decoy_amplitude: float = CamouflageWeights.amplitude
    decoy_features: int = 8
    head_lr: float | None = None
    label_epsilon: float | None = None
    pslf_epsilon: float = 1.0
    pslf_labels: int = 10
    optimizer: str = "adamw"
    accumulate: int = 1
    update_clip: float | None = None
    update_noise: float = 0.0
    lr: float = 3e-3
    weight_decay: float = 0.01
    max_grad_norm: float | None = None
    epochs: float = 1.0
    steps: int | None = None
    warmup: int | None = None
    batch_size: int = 64
    eval_batch_size: int = 128
    seed: int = 0
    save_every: int = 10

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """From `to_dict`, or from keyword arguments; unknown names are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingsError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        given = dict(values)
        given["target_modules"] = tuple(given.get("target_modules", ()))
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to `run.json`."""
        return asdict(self) | {"target_modules": list(self.target_modules)}

    def resolve(self, hosts: int) -> Settings:
        """Check everything and fill in what follows from the method and the number of hosts."""
        self._check_words()
        self._check_numbers()
        self._check_watch()
        if self.method != "p3eft" and hosts > 1:
            raise SettingsError(f"method {self.method} hides no gradient and uses one host, not {hosts}")
        settled = (self._bare() if self.method != "p3eft" else self)._scheduled()
        if settled.placement == "sets" and hosts != settled.sets:
            raise SettingsError(f"placement sets: {settled.sets} adapter sets need as many hosts, not {hosts}")
        settled = settled._obfuscated(hosts if self.placement == "shares" else 1)
        kappa = settled.gradient_obfuscation().statement(hosts, self.precision).kappa
        check_precision(self.precision, kappa, self.max_gradient_error)
        return settled

    def _check_words(self) -> None:
        _one_of("method", self.method, METHODS)
        _one_of("head", self.head, HEADS)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("placement", self.placement, tuple(PLACEMENTS))
        _one_of("coefficients", self.coefficients, COEFFICIENTS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("regularizer", self.regularizer, REGULARIZERS)
        _one_of("on_leak", self.on_leak, ON_LEAK)
        if self.schedule is not None:
            _one_of("schedule", self.schedule, SCHEDULES)
        if self.pooling is not None:
            _one_of("pooling", self.pooling, POOLINGS)
        if self.obfuscation is not None:
            _one_of("obfuscation", self.obfuscation, OBFUSCATIONS)

    def _check_watch(self) -> None:
        if not 0.0 < self.max_leak <= 1.0:
            raise SettingsError(f"max_leak must be in (0, 1], not {self.max_leak}")
        if self.on_leak == "stop" and self.audit_every == 0:
            raise SettingsError("on_leak stop needs audit_every above 0: nothing is looked at otherwise")
        if self.schedule == "automatic" and self.audit_every == 0:
            raise SettingsError("schedule automatic needs audit_every above 0: the weight follows what is found")

    def _check_numbers(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} must be above 0, not {value}")
        if self.steps is not None and self.steps < 1:
            raise SettingsError(f"steps must be at least 1, not {self.steps}")
        if self.pslf_labels < 2:
            raise SettingsError(f"pslf_labels must be at least 2, not {self.pslf_labels}")
        if self.update_noise < 0:
            raise SettingsError(f"update_noise must not be below 0, but is {self.update_noise}")
        if self.update_noise > 0 and self.update_clip is None:
            raise SettingsError("update_noise needs update_clip: the noise is a multiple of it")

    def _bare(self) -> Settings:
        """A baseline: one set, and none of p3eft's regularizers."""
        bare = replace(self, adapter_sets=1, activation_weight=0.0, shift_weight=0.0, difference_weight=0.0)
        return replace(bare, regularizer="probe", schedule=self.schedule or "ramp")

    def _scheduled(self) -> Settings:
        """With what follows from the regularizer: how its weight is found, and how much the head is trained."""
        ours = self.camouflaged
        schedule = self.schedule or ("automatic" if ours else "ramp")
        every = self.audit_every if self.audit_every is not None else (LOOK_EVERY if schedule == "automatic" else 0)
        rate = self.head_lr if self.head_lr is not None else self.lr * (HEAD_LR if ours else 1.0)
        spread = self.mult_std if self.mult_std is not None else (CAMOUFLAGE_MULT_STD if ours else 0.0)
        return replace(
            self, schedule=schedule, audit_every=every, head_lr=rate, mult_std=spread, adapter_sets=self.sets
        )

    def _obfuscated(self, hosts: int) -> Settings:
        """With obfuscation and number of tensors settled; `hosts` divide the tensors of one gradient among them."""
        kind = self.obfuscation
        if kind is None and self.method != "p3eft":
            kind = "plain"
        if kind is None:
            kind = "shares" if hosts > 1 or self.shares is not None else "decoys"
        if kind != "shares" and hosts > 1:
            raise SettingsError(
                f"obfuscation {kind} is for one host; over {hosts} use shares, or placement steps or sets"
            )
        if kind != "shares":
            return replace(self, obfuscation=kind, shares=1 if kind == "plain" else self.decoys + 1)
        shares = self.shares if self.shares is not None else max(2, hosts)
        if shares < hosts:
            raise SettingsError(f"{shares} shares for {hosts} hosts: each host needs at least one")
        return replace(self, obfuscation="shares", shares=shares)

    def gradient_obfuscation(self) -> Obfuscation:
        """How gradients travel. Of resolved settings."""
        assert self.obfuscation is not None and self.shares is not None, "settings must be resolved first"
        return make_obfuscation(self.obfuscation, self.shares, self.noise_scale)

    def split_method(self) -> dict[str, Any]:
        """The `method` of the job, as the host needs it. Adapters are in the client's custody."""
        lora: dict[str, Any] = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}
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

    def adamw(self) -> AdamWSettings:
        """The client's AdamW."""
        return AdamWSettings(lr=self.lr, weight_decay=self.weight_decay)

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

    def camouflage(self) -> CamouflageWeights:
        """Weights of the camouflage."""
        return CamouflageWeights(self.scatter_weight, self.decoy_weight, self.decoy_amplitude)

    def weight_schedule(self) -> WeightSchedule:
        """How the penalty's weight goes over the run."""
        return WeightSchedule(self.schedule or "ramp", self.ramp_steps, self.max_leak)

    def probe_weights(self) -> RegularizerWeights:
        """Weights of the probe regularizer and of DC; see penalty.py."""
        on = (self.activation_weight, self.shift_weight, self.difference_weight)
        if self.method == "dc":
            on = (self.activation_dc_weight, self.shift_dc_weight, 0.0)
        return RegularizerWeights(*on)


def check_precision(precision: str, kappa: float, most: float | None = None) -> None:
    """Refuse settings whose rounding errors would spoil the reconstructed gradient; warn before that.

    The error grows with kappa (`Obfuscated.kappa`): on a bfloat16 backbone 0.8 % at 1, 4.4 % at 10, 38 % at 100. `most`
    is the largest that is allowed, by default `MAX_GRADIENT_ERROR`.
    """
    error = gradient_error(kappa, precision)
    most = MAX_GRADIENT_ERROR[precision] if most is None else most
    if error <= min(most, ERROR_WARN):
        return
    share = f"{error:.0%}" if error >= ERROR_WARN else f"{error:.1e}"
    text = f"a {precision} backbone with kappa {kappa:.3g} loses about {share} of every gradient"
    if error > most:
        advice = "use float32, one share, or a smaller noise_scale" if precision == "bfloat16" else "lower noise_scale"
        raise SettingsError(f"precision: {text}, and max_gradient_error is {most:g}; {advice}")
    log.warning("%s; float32 loses none of it", text)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
