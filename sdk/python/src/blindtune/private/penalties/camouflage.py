"""Hides the label among decoy features: our answer to what the probe regularizer leaves (docs/privacy.md).

Owns: the decoy features, the running class means, and their gradients. Must never: leave the label holder's machine;
whoever knows the directions can look past them.

The P3EFT regularizer keeps a linear probe of the batch from reading labels. Attacks that compare activations with the
bare backbone's, or look for flat (two-heap) components, still found them: AUC 0.86 - 0.91 in every run
(benches/README.md). Such attacks look for what is large or flat, so both are given to them, without the label:

* Decoys. Along K secret orthonormal directions u_ik, set i learns to add a tanh(3 z_ik / E|z_ik|), where z_ik is a
  secret projection of the bare backbone's activations of the same text. It is two-heaped and larger than any label
  signal. The head does not look at those directions (`Mixing.blind`).
* A spring on the class means. Between-class scatter tr S_b(v) of every view v (activations, shifts, differences), over
  a running mean of class means, is charged for: the label must stay small in all of them. The head, which is at home,
  makes up for it with larger weights.

Everything is in units of the bare backbone's variance tr cov(h_base), so the weights mean the same on any backbone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...arrays import F32, F64, I64
from ..secret import SecretStream

STEEPNESS = 3.0
"""Of the tanh: at 1 the decoys are not flat enough, and independent component analysis prefers the label (0.88)."""
MEMORY = 0.9
"""How much of the running class means is kept at each batch."""
BASE_MEMORY = 0.95


@dataclass(frozen=True)
class CamouflageWeights:
    """`scatter` and `decoy` weigh the two losses; `amplitude` is a over the backbone's deviation."""

    scatter: float = 1.9
    decoy: float = 1.6
    amplitude: float = 0.3


def decoy_directions(secret: SecretStream, sets: int, hidden: int, count: int) -> F32:
    """u_ik, [n, K, H]: orthonormal within a set, a function of the secret alone."""
    drawn = [np.linalg.qr(secret.normal((hidden, count), "camouflage", "directions", i))[0].T for i in range(sets)]
    return np.stack(drawn).astype(np.float32)


