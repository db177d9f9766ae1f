"""From the gradients of batches to steps of the optimizer: accumulated, clipped, and noisy where that is asked for.

Owns: the gradients of batches that are not in an update yet. Must never: scale adapter gradients by anything that
depends on a label after the noise is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..arrays import F32, AnyArray
from ..optimizers import SGD, AdamW, SGDSettings, clip
from ..private.secret import SecretStream
from .settings import Settings
from .update_noise import UpdateNoise

HEAD = "head_"
"""Before the names of the head's moments."""


class Optimizer(Protocol):
    """What moves parameters: AdamW or SGD of optimizers.py."""

    step_count: int

    def step(self, gradients: list[F32], lr: float) -> None:
        """Move every parameter in place."""
        ...

    def state(self) -> dict[str, F32]:
        """What has to be kept, by name."""
        ...

    def load_state(self, state: dict[str, F32], step_count: int) -> None:
        """Put back what `state` gave."""
        ...


class Updates:
    """Takes the gradients of every batch, the adapters' first, and updates after every `accumulate`-th.

    Adapters and head have an optimizer each, for the head may be trained faster.
    """

    def __init__(self, thetas: list[F32], head: list[F32], settings: Settings, secret: SecretStream) -> None:
        self.optimizer, self.head_optimizer = make_optimizer(thetas, settings), make_optimizer(head, settings)
        self.settings = settings
        self.adapters = len(thetas)
        self.secret = secret
        self.pending: list[F32] = []
        self.batches = 0

    def add(self, gradients: list[F32], lr: float, last: bool = False) -> None:
        """One more batch. The `last` batch of a run updates with what there is."""
        self.pending = [a + b for a, b in zip(self.pending, gradients, strict=True)] if self.pending else gradients
        self.batches += 1
        if self.batches >= self.settings.accumulate or last:
            self._update(lr)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, int]]:
        """Moments and what is pending, by name; and the counts."""
        arrays: dict[str, AnyArray] = {f"pending.{k}": gradient for k, gradient in enumerate(self.pending)}
        arrays |= {**self.optimizer.state(), **{HEAD + name: a for name, a in self.head_optimizer.state().items()}}
        counts = {"pending_batches": self.batches, "optimizer_steps": self.optimizer.step_count}
        return arrays, counts | {"head_steps": self.head_optimizer.step_count}

    def load_state(self, arrays: Mapping[str, AnyArray], counts: Mapping[str, int]) -> None:
        """Put back what `state` gave, bit for bit."""
        self.batches = counts["pending_batches"]
        self.pending = [arrays[f"pending.{k}"] for k in range(sum(name.startswith("pending.") for name in arrays))]
        self.optimizer.load_state(dict(arrays), counts["optimizer_steps"])
        of_head = {name.removeprefix(HEAD): a for name, a in arrays.items() if name.startswith(HEAD)}
        self.head_optimizer.load_state(of_head, counts["head_steps"])

    @property
    def _head_factor(self) -> float:
        return (self.settings.head_lr or self.settings.lr) / self.settings.lr

    def _update(self, lr: float) -> None:
        mean = self.pending if self.batches == 1 else [g / np.float32(self.batches) for g in self.pending]
        clipped, _ = clip(mean, self.settings.max_grad_norm)
        noisy = self._with_noise(clipped[: self.adapters])
        self.optimizer.step(noisy, lr)
        self.head_optimizer.step(clipped[self.adapters :], lr * self._head_factor)
        self.pending, self.batches = [], 0

    def _with_noise(self, gradients: list[F32]) -> list[F32]:
        if self.settings.update_clip is None or not gradients:
            return gradients
        noise = UpdateNoise(self.settings.update_clip, self.settings.update_noise, self.secret)
        return noise.apply(gradients, self.optimizer.step_count)


def make_optimizer(parameters: list[F32], settings: Settings) -> Optimizer:
    """An optimizer of the run's kind over `parameters`, which it moves in place."""
    if settings.optimizer == "sgd":
        return SGD(parameters, SGDSettings(lr=settings.lr, weight_decay=settings.weight_decay))
    return AdamW(parameters, settings.adamw())
