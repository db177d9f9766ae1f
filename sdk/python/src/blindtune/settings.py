"""Every setting of a run, with its default, and what each method makes of them.

Owns: defaults and their checks. Must never: hold a secret; settings are written to `run.json` and parts of them travel.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .heads import HEADS
from .optim import AdamWSettings
from .regularizers import RegularizerWeights
from .shares import NOISE_SCALE, expected_kappa

log = logging.getLogger("blindtune")

METHODS = ("p3eft", "lora", "frozen")
POOLINGS = ("cls", "mean", "last", "eos")
PRECISIONS = ("float32", "bfloat16", "nf4")


BFLOAT16_ERROR = 0.0044
"""Relative error of a joined gradient under a bfloat16 backbone, for each unit of kappa."""
BFLOAT16_WARN, BFLOAT16_MOST = 0.01, 0.05


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


@dataclass(frozen=True)
class Settings:
    """Defaults are those of SCIENCE.md section 1 and 2.

    `shares` None means one per host, and two on a single host. `steps` wins over `epochs`; `warmup` None is a tenth
    of the steps; `pooling` None is the family's own cut (cls, last or eos). `seed` travels with the job and orders the
    batches; what hides something comes from the run's secret instead.
    """

    method: str = "p3eft"
    adapter_sets: int = 2
    shares: int | None = None
    noise_scale: float = NOISE_SCALE
    mult_std: float = 0.0
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
    ramp_steps: int = 200
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
        _one_of("method", self.method, METHODS)
        _one_of("head", self.head, HEADS)
        _one_of("precision", self.precision, PRECISIONS)
        if self.pooling is not None:
            _one_of("pooling", self.pooling, POOLINGS)
        for name in ("adapter_sets", "rank", "batch_size", "eval_batch_size", "save_every", "lr", "epochs"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise SettingsError(f"steps must be at least 1, not {self.steps}")
        if self.method != "p3eft":
            if hosts > 1:
                raise SettingsError(f"method {self.method} hides nothing and uses one host, not {hosts}")
            bare = replace(self, activation_weight=0.0, shift_weight=0.0, difference_weight=0.0)
            return replace(bare, adapter_sets=1, shares=1)
        shares = self.shares if self.shares is not None else max(2, hosts)
        if shares < hosts:
            raise SettingsError(f"{shares} shares for {hosts} hosts: each host needs at least one")
        check_precision(self.precision, expected_kappa(shares, self.noise_scale))
        return replace(self, shares=shares)

    def split_method(self) -> dict[str, Any]:
        """The `method` of the job, as the host needs it. Adapters are in the client's custody."""
        lora: dict[str, Any] = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}
        if self.target_modules:
            lora["target_modules"] = list(self.target_modules)
        if self.use_rslora:
            lora["use_rslora"] = True
        split: dict[str, Any] = {"custody": "client", "adapter_sets": self.adapter_sets, "lora": lora}
        split["precision"] = self.precision
        if self.pooling is not None:
            split["pooling"] = self.pooling
        if self.double_quant:
            split["double_quant"] = True
        return {"type": "split", "split": split}

    def optimizer(self) -> AdamWSettings:
        """The client's AdamW."""
        return AdamWSettings(lr=self.lr, weight_decay=self.weight_decay)

    def regularizer(self) -> RegularizerWeights:
        """Weights and ramp of the regularizer."""
        on = (self.activation_weight, self.shift_weight, self.difference_weight)
        return RegularizerWeights(*on, ramp_steps=self.ramp_steps)


def check_precision(precision: str, kappa: float) -> None:
    """Refuse a bfloat16 backbone under shares whose rounding errors would spoil the gradient; warn before that.

    The error of the joined gradient grows with kappa (`Shares.kappa`): measured 0.8 % at 1, 4.4 % at 10, 38 % at 100.
    """
    error = BFLOAT16_ERROR * kappa
    if precision != "bfloat16" or error <= BFLOAT16_WARN:
        return
    text = f"a bfloat16 backbone with kappa {kappa:.3g} loses about {error:.0%} of every gradient"
    if error > BFLOAT16_MOST:
        raise SettingsError(f"precision: {text}; use float32, one share, or a smaller noise_scale")
    log.warning("%s; float32 loses none of it", text)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
