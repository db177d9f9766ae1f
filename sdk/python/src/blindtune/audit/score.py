"""Scores what an attack guessed against the labels, which the attack never saw.

Owns: area under the ROC curve, best-permutation accuracy, bootstrap intervals, the label-shuffled control. Must never:
be used inside an attack. All scores lie in [1/C, 1]: 1/C is chance for C classes, 1 is all. With two classes a score
is max(AUC, 1 - AUC). With more, every class is matched to one component (the best matching), and the mean one-vs-rest
AUC is stretched from [1/2, 1] to [1/C, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..arrays import F64, I64, AnyArray
from .report import Finding

SEED = 0
_RESTART: ContextVar[int] = ContextVar("restart", default=0)
RESAMPLES = 200
SHUFFLES = 8
LEVEL = 0.95


@contextmanager
def restarted(number: int) -> Iterator[None]:
    """Attacks that begin at random do so elsewhere within: the `number`-th start, 0 being the usual one."""
    token = _RESTART.set(number)
    try:
        yield
    finally:
        _RESTART.reset(token)


def attack_seed() -> int:
    """The seed of attacks that begin at random; scoring has seeds of its own, the same under every restart."""
    return SEED + 1000 * _RESTART.get()


@dataclass(frozen=True)
class Guess:
    """What an attack says about N rows, without labels.

    Either `scores` [N, K], one column per component, or `clusters` [N]. With `batches` [N] the guess means something
    only within one batch, as when the sign of a gradient is secret. `rows` [N] index the labels; None: all in order.
    An `oracle` guess has more columns than it could choose from: scoring picks with the labels, an upper bound.
    """

    tier: int
    kind: str
    attack: str
    assumption: str
    scores: F64 | None = None
    clusters: I64 | None = None
    batches: I64 | None = None
    rows: I64 | None = None
    oracle: bool = False


@dataclass(frozen=True)
class _Scored:
    score: float
    low: float
    high: float
    control: float
    raw: float


def evaluate(guess: Guess, labels: I64, classes: int, resamples: int = RESAMPLES) -> Finding | None:
    """Score a guess; None where the labels of its rows lack a class. Without `resamples`, low = high = score."""
    mine = labels if guess.rows is None else labels[guess.rows]
    if len(np.unique(mine)) < classes:
        return None
    if guess.batches is not None:
        scored = _by_batch(guess, mine, classes, resamples)
    elif guess.clusters is not None:
        scored = _clusters(guess.clusters, mine, classes, resamples)
    else:
        scored = _components(_columns(guess), mine, classes, resamples)
    if scored is None:
        return None
    clustered = guess.clusters is not None
    return Finding(
        tier=guess.tier,
        kind=guess.kind,
        attack=guess.attack,
        score=scored.score,
        auc=None if clustered else scored.raw,
        accuracy=scored.raw if clustered else None,
        low=scored.low,
        high=scored.high,
        control=scored.control,
        excess=None,
        picked_with_labels=guess.oracle,
        assumption=guess.assumption,
    )


def as_classes(labels: AnyArray, classes: int) -> tuple[I64, int]:
    """Labels to score against: a regression's values become "above the median", two classes."""
    if np.issubdtype(labels.dtype, np.floating):
        return (labels > np.median(labels)).astype(np.int64), 2
    return labels.astype(np.int64), classes


def areas(scores: F64, positive: F64, negative: F64) -> F64:
    """AUC [R] of scores [N] for R weightings at once: `positive` and `negative` [R, N] are the weights of each row in
    its class. Ties count as halves; 1/2 where a class is empty."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    p, n = positive[:, order], negative[:, order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    if len(starts) < len(ordered):
        p, n = np.add.reduceat(p, starts, axis=1), np.add.reduceat(n, starts, axis=1)
    below = np.cumsum(n, axis=1) - n / 2
    total = p.sum(axis=1) * n.sum(axis=1)
    hits = np.einsum("rn,rn->r", p, below)
    return np.asarray(np.where(total > 0, hits / np.where(total > 0, total, 1.0), 0.5))


def stretch(area: float, classes: int) -> float:
    """From [1/2, 1] to [1/C, 1]; the identity for two classes."""
    return 1.0 / classes + (1.0 - 1.0 / classes) * (2.0 * area - 1.0)


def best_permutation(clusters: I64, labels: I64, classes: int) -> tuple[float, I64]:
    """Accuracy when the clusters are named as well as can be, and the name of each cluster."""
    counts = np.zeros((max(classes, int(clusters.max()) + 1), classes))
    np.add.at(counts, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(-counts)
    names = np.full(len(counts), -1, dtype=np.int64)
    names[rows] = columns
    return float(counts[rows, columns].sum() / len(labels)), names


@lru_cache(maxsize=16)
def bootstrap_counts(rows: int, resamples: int) -> F64:
    """How often each row is drawn, [resamples, rows]; always the same draws."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    drawn = generator.integers(0, rows, (resamples, rows)) + rows * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * resamples).reshape(resamples, rows)
    return counts.astype(np.float64)


