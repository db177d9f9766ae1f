"""What a demo run does: every setting and every bar in one place.

Owns: paths, steps, the fixed secret, and the bars below which the demo fails. Must never: hold a key, or fix the secret
of a run on data of your own.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("frozen", "lora", "p3eft", "side")
MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Bars:
    """What the made-up corpus must show. Accuracies are in 0..1, leaks in 0.5 (chance)..1.

    Each is more than four standard errors from what twenty secrets give (`make demo-seeds`; figures in
    benches/README.md): a bar that is missed says that something is broken. What P3EFT does not hide has no bar; it is
    in the table.
    """

    lora_over_frozen: float = 0.08
    p3eft_below_lora: float = 0.03
    side_below_lora: float = 0.03
    lora_gradients: float = 0.95
    p3eft_gradients: float = 0.60


@dataclass(frozen=True)
class Plan:
    """One run of the demo. The defaults suit the made-up corpus and take four to five minutes on two cores.

    `seed` determines everything: the order of the rows, the adapters at the start, and the secret. P3EFT runs over two
    hosts with the SDK's camouflage, whose weight is ramped: the automatic one looks every 20 steps, and had not let
    the task begin by step 100 under one secret of five.
    """

    binary: Path
    backbone: Path
    data: Path | None = None
    out: Path = ROOT / "var" / "demo"
    model: str = MODEL
    seed: int = 0
    steps: int = 120
    ramp_steps: int = 80
    frozen_steps: int = 500
    networks: int = 1
    side_epochs: int = 8
    batch_size: int = 64
    lr: float = 3e-3
    warmup: int = 10
    bars: Bars | None = Bars()
    """None with data of your own, of which nobody knows what they must show."""

    def training(self, method: str) -> dict[str, Any]:
        """The SDK's settings for one method."""
        common: dict[str, Any] = {"method": method, "batch_size": self.batch_size, "lr": self.lr, "seed": self.seed}
        if method == "frozen":
            return common | {"steps": self.frozen_steps, "warmup": self.frozen_steps // 10}
        if method == "side":
            return {"method": method, "seed": self.seed, "networks": self.networks, "epochs": self.side_epochs}
        common |= {"steps": self.steps, "warmup": self.warmup}
        if method == "p3eft" and self.data is None:
            return common | {"schedule": "ramp", "ramp_steps": self.ramp_steps}
        return common

    def secret(self, method: str) -> bytes:
        """The secret of the method's run; with data of your own a random one."""
        if self.data is not None:
            return secrets.token_bytes(32)
        return hashlib.sha256(f"the demo's secret of {method} under seed {self.seed}".encode()).digest()


def read_plan(environment: Mapping[str, str] = os.environ) -> Plan:
    """From BLINDTUNE_BIN, BLINDTUNE_MINILM and DATA; relative paths count from the current folder."""
    binary = Path(environment.get("BLINDTUNE_BIN") or ROOT / "target" / "debug" / "blindtuned").absolute()
    backbone = Path(environment.get("BLINDTUNE_MINILM") or ROOT / ".deps" / MODEL).absolute()
    data = environment.get("DATA")
    if not data:
        return Plan(binary, backbone)
    folder = Path(data).absolute()
    return Plan(binary, backbone, folder, steps=400, warmup=40, bars=None)