@dataclass
class Camouflage:
    """The penalty on h_i [B, H], and what it remembers of earlier batches."""

    weights: CamouflageWeights
    classes: int
    directions: F32
    secret: SecretStream
    _projections: F64 | None = field(default=None, repr=False)
    _base_mean: F64 | None = field(default=None, repr=False)
    _variance: float = 0.0
    _means: dict[str, F64] = field(default_factory=dict, repr=False)
    _batches: int = 0

    def prepare(self, base: F32) -> None:
        """The first batch of h_base [B, H] fixes what the decoys are made of, and the unit. Again changes nothing."""
        if self._projections is not None:
            return
        exact = base.astype(np.float64)
        self._base_mean = exact.mean(axis=0)
        spread = exact - self._base_mean
        self._variance = float(np.square(spread).sum() / max(1, len(base) - 1)) or 1.0
        draws = [
            self.secret.normal((len(base), self.directions.shape[1]), "camouflage", "projections", i)
            for i in range(len(self.directions))
        ]
        self._projections = np.stack([spread.T @ draw for draw in draws])

    def penalty(self, activations: Sequence[F32], base: F32, labels: I64, factor: float) -> tuple[float, list[F32]]:
        """Both losses, and their gradient for every h_i. `factor` is on the scatter; `prepare` comes first."""
        exact, plain = [h.astype(np.float64) for h in activations], base.astype(np.float64)
        gradients = [np.zeros_like(h) for h in exact]
        total = 0.0
        for i, h in enumerate(exact):
            loss, gradient = self._decoys(i, h - plain, plain)
            total += loss
            gradients[i] += gradient
        membership = _membership(labels, self.classes)
        if membership is not None and factor > 0:
            for name, tensor, signs in _views(exact, plain):
                loss, gradient = self._scatter(name, tensor, membership)
                total += factor * loss
                for i, sign in signs.items():
                    gradients[i] += factor * sign * gradient
        return total, [g.astype(np.float32) for g in gradients]

    def observe(self, activations: Sequence[F32], base: F32, labels: I64) -> None:
        """Add the batch to the running means, once its step is done."""
        assert self._base_mean is not None, "prepare comes first"
        self._base_mean = BASE_MEMORY * self._base_mean + (1.0 - BASE_MEMORY) * base.astype(np.float64).mean(axis=0)
        membership = _membership(labels, self.classes)
        if membership is None:
            return
        self._batches += 1
        for name, tensor, _ in _views([h.astype(np.float64) for h in activations], base.astype(np.float64)):
            offsets = membership.offsets @ tensor
            self._means[name] = MEMORY * self._means.get(name, np.zeros_like(offsets)) + (1.0 - MEMORY) * offsets

    def state(self) -> dict[str, F64]:
        """What a resumed run needs, by name."""
        if self._projections is None or self._base_mean is None:
            return {}
        counts = np.array([self._variance, self._batches], dtype=np.float64)
        named = {"projections": self._projections, "base_mean": self._base_mean, "counts": counts}
        return named | {f"means.{name}": value for name, value in self._means.items()}

    def load_state(self, state: Mapping[str, F64]) -> None:
        """Put back what `state` gave, bit for bit."""
        if not state:
            return
        self._projections, self._base_mean = state["projections"].copy(), state["base_mean"].copy()
        self._variance, self._batches = float(state["counts"][0]), int(state["counts"][1])
        self._means = {name[6:]: value.copy() for name, value in state.items() if name.startswith("means.")}

    def _decoys(self, i: int, shift: F64, base: F64) -> tuple[float, F64]:
        """w / tr cov * mean_b |U_i shift_b - a D_b|^2, and its gradient [B, H]."""
        assert self._projections is not None and self._base_mean is not None, "prepare comes first"
        z = (base - self._base_mean) @ self._projections[i]
        wanted = np.tanh(STEEPNESS * z / (np.abs(z).mean(axis=0) + np.finfo(np.float64).tiny))
        directions = self.directions[i].astype(np.float64)
        missing = shift @ directions.T - self.weights.amplitude * np.sqrt(self._variance) * wanted
        scale = self.weights.decoy / (self._variance * len(shift))
        return float(scale * np.square(missing).sum()), 2.0 * scale * missing @ directions

    def _scatter(self, name: str, tensor: F64, membership: _Membership) -> tuple[float, F64]:
        """w / tr cov * tr S_b of the running class means M; the batch's own share in M is what has a gradient.

        The loss is scaled by the inverse of that share, so that its gradient is that of the charge itself.
        """
        known = self._means.get(name)
        offsets = membership.offsets @ tensor
        share = 1.0 - MEMORY
        running = share * offsets if known is None else MEMORY * known + share * offsets
        correction = 1.0 - MEMORY ** (self._batches + 1)
        running = running / correction
        scale = self.weights.scatter / self._variance
        weighted = membership.portions[:, None] * running
        loss = scale * correction / share * float(np.sum(weighted * running))
        return loss, 2.0 * scale * membership.offsets.T @ weighted


@dataclass(frozen=True)
class _Membership:
    """`offsets` [C, B] maps rows to class mean minus mean; `portions` [C] is how much of the batch each class is."""

    offsets: F64
    portions: F64


def _membership(labels: I64, classes: int) -> _Membership | None:
    """None when the batch lacks a class."""
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        return None
    is_in = (labels[None, :] == np.arange(classes)[:, None]).astype(np.float64)
    return _Membership(is_in / counts[:, None] - 1.0 / len(labels), counts / len(labels))


def _views(exact: Sequence[F64], base: F64) -> list[tuple[str, F64, dict[int, float]]]:
    """Name, tensor, and by how much each h_i is in it."""
    found: list[tuple[str, F64, dict[int, float]]] = []
    for i, h in enumerate(exact):
        found += [(f"h{i}", h, {i: 1.0}), (f"s{i}", h - base, {i: 1.0})]
        found += [(f"d{i}{j}", h - exact[j], {i: 1.0, j: -1.0}) for j in range(i + 1, len(exact))]
    return found
