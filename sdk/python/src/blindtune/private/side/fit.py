"""Training a side network at home: passes over the taps, averaged weights, early stopping. The host has no part in it.

Owns: the order of batches, the schedule, and which weights are kept. Must never: ask a host for anything, so that
neither rows, nor order, nor number of passes can tell what was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...arrays import F32, I64
from ...data.taps import Taps
from ...optimizers import AdamW, AdamWSettings, learning_rate
from ..secret import SecretStream
from ..selection import Selection
from .attentive import Attentive
from .network import Network, Objective, Regularization, Shape
from .pooled import Pooled
from .standardize import Standardize
from .tagger import Tagger

KINDS = ("attentive", "ladder", "pooled", "tagger")

WARMUP = 0.06
AVERAGE, AVERAGE_EVERY = 0.05, 10
EVALUATED_ROWS = 256
LEAST_HELD_OUT = 20
"""With fewer rows to hold out, every epoch is taken as it comes."""


@dataclass(frozen=True)
class SideSettings:
    """How side networks learn; all of it at home. `networks` are drawn and trained apart, and their outputs averaged.

    A share of the rows, `held_out`, is not trained on: the epoch with the smallest loss there is the one that is kept.
    `kind` is one of `KINDS`, and `width` its own.
    """

    kind: str = "attentive"
    width: int = 32
    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    regularization: Regularization = field(default_factory=Regularization)
    networks: int = 1
    held_out: float = 0.1


@dataclass(frozen=True)
class Epoch:
    """After a pass: steps taken since the first, the training loss, and with averaged weights that of rows held out."""

    epoch: int
    steps: int
    loss: float
    held_out: float | None


@dataclass(frozen=True)
class Evaluated:
    """After `step` of a network's `steps`: the scores of its averaged weights on the dev rows."""

    step: int
    steps: int
    scores: dict[str, float]
    best: bool


@dataclass(frozen=True)
class Watched:
    """Dev rows that choose the weights of every network, instead of rows held out."""

    taps: Taps
    scores: Callable[[F32], dict[str, float]]
    """Of outputs [N, O]."""
    selection: Callable[[], Selection]
    """A new one for each network."""
    after: Callable[[int, Evaluated], None]


@dataclass(frozen=True)
class Told:
    """Who is told how the training goes, and the dev rows where there are any."""

    after: Callable[[int, Epoch], None] = lambda _network, _epoch: None
    """Told of every epoch of every network."""
    watched: Watched | None = None


@dataclass
class SideModel:
    """Standardised taps into one or more networks; their mean output."""

    standardize: Standardize
    networks: list[Network]

    def outputs(self, taps: Taps) -> F32:
        """[N, O] for N texts."""
        return np.asarray(np.mean([_outputs(net, self.standardize, taps) for net in self.networks], axis=0), np.float32)

    def parameters(self) -> dict[str, F32]:
        """Everything learned, by name; a network's names begin with its kind and its number."""
        named = {"standardize.mean": self.standardize.mean, "standardize.deviation": self.standardize.deviation}
        for k, network in enumerate(self.networks):
            pairs = zip(network.names, network.parameters, strict=True)
            named |= {f"{network.kind}.{k}.{name}": value for name, value in pairs}
        return named

    @classmethod
    def of(cls, named: Mapping[str, F32]) -> SideModel:
        """What `parameters` gave."""
        standardize = Standardize(named["standardize.mean"], named["standardize.deviation"])
        numbers = {tuple(name.split(".")[:2]) for name in named if name.split(".")[0] in KINDS}
        networks = []
        for kind, number in sorted(numbers, key=lambda one: int(one[1])):
            network = network_class(kind)
            networks.append(network.of([named[f"{kind}.{number}.{name}"] for name in network.names]))
        return cls(standardize, networks)


def network_class(kind: str) -> type[Network]:
    """The class of networks of a kind; `ladder` needs the extra `torch`, and says so where it is missing."""
    if kind == "ladder":
        from .ladder import Ladder

        return Ladder
    return next((network for network in (Tagger, Pooled) if network.kind == kind), Attentive)


