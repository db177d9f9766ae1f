"""The keyword arguments of `Tuner` that are settings, for editors and type checkers.

Owns: names and plain types, which a test holds to those of `Settings`. Must never: hold a default, a bound or a
description; they stand in settings.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict


class SettingsDict(TypedDict, total=False):
    """Settings by their names; `help(Settings)` and `blindtune train --help` describe them."""

    method: Literal["p3eft", "lora", "frozen", "side", "auto", "dc", "pslf"]
    wanted: float | None
    accept: Literal["blind", "bounded", "hurdle"]
    adapter_sets: int | None
    obfuscation: Literal["shares", "decoys", "plain"] | None
    shares: int | None
    noise_scale: float
    decoys: int
    max_gradient_error: float | None
    placement: Literal["shares", "steps", "sets"]
    coefficients: Literal["antisymmetric_n01", "averaged"]
    train_coefficients: bool
    mult_std: float | None
    head: Literal["dense-tanh-linear", "linear"]
    pooling: Literal["cls", "mean", "last", "eos"] | None
    precision: Literal["float32", "bfloat16", "nf4"]
    double_quant: bool
    rank: int
    alpha: float
    dropout: float | None
    target_modules: Sequence[str]
    use_rslora: bool
    max_length: Literal["error", "truncate", "chunk"] | None
    activation_weight: float
    shift_weight: float
    difference_weight: float
    activation_dc_weight: float
    shift_dc_weight: float
    regularizer: Literal["camouflage", "probe"]
    schedule: Literal["automatic", "ramp", "constant"] | None
    ramp_steps: int
    max_leak: float
    audit_every: int | None
    on_leak: Literal["raise", "stop"]
    scatter_weight: float
    decoy_weight: float
    decoy_amplitude: float
    decoy_features: int
    head_lr: float | None
    layers: str | int | Sequence[int]
    fetch: Literal["calls", "job"]
    feature_dtype: Literal["float16", "int8"]
    project: str | Mapping[str, Any] | None
    side: Literal["attentive", "ladder", "pooled"]
    side_width: int | None
    input_noise: float
    class_weights: str | Sequence[float] | None
    networks: int
    held_out: float
    label_epsilon: float | None
    pslf_epsilon: float
    pslf_labels: int
    optimizer: Literal["adamw", "sgd"]
    accumulate: int
    update_clip: float | None
    update_noise: float
    lr: float | None
    weight_decay: float
    max_grad_norm: float | None
    epochs: float | None
    steps: int | None
    eval_every: int | None
    patience: int | None
    metric: Literal[
        "loss", "accuracy", "f1_macro", "f1_micro", "auc", "ece", "brier", "spearman", "pearson", "mae", "rmse", "r2"
    ]
    warmup: int | None
    batch_size: int | None
    eval_batch_size: int
    seed: int
    save_every: int


class TunerOptions(SettingsDict, total=False):
    """And what only some methods take."""

    tokenizer: str | Path | None
