"""What never leaves the label holder: the head, the mixing weights, the loss, and one step of their calculus.

Owns: dL/dh_i for every adapter set. Must never: know a host, or anything about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from .heads import Head
from .mixing import Mixing
from .penalties.penalty import Penalty
from .predicting import Predicting
from .pslf import PseudoHead
from .tasks import Task, exchange_labels


@dataclass(frozen=True)
class HomeStep:
    """What one batch gives: the losses, and the gradients of their sum."""

    task_loss: float
    regularizer_loss: float
    correct: int
    activation_gradients: list[F32]
    """dL/dh_i, [B, H] for every set: secret until obfuscated."""
    head_gradients: list[F32]
    """In the order of `Home.parameters`."""
    relabelled: Callable[[I64], list[F32]]
    """dL/dh_i as they would be, had the rows these labels [B] and the model been as sure of them: what decoys are."""

    @property
    def loss(self) -> float:
        """The task's loss plus the weighted regularizers."""
        return self.task_loss + self.regularizer_loss


@dataclass
class Home(Predicting[Sequence[F32]]):
    """The private part of the model."""

    mixing: Mixing
    head: Head
    task: Task
    penalty: Penalty
    pseudo: PseudoHead | None = None
    """Under pslf: its loss trains the adapters, and that of `head` only the head."""
    classes: int = 2
    """Of the guarded labels."""

    @property
    def parameters(self) -> dict[str, F32]:
        """Everything trained at home, by name; the arrays themselves."""
        named = {f"head.{name}": value for name, value in zip(self.head.names, self.head.parameters, strict=True)}
        if self.pseudo is not None:
            other = self.pseudo.head
            named |= {f"pseudo.{name}": value for name, value in zip(other.names, other.parameters, strict=True)}
        return named | ({"mixing": self.mixing.weights} if self.mixing.trained else {})

    def state(self) -> dict[str, AnyArray]:
        """What a resumed run needs besides `parameters`, by name."""
        return {**self.mixing.state(), **self.penalty.state()}

    def load_state(self, arrays: Mapping[str, AnyArray]) -> None:
        """Put back `parameters`, and what `state` gave or kept of it, bit for bit."""
        self.mixing = replace(Mixing.restored(arrays), trained=self.mixing.trained)
        self.penalty.load_state(arrays)
        for name, value in self.parameters.items():
            value[...] = arrays[name]

    def observe(self, activations: Sequence[F32], base: F32 | None, labels: Any) -> None:
        """After a step: what the penalty remembers of its batch."""
        self.penalty.observe(activations, base, self.task.guarded(labels))

    def step(
        self, activations: Sequence[F32], base: F32 | None, labels: Any, step: int, pseudo: I64 | None = None
    ) -> HomeStep:
        """Loss and gradients for one batch: h_i and base are [B, H], labels [B]; `step` counts from 0 for the ramp.

        Labels are classes, or values for a regression; `pseudo` [B] are needed under pslf.
        """
        self.penalty.prepare(base)
        h = self.mixing.mix(activations)
        outputs = self.head.forward(h)
        loss, doutputs = self.task.loss(outputs, labels)
        dh, gradients = self.head.backward(h, doutputs)
        lead, guarded = self.head, self.task.guarded(labels)
        if self.pseudo is not None:
            assert pseudo is not None, "pslf needs pseudo labels"
            more, doutputs, dh, of_pseudo = self.pseudo.step(h, pseudo)
            loss, gradients = loss + more, [*gradients, *of_pseudo]
            lead, guarded = self.pseudo.head, pseudo
        if self.mixing.trained:
            gradients = [*gradients, self.mixing.weight_gradient(activations, dh)]

        def by_activations(dh: F32, shown: I64) -> tuple[float, list[F32]]:
            penalty, from_penalty = self.penalty.penalty(activations, base, shown, step)
            return penalty, [a + b for a, b in zip(self.mixing.backward(dh), from_penalty, strict=True)]

        penalty, found = by_activations(dh, guarded)

        def relabelled(other: I64) -> list[F32]:
            if doutputs.shape[1] <= 2:  # a row of the other side turns round, under the probes too
                sides = np.where(other == guarded, 1.0, -1.0)[:, None]
                return [np.asarray(g * sides, dtype=g.dtype) for g in found]
            exchanged = exchange_labels(doutputs, guarded, other)
            return by_activations(lead.backward(h, exchanged)[0], other)[1]

        return HomeStep(loss, penalty, self.task.correct(outputs, labels), found, gradients, relabelled)

    def outputs(self, activations: Sequence[F32]) -> F32:
        """What the head gives, [B, O], for h_i [B, H]."""
        return self.head.forward(self.mixing.mix(activations))
