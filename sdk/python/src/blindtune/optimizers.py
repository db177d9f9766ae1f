"""AdamW and SGD as in torch.optim, over a list of float32 arrays, and the learning rate schedule.

Owns: the moments and the step count of what the client trains (adapters in client custody, and the head). Must never:
travel; two consecutive adapter values and the optimizer together give the gradient away.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .arrays import F32


class Optimizer(ABC):
    """Moves a list of parameters in place, and keeps what it needs for the next step."""

    def __init__(self, parameters: list[F32]) -> None:
        self.parameters = parameters
        self.step_count = 0

    def step(self, gradients: list[F32], lr: float) -> None:
        """Move every parameter in place; `gradients` come in the order of the parameters."""
        if len(gradients) != len(self.parameters):
            raise ValueError(f"{len(gradients)} gradients for {len(self.parameters)} parameters")
        self.step_count += 1
        self._move(gradients, lr)

    def state(self) -> dict[str, F32]:
        """What is kept, by name; `step_count` is kept apart by the caller."""
        return {f"optim.{name}.{k}": kept for name, buffers in self._kept().items() for k, kept in enumerate(buffers)}

    def load_state(self, state: dict[str, F32], step_count: int) -> None:
        """Put back what `state` gave, bit for bit."""
        for name, kept in self.state().items():
            kept[...] = state[name]
        self.step_count = step_count

    @abstractmethod
    def _move(self, gradients: list[F32], lr: float) -> None:
        """Move the parameters. The gradients are as many, and the step is counted."""

    @abstractmethod
    def _kept(self) -> dict[str, list[F32]]:
        """The arrays that are kept, by kind, one for each parameter."""


@dataclass(frozen=True)
class AdamWSettings:
    """Torch's names and defaults, apart from lr."""

    lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01


class AdamW(Optimizer):
    """Decoupled weight decay: p <- p (1 - lr wd) - lr m_hat / (sqrt(v_hat) + eps)."""

    def __init__(self, parameters: list[F32], settings: AdamWSettings) -> None:
        super().__init__(parameters)
        self.settings = settings
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]

    def _move(self, gradients: list[F32], lr: float) -> None:
        s = self.settings
        correction1 = 1.0 - s.beta1**self.step_count
        correction2_sqrt = math.sqrt(1.0 - s.beta2**self.step_count)
        for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
            p *= np.float32(1.0 - lr * s.weight_decay)
            m += (g - m) * np.float32(1.0 - s.beta1)
            v *= np.float32(s.beta2)
            v += np.float32(1.0 - s.beta2) * g * g
            denominator = np.sqrt(v) / np.float32(correction2_sqrt) + np.float32(s.eps)
            p -= np.float32(lr / correction1) * m / denominator

    def _kept(self) -> dict[str, list[F32]]:
        return {"m": self.first, "v": self.second}


@dataclass(frozen=True)
class SGDSettings:
    """Torch's names; weight decay is decoupled, as in AdamW."""

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0


class SGD(Optimizer):
    """p <- p (1 - lr wd) - lr b, with b <- momentum b + g: torch.optim.SGD but for the decoupled decay."""

    def __init__(self, parameters: list[F32], settings: SGDSettings) -> None:
        super().__init__(parameters)
        self.settings = settings
        self.buffers = [np.zeros_like(p) for p in parameters]

    def _move(self, gradients: list[F32], lr: float) -> None:
        s = self.settings
        for p, g, b in zip(self.parameters, gradients, self.buffers, strict=True):
            b *= np.float32(s.momentum)
            b += g
            p *= np.float32(1.0 - lr * s.weight_decay)
            p -= np.float32(lr) * b

    def _kept(self) -> dict[str, list[F32]]:
        return {"b": self.buffers}


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Rise linearly to `peak` over `warmup` steps, then fall linearly towards zero. `step` counts from 0."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * max(0.0, (steps - step) / max(1, steps - warmup))


def clip(gradients: list[F32], max_norm: float | None) -> tuple[list[F32], float]:
    """Scale all gradients together to at most `max_norm`; returns them and the norm before."""
    norm = math.sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradients))
    if max_norm is None or norm <= max_norm:
        return gradients, norm
    return [np.asarray(g * np.float32(max_norm / (norm + 1e-6)), dtype=np.float32) for g in gradients], norm
