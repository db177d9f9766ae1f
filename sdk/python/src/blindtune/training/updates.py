"""From the gradients of batches to steps of the optimizer: accumulated, clipped, and noisy where that is asked for.

Owns: the gradients of batches that are not in an update yet. Must never: scale adapter gradients by anything that
depends on a label after the noise is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, AnyArray
from ..optimizers import Optimizer, clip
from .update_noise import UpdateNoise

HEAD = "head_"
"""Before the names of the head's moments."""


@dataclass(frozen=True)
class UpdateRule:
    """So many batches make an update, which is clipped as a whole; the adapters' part gets the noise."""

    accumulate: int = 1
    max_grad_norm: float | None = None
    head_factor: float = 1.0
    """The head's learning rate over the adapters'."""
    noise: UpdateNoise | None = None


class Updates:
    """Takes the gradients of every batch, the adapters' first, and updates after every `accumulate`-th.

    Adapters and head have an optimizer each, for the head may be trained faster.
    """

    def __init__(self, optimizer: Optimizer, head_optimizer: Optimizer, rule: UpdateRule) -> None:
        self.optimizer, self.head_optimizer = optimizer, head_optimizer
        self.rule = rule
        self.adapters = len(optimizer.parameters)
        self.pending: list[F32] = []
        self.batches = 0

    def add(self, gradients: list[F32], lr: float, last: bool = False) -> None:
        """One more batch. The `last` batch of a run updates with what there is."""
        self.pending = [a + b for a, b in zip(self.pending, gradients, strict=True)] if self.pending else gradients
        self.batches += 1
        if self.batches >= self.rule.accumulate or last:
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

    def _update(self, lr: float) -> None:
        mean = self.pending if self.batches == 1 else [g / np.float32(self.batches) for g in self.pending]
        clipped, _ = clip(mean, self.rule.max_grad_norm)
        noisy = self._with_noise(clipped[: self.adapters])
        self.optimizer.step(noisy, lr)
        self.head_optimizer.step(clipped[self.adapters :], lr * self.rule.head_factor)
        self.pending, self.batches = [], 0

    def _with_noise(self, gradients: list[F32]) -> list[F32]:
        if self.rule.noise is None or not gradients:
            return gradients
        return self.rule.noise.apply(gradients, self.optimizer.step_count)