def shuffled(labels: I64, times: int = SHUFFLES) -> I64:
    """The labels in `times` random orders, [times, N]; always the same orders."""
    generator = np.random.Generator(np.random.PCG64(SEED + 1))
    return np.stack([generator.permutation(labels) for _ in range(times)])


def interval(samples: F64, point: float, classes: int) -> tuple[float, float]:
    """The middle 95 % of bootstrap samples, kept within [1/C, 1]; the point itself without samples."""
    if not len(samples):
        return point, point
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.clip(low, 1 / classes, 1)), float(np.clip(high, 1 / classes, 1))


def _columns(guess: Guess) -> F64:
    assert guess.scores is not None
    return guess.scores if guess.scores.ndim == 2 else guess.scores[:, None]


def _components(columns: F64, labels: I64, classes: int, resamples: int) -> _Scored:
    """AUC of a matching of classes to columns. The bootstrap keeps the matching; every shuffle makes its own."""
    counts = bootstrap_counts(len(labels), resamples)
    others = shuffled(labels)
    wanted = [1] if classes == 2 else range(classes)
    table = np.empty((1 + len(counts) + len(others), len(wanted), columns.shape[1]))
    for at, label in enumerate(wanted):
        hit = (labels == label).astype(np.float64)
        positive = np.concatenate([hit[None], counts * hit, others == label])
        negative = np.concatenate([1 - hit[None], counts * (1 - hit), others != label])
        for k in range(columns.shape[1]):
            table[:, at, k] = areas(columns[:, k], positive, negative)
    folded = np.maximum(table, 1 - table)
    rows, chosen = linear_sum_assignment(-folded[0])
    sign = np.where(table[0, rows, chosen] >= 0.5, 1.0, -1.0)
    kept = 0.5 + sign * (table[:, rows, chosen] - 0.5)
    score = stretch(float(kept[0].mean()), classes)
    luck = [_matched(folded[at]) for at in range(1 + len(counts), len(table))]
    samples = 1 / classes + (1 - 1 / classes) * (2 * kept[1 : 1 + len(counts)].mean(axis=1) - 1)
    low, high = interval(samples, score, classes)
    return _Scored(score, low, high, stretch(float(np.mean(luck)), classes), float(kept[0].mean()))


def _matched(folded: F64) -> float:
    rows, columns = linear_sum_assignment(-folded)
    return float(folded[rows, columns].mean())


def _clusters(clusters: I64, labels: I64, classes: int, resamples: int) -> _Scored:
    accuracy, names = best_permutation(clusters, labels, classes)
    hits = (names[clusters] == labels).astype(np.float64)
    samples = bootstrap_counts(len(labels), resamples) @ hits / len(labels)
    control = float(np.mean([best_permutation(clusters, other, classes)[0] for other in shuffled(labels)]))
    score = max(accuracy, 1 / classes)
    low, high = interval(samples, score, classes)
    return _Scored(score, low, high, max(control, 1 / classes), accuracy)


def _by_batch(guess: Guess, labels: I64, classes: int, resamples: int) -> _Scored | None:
    """Score each batch the better way round and average, corrected for what shuffled labels give.

    On few rows the better way round is above chance by luck; the correction maps luck to 1/C and certainty to 1.
    """
    assert guess.batches is not None
    real, lucky = [], []
    for batch in np.unique(guess.batches):
        mine = guess.batches == batch
        if len(np.unique(labels[mine])) < classes:
            continue
        scores = _batch_scores(guess, mine, labels[mine], classes)
        real.append(scores[0])
        lucky.append(scores[1:])
    if not real:
        return None
    hits, luck = np.asarray(real), np.stack(lucky)
    score = _corrected(hits.mean(), luck.mean(), classes)
    draws = bootstrap_counts(len(hits), resamples) @ hits / len(hits)
    low, high = interval(np.array([_corrected(d, luck.mean(), classes) for d in draws]), score, classes)
    controls = [_corrected(luck[:, k].mean(), np.delete(luck, k, 1).mean(), classes) for k in range(luck.shape[1])]
    return _Scored(score, low, high, float(np.mean(controls)), float(hits.mean()))


def _batch_scores(guess: Guess, mine: AnyArray, labels: I64, classes: int) -> F64:
    """The score of one batch for the true labels and for each shuffle, [1 + SHUFFLES]."""
    everyone = np.concatenate([labels[None], shuffled(labels)])
    if guess.clusters is not None:
        return np.array([best_permutation(guess.clusters[mine], y, classes)[0] for y in everyone])
    columns = _columns(guess)[mine]
    wanted = [1] if classes == 2 else range(classes)
    table = np.empty((len(everyone), len(wanted), columns.shape[1]))
    for at, label in enumerate(wanted):
        positive = (everyone == label).astype(np.float64)
        for k in range(columns.shape[1]):
            table[:, at, k] = areas(columns[:, k], positive, 1 - positive)
    return np.array([stretch(_matched(folded), classes) for folded in np.maximum(table, 1 - table)])


def _corrected(hit: float, luck: float, classes: int) -> float:
    chance = 1.0 / classes
    if luck >= 1.0:
        return chance
    return float(np.clip(chance + (1.0 - chance) * (hit - luck) / (1.0 - luck), chance, 1.0))