def fit_side(
    taps: Taps,
    targets: Any,
    task: Objective,
    settings: SideSettings,
    secret: SecretStream,
    told: Told = Told(),
) -> SideModel:
    """Train on these texts [N] and targets [N]; with dev rows to watch, none are held out.

    What it does is a function of its arguments alone; of a ladder, to the last bit with one number of threads.
    """
    standardize = Standardize.of(taps)
    shape = Shape(len(taps.levels), taps.levels[0].shape[1], task.outputs, width=settings.width)
    networks = []
    for k in range(settings.networks):
        draw = SecretStream(secret.secret + k.to_bytes(4, "big"))
        network = network_class(settings.kind).fresh(shape, draw, settings.regularization)
        rows = draw.permutation(len(taps), "side", "held out")
        held = round(settings.held_out * len(taps))
        held = held if held >= LEAST_HELD_OUT and told.watched is None else 0
        training = _Training(network, standardize, task, settings, draw)
        if told.watched is not None:
            training.watch = _Watch(k, told.watched, told.watched.selection())
        for epoch in training.run(taps, targets, rows[held:], rows[:held]):
            told.after(k, epoch)
        networks.append(network)
    return SideModel(standardize, networks)


@dataclass
class _Watch:
    """The evaluations of one network, and its best weights by them."""

    network: int
    watched: Watched
    selection: Selection
    best: list[F32] = field(default_factory=list)

    def look(self, training: _Training, steps: int) -> None:
        """Evaluate where it is due. Patience ends the evaluations and not the training: its length tells nothing."""
        step = training.step
        if not self.selection.due(step, step == steps):
            return
        network = type(training.network).of(training.average)
        scores = self.watched.scores(_outputs(network, training.standardize, self.watched.taps))
        best = self.selection.add(step, scores)
        self.best = [p.copy() for p in training.average] if best else self.best
        self.watched.after(self.network, Evaluated(step, steps, scores, best))


class _Training:
    """One network's way through the epochs."""

    watch: _Watch | None = None

    def __init__(
        self, network: Network, standardize: Standardize, task: Objective, settings: SideSettings, secret: SecretStream
    ) -> None:
        self.network, self.standardize, self.task = network, standardize, task
        self.settings, self.secret = settings, secret
        self.optimizer = AdamW(network.parameters, AdamWSettings(settings.lr, weight_decay=settings.weight_decay))
        self.average = [p.copy() for p in network.parameters]
        self.step = 0

    def run(self, taps: Taps, targets: Any, rows: I64, held: I64) -> Iterator[Epoch]:
        """Every epoch; at the end the network has the averaged weights of the best."""
        count = -(-len(rows) // self.settings.batch_size)
        best, least = self.average, np.inf
        for epoch in range(self.settings.epochs):
            order = rows[self.secret.permutation(len(rows), "side", epoch)]
            losses = [self._step(taps, targets, part, count) for part in np.array_split(order, count)]
            found = self._held_out(taps.take(held), targets[held]) if len(held) else None
            if found is None or found < least:
                best, least = [p.copy() for p in self.average], np.inf if found is None else found
            yield Epoch(epoch + 1, self.step, float(np.mean(losses)), found)
        for parameter, kept in zip(
            self.network.parameters, best if self.watch is None else self.watch.best, strict=True
        ):
            parameter[...] = kept

    def _step(self, taps: Taps, targets: Any, rows: I64, per_epoch: int) -> float:
        steps = per_epoch * self.settings.epochs
        generator = np.random.default_rng([self.step, *self.secret.secret])
        batch = self.standardize.apply(taps.take(rows))
        some = targets[rows]
        loss, gradients = self.network.loss_and_gradients(batch, lambda logits: self.task.loss(logits, some), generator)
        rate = learning_rate(self.step, steps, round(WARMUP * steps), self.settings.lr)
        self.optimizer.step(gradients, rate)
        self.step += 1
        if self.step % AVERAGE_EVERY == 0 or self.step < AVERAGE_EVERY:
            self._take_in()
        if self.watch is not None:
            self.watch.look(self, steps)
        return loss

    def _take_in(self) -> None:
        """A running mean of the weights; while it is young, of all there were."""
        weight = np.float32(max(AVERAGE, 1.0 / max(1.0, self.step / AVERAGE_EVERY)))
        for averaged, parameter in zip(self.average, self.network.parameters, strict=True):
            averaged += weight * (parameter - averaged)

    def _held_out(self, taps: Taps, targets: Any) -> float:
        network = type(self.network).of(self.average)
        return self.task.loss(_outputs(network, self.standardize, taps), targets)[0]


def _outputs(network: Network, standardize: Standardize, taps: Taps) -> F32:
    parts = [np.arange(k, min(k + EVALUATED_ROWS, len(taps))) for k in range(0, len(taps), EVALUATED_ROWS)]
    return np.concatenate([network.outputs(standardize.apply(taps.take(rows))) for rows in parts])
