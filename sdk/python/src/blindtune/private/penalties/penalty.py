"""What is added to the loss so that activations carry no label: one object for each method.

Owns: the choice, and what a penalty remembers between batches. Must never: change in `penalty`, which decoy gradients
call with other labels for the same batch; only `prepare` and `observe` do that, once a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...arrays import F32, F64, I64, AnyArray
from . import probe
from .camouflage import Camouflage
from .distance import distance_correlation_loss
from .probe import RegularizerWeights
from .schedules import WeightSchedule


class Penalty(Protocol):
    """The part of the loss that works on what the host sees. A step is `prepare`, `penalty`, `observe`."""

    schedule: WeightSchedule

    @property
    def needs_base(self) -> bool:
        """Whether the host has to send the bare backbone's activations too."""
        ...

    def prepare(self, base: F32 | None) -> None:
        """Before a batch, with its h_base [B, H] where it was asked for."""
        ...

    def penalty(self, activations: Sequence[F32], base: F32 | None, labels: I64, step: int) -> tuple[float, list[F32]]:
        """The weighted penalty and its gradient for every h_i: h_i and base are [B, H], labels [B], steps from 0."""
        ...

    def observe(self, activations: Sequence[F32], base: F32 | None, labels: I64) -> None:
        """After a batch, with its true labels."""
        ...

    def state(self) -> dict[str, AnyArray]:
        """What a resumed run needs, by name."""
        ...

    def load_state(self, state: Mapping[str, AnyArray]) -> None:
        """Put back what `state` gave, bit for bit."""
        ...


@dataclass
class _Memoryless:
    """A penalty that knows nothing of earlier batches but its schedule's weight."""

    weights: RegularizerWeights
    classes: int
    schedule: WeightSchedule

    @property
    def needs_base(self) -> bool:
        """Whether shifts count."""
        return self.weights.needs_base

    def prepare(self, base: F32 | None) -> None:
        """Nothing to prepare."""

    def observe(self, activations: Sequence[F32], base: F32 | None, labels: I64) -> None:
        """Nothing to remember."""

    def state(self) -> dict[str, AnyArray]:
        """The schedule's."""
        return _schedule_state(self.schedule)

    def load_state(self, state: Mapping[str, AnyArray]) -> None:
        """Put back what `state` gave."""
        _load_schedule(self.schedule, state)


class ProbePenalty(_Memoryless):
    """P3EFT's: a logistic probe must not read the labels (probe.py)."""

    def penalty(self, activations: Sequence[F32], base: F32 | None, labels: I64, step: int) -> tuple[float, list[F32]]:
        """On activations, shifts and differences of sets; nothing when the batch lacks a class."""
        weights = self.weights.scaled(self.schedule.at(step))
        return probe.regularize(activations, base, labels, self.classes, weights)


class DistancePenalty(_Memoryless):
    """The baseline DC: log distance correlation with the labels, on activations and shifts (distance.py)."""

    def penalty(self, activations: Sequence[F32], base: F32 | None, labels: I64, step: int) -> tuple[float, list[F32]]:
        """On activations and shifts; nothing when the batch lacks a class."""
        total, gradients = 0.0, [np.zeros(h.shape) for h in activations]
        if len(np.unique(labels)) < self.classes:
            return total, [g.astype(np.float32) for g in gradients]
        on_activations, on_shifts, _ = self.weights.scaled(self.schedule.at(step))
        for h, gradient in zip(activations, gradients, strict=True):
            total += _add_distance(h, labels, on_activations, gradient)
            if base is not None:
                total += _add_distance(h - base, labels, on_shifts, gradient)
        return total, [g.astype(np.float32) for g in gradients]


@dataclass
class CamouflagePenalty:
    """Ours: decoy features, and a spring on the class means whose weight follows the schedule (camouflage.py)."""

    hidden: Camouflage
    schedule: WeightSchedule

    @property
    def needs_base(self) -> bool:
        """Decoys are made of the bare backbone's activations."""
        return True

    def prepare(self, base: F32 | None) -> None:
        """Take note of the batch."""
        self.hidden.prepare(_needed(base))

    def penalty(self, activations: Sequence[F32], base: F32 | None, labels: I64, step: int) -> tuple[float, list[F32]]:
        """Decoys always; the spring where the batch has every class."""
        return self.hidden.penalty(activations, _needed(base), labels, self.schedule.at(step))

    def observe(self, activations: Sequence[F32], base: F32 | None, labels: I64) -> None:
        """Add the batch to the running class means."""
        self.hidden.observe(activations, _needed(base), labels)

    def state(self) -> dict[str, AnyArray]:
        """The camouflage's memory, and the schedule's."""
        memory: dict[str, AnyArray] = {f"camouflage.{name}": value for name, value in self.hidden.state().items()}
        return memory | _schedule_state(self.schedule)

    def load_state(self, state: Mapping[str, AnyArray]) -> None:
        """Put back what `state` gave."""
        mine = {name[11:]: value for name, value in state.items() if name.startswith("camouflage.")}
        self.hidden.load_state(mine)
        _load_schedule(self.schedule, state)


def _needed(base: F32 | None) -> F32:
    if base is None:
        raise ValueError("the camouflage needs h_base")
    return base


def _schedule_state(schedule: WeightSchedule) -> dict[str, AnyArray]:
    return {f"schedule.{name}": np.array([value]) for name, value in schedule.state().items()}


def _load_schedule(schedule: WeightSchedule, state: Mapping[str, AnyArray]) -> None:
    known = {name[9:]: float(value[0]) for name, value in state.items() if name.startswith("schedule.")}
    if known:
        schedule.load_state(known)


def _add_distance(tensor: F32, labels: I64, weight: float, gradient: F64) -> float:
    found = distance_correlation_loss(tensor, labels) if weight > 0 else None
    if found is None:
        return 0.0
    gradient += weight * found[1]
    return weight * found[0]
