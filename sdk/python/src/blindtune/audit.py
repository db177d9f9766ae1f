"""Attacks a host can run on what it sees, to measure how much of the labels is left in it.

Owns: the attacks of the P3EFT authors (`activations_privacy_leak`: k-means accuracy, spectral AUC, norm AUC), the
same on gradients as sent, and the report. Must never: claim that a low number is a proof; stronger attacks exist
(probes with known labels, inversion of two consecutive adapter values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.cluster import KMeans

from .arrays import F32, F64, I64, AnyArray

MAX_ROWS = 2000
SEED = 0
PERMUTATIONS = 8


@dataclass(frozen=True)
class SentStep:
    """One step's gradients as they left: `hosts[k][(i, j)]` is share j of set i [B, H] as host k got it; labels [B]."""

    hosts: tuple[Mapping[tuple[int, int], F32], ...]
    labels: I64


@dataclass(frozen=True)
class LeakReport:
    """Leak per kind of tensor.

    The best attack, on the worst adapter set, at the worst-off host. 1 / classes is chance, 1 is all.

    None where the host never got such a tensor. `attacks` has every attack by name; `excess` says how much more the
    same attacks find on rows that were trained on.
    """

    activations: float | None
    shifts: float | None
    differences: float | None
    gradients: float | None
    classes: int
    rows: int
    attacks: Mapping[str, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    exposure: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `report.json`."""
        kinds = {kind: getattr(self, kind) for kind in KINDS}
        plain = {"classes": self.classes, "chance": 1 / self.classes, "rows": self.rows}
        details = {"attacks": dict(self.attacks), "excess": dict(self.excess), "host_learns": list(self.exposure)}
        return kinds | plain | details

    def describe(self) -> str:
        """A few lines for people."""
        lines = [
            f"How well a host can guess the labels ({self.rows} rows, {1 / self.classes:.2f} is chance, 1.00 is all):"
        ]
        for kind in KINDS:
            value = getattr(self, kind)
            more = f"  (trained rows {self.excess[kind]:+.3f})" if kind in self.excess else ""
            lines.append(f"  {kind:<12} {'never sent' if value is None else f'{value:.3f}'}{more}")
        return "\n".join([*lines, "What the host learns:", *(f"  - {line}" for line in self.exposure)])


KINDS = ("activations", "shifts", "differences", "gradients")


def kmeans_accuracy(x: AnyArray, labels: I64, classes: int) -> float:
    """Cluster x [N, H] into `classes`, name the clusters as well as can be, and count the hits."""
    found = KMeans(n_clusters=classes, n_init=10, random_state=SEED).fit(x).labels_
    counts = np.zeros((classes, classes))
    np.add.at(counts, (found, labels), 1)
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / len(labels))


def spectral_auc(x: AnyArray, labels: I64) -> float:
    """AUC of the first principal component of x [N, H], either way round. Two classes."""
    return _either_way(labels, principal_scores(x))


def norm_auc(x: AnyArray, labels: I64) -> float:
    """AUC of the length of each row of x [N, H], either way round. Two classes."""
    return _either_way(labels, np.linalg.norm(x.astype(np.float64), axis=1))


def principal_scores(x: AnyArray) -> F64:
    """Scores [N] along the first principal component of x [N, H], from the smaller of the two Gram matrices."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    count, width = centred.shape
    gram = centred.T @ centred if width <= count else centred @ centred.T
    last = gram.shape[0] - 1
    vector = eigh(gram, subset_by_index=(last, last))[1][:, 0]
    return np.asarray(centred @ vector if width <= count else vector)


def attack(x: AnyArray, labels: I64, classes: int) -> dict[str, float]:
    """All attacks on one tensor [N, H]. More than two classes: k-means only, as the authors do."""
    x, labels = _sample(x, labels)
    if len(labels) < classes or len(np.unique(labels)) < classes:
        return {}
    scores = {"kmeans": kmeans_accuracy(x, labels, classes)}
    if classes == 2:
        scores |= {"spectral": spectral_auc(x, labels), "norm": norm_auc(x, labels)}
    return scores


def activation_attacks(
    activations: Sequence[F32], base: F32 | None, labels: I64, classes: int
) -> dict[str, dict[str, float]]:
    """Attacks on h_i, on h_i - h_base and on h_i - h_j, by kind and name. All are [N, H]."""
    found: dict[str, dict[str, float]] = {"activations": {}, "shifts": {}, "differences": {}}

    def add(kind: str, name: str, tensor: F32) -> None:
        found[kind].update({f"{name}/{k}": v for k, v in attack(tensor, labels, classes).items()})

    for i, h in enumerate(activations):
        add("activations", f"h{i}", h)
        if base is not None:
            add("shifts", f"h{i}-base", h - base)
        for j in range(i + 1, len(activations)):
            add("differences", f"h{i}-h{j}", h - activations[j])
    return found


def gradient_attacks(steps: Sequence[SentStep], classes: int) -> dict[str, float]:
    """Attacks on the gradients as every host got them: each share by itself over all steps and batch by batch, and
    the shortest combination of all shares of a set on the same host, batch by batch."""
    found: dict[str, float] = {}
    hosts = len(steps[0].hosts) if steps else 0
    for k in range(hosts):
        streams: dict[str, list[F32]] = {}
        for step in steps:
            for name, tensor in _streams(step.hosts[k]).items():
                streams.setdefault(name, []).append(tensor)
        labels = [step.labels for step in steps]
        for name, tensors in streams.items():
            found[f"host{k}/{name}/batchwise"] = batchwise_leak(tensors, labels, classes)
            if not name.endswith("combined"):
                pooled = attack(np.concatenate(tensors), np.concatenate(labels), classes)
                found.update({f"host{k}/{name}/{key}": value for key, value in pooled.items()})
    return found


def combine_shares(shares: Sequence[F32]) -> F32:
    """What a host with several shares of one gradient would do: their shortest combination, up to sign and size.

    With all shares this is the gradient, whatever alpha is, since the noise cancels in no other combination.
    """
    flat = np.stack([s.astype(np.float64).ravel() for s in shares])
    weights = np.linalg.eigh(flat @ flat.T)[1][:, 0]
    return np.asarray((weights @ flat).reshape(shares[0].shape), dtype=np.float32)


def batchwise_leak(tensors: Sequence[F32], labels: Sequence[I64], classes: int) -> float:
    """Attack each batch by itself and average, corrected for what the same attack finds on shuffled labels.

    A host may know a batch's labels only up to a swap; that is why each batch is scored the better way round, which
    on few rows is above chance by luck. The correction maps luck to 1 / classes and certainty to 1.
    """
    generator = np.random.Generator(np.random.PCG64(SEED))
    real, lucky = [], []
    for x, y in zip(tensors, labels, strict=True):
        if len(np.unique(y)) < classes or not np.any(x):
            continue
        score = _batch_scorer(x, classes)
        real.append(score(y))
        lucky.append(np.mean([score(generator.permutation(y)) for _ in range(PERMUTATIONS)]))
    chance = 1.0 / classes
    if not real or np.mean(lucky) >= 1.0:
        return chance
    luck = float(np.mean(lucky))
    return float(np.clip(chance + (1.0 - chance) * (np.mean(real) - luck) / (1.0 - luck), chance, 1.0))


def worst(attacks: Mapping[str, float], classes: int) -> float | None:
    """The best attack; None if there was nothing to attack."""
    return max(1.0 / classes, *attacks.values()) if attacks else None


def exposure(method: str, hosts: int, shares: int) -> tuple[str, ...]:
    """What a host learns in this mode, in words. Never claim more than this."""
    seen = "the texts you send, in an order that is secret and says nothing"
    if method == "frozen":
        return (seen, "the backbone's own activations of them; no gradient and no adapter of yours")
    common = (
        seen,
        "the adapter values of every step, and the activations it computes with them",
        "the gradient of a step, as far as two consecutive adapter values and a guess of the optimizer give it away",
    )
    never = "never: labels, losses, metrics, head, mixing weights, alpha"
    if method == "lora" or shares == 1:
        return (*common, "the gradient of every row in clear, which is the label in all but name", never)
    if hosts == 1:
        return (*common, "all shares of each gradient; added up rightly they are the gradient, so use two hosts", never)
    return (*common, "one share of each gradient, which alone is noise; hosts that collude have the gradient", never)


def _batch_scorer(x: F32, classes: int) -> Callable[[I64], float]:
    if classes == 2:
        ranks = np.asarray(rankdata(principal_scores(x)), dtype=np.float64)
        return lambda y: _auc_of_ranks(y, ranks)
    found = KMeans(n_clusters=classes, n_init=4, random_state=SEED).fit(x).labels_

    def hits(y: I64) -> float:
        counts = np.zeros((classes, classes))
        np.add.at(counts, (found, y), 1)
        rows, columns = linear_sum_assignment(-counts)
        return float(counts[rows, columns].sum() / len(y))

    return hits


def _streams(table: Mapping[tuple[int, int], F32]) -> dict[str, F32]:
    named = {f"set{i}.share{j}": tensor for (i, j), tensor in table.items()}
    for i in sorted({i for i, _ in table}):
        together = [tensor for (k, _), tensor in sorted(table.items()) if k == i]
        if len(together) > 1:
            named[f"set{i}.combined"] = combine_shares(together)
    return named


def _either_way(labels: I64, scores: AnyArray) -> float:
    return _auc_of_ranks(labels, np.asarray(rankdata(scores), dtype=np.float64))


def _auc_of_ranks(labels: I64, ranks: F64) -> float:
    """The Mann-Whitney form of the area under the ROC curve, the better way round."""
    positive = labels == 1
    hits = int(positive.sum())
    area = float(ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(labels) - hits))
    return max(area, 1.0 - area)


def _sample(x: AnyArray, labels: I64) -> tuple[AnyArray, I64]:
    if len(labels) <= MAX_ROWS:
        return x, labels
    rows = np.random.Generator(np.random.PCG64(SEED)).choice(len(labels), MAX_ROWS, replace=False)
    return x[rows], labels[rows]


def sample_rows(count: int, limit: int = MAX_ROWS) -> I64:
    """At most `limit` of `count` rows, in order, always the same ones."""
    if count <= limit:
        return np.arange(count)
    chosen: Iterable[int] = np.random.Generator(np.random.PCG64(SEED)).choice(count, limit, replace=False)
    return np.array(sorted(chosen), dtype=np.int64)
