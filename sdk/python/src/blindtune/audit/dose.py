"""Planted leaks: what each attack reads when labels of our own making are written into label-free tensors.

Owns: what is planted, and the curves. Must never: use a true label. Labels are drawn at random, so that the tensors a
host really had are free of them, whatever they tell of the true ones; then one direction for each class is added. An
attack that misses the largest dose supports no claim by reading little elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import F32, F64, I64
from . import active, assess, tier2, tier4
from .effort import Doses
from .evidence import DoseCurve
from .report import Finding
from .score import evaluate
from .tier0 import sample_rows

SEED = 7
PROBE_DRAWS = 2
TOLD_BY_TEXT = 8
"""How many features of the texts the labels planted in gradients follow: some attacks compare both."""
FIRST_CLASS = 0.3
"""What the first class gets of the size of the others, so that lengths differ by class as well."""
BASELINE = "probes/backbone/"
"""Attacks on the bare backbone, which is not sent: nothing is planted there, and they claim nothing."""

COVER = 100.0
"""Noise that cancels in the sum of all shares, over the noise that does not: what additive shares look like."""

Table = Mapping[float, Sequence[Finding]]


@dataclass(frozen=True)
class Plant:
    """A planted part of `size` times the noise, under `cover` times that noise, which cancels in a sum of shares."""

    size: float
    cover: float


def of_activations(activations: Sequence[F32], base: F32 | None, classes: int, doses: Doses) -> list[DoseCurve]:
    """Tiers 0, 1 and, where `doses` says so, 4 on h_i [N, H] and h_base."""
    rows = sample_rows(len(activations[0]), doses.rows)
    if len(rows) < max(classes, 4):
        return []
    mine, plain = [h[rows] for h in activations], None if base is None else base[rows]
    rng = np.random.Generator(np.random.PCG64(SEED))
    labels = rng.integers(0, classes, len(rows))
    directions = [_unit(rng.normal(size=(classes, h.shape[1]))) for h in mine]
    table = {}
    for size in doses.sizes:
        planted = [_planted(h, labels, v, size) for h, v in zip(mine, directions, strict=True)]
        every = doses.thorough or (size == max(doses.sizes) and len(doses.sizes) > 1)
        found = assess.unsupervised(planted, plain, labels, classes, not every)
        if every:
            found += tier4.probes(planted, plain, labels, classes, PROBE_DRAWS)
        table[size] = found
    return _curves(table, classes, len(rows))


def of_gradients(steps: Sequence[tier2.Step], host: int, classes: int, doses: Doses) -> list[DoseCurve]:
    """Tier 2 on tensors of the steps' shapes: noise, and a planted d v^T.

    Where a host holds several shares, it is planted once in each of them, and once under much larger noise that cancels
    in their sum; an attack sees what it sees in the one or the other.
    """
    some = list(steps[-doses.steps :])
    if not some:
        return []
    rng = np.random.Generator(np.random.PCG64(SEED + 1))
    labels = _labels_of(some, classes, rng)
    rows = sum(len(step.rows) for step in some)
    table = {}
    for size in doses.sizes:
        every = doses.thorough or (size == max(doses.sizes) and len(doses.sizes) > 1)
        best: dict[str, Finding] = {}
        for cover in (0.0, COVER) if _several(some) else (0.0,):
            mine = _synthetic(some, labels, classes, Plant(size, cover))
            for guess in tier2.guesses(mine, host, classes, not every):
                finding = evaluate(guess, labels, classes, 0)
                if finding is not None and (finding.name not in best or finding.score > best[finding.name].score):
                    best[finding.name] = finding
        table[size] = list(best.values())
    return _curves(table, classes, rows)


def of_active(batches: Sequence[I64], width: int, classes: int, doses: Doses) -> list[DoseCurve]:
    """The active host on tensors [B, width] of so many batches."""
    count = 1 + max(int(rows.max()) for rows in batches)
    rng = np.random.Generator(np.random.PCG64(SEED + 2))
    labels, directions = rng.integers(0, classes, count), _unit(rng.normal(size=(classes, width)))
    table = {}
    for size in doses.sizes:
        responses = [_planted(rng.normal(size=(len(r), width)), labels[r], directions, size) for r in batches]
        found = evaluate(active.guess("response", responses, batches, classes), labels, classes, 0)
        table[size] = [] if found is None else [found]
    return _curves(table, classes, sum(map(len, batches)))


def worst_of(curves: Iterable[DoseCurve]) -> tuple[DoseCurve, ...]:
    """One curve for each attack: of several hosts' or sets', the one that sees least."""
    kept: dict[str, DoseCurve] = {}
    for curve in curves:
        known = kept.get(curve.attack)
        kept[curve.attack] = curve if known is None or curve.scores[-1] < known.scores[-1] else known
    return tuple(kept.values())


def _curves(table: Table, classes: int, rows: int) -> list[DoseCurve]:
    """From findings by dose; an attack that was left out at small doses has a curve of the largest alone."""
    scores: dict[tuple[str, int], dict[float, float]] = defaultdict(dict)
    for size, found in table.items():
        for f in found:
            if not f.picked_with_labels and not f.name.startswith(BASELINE):
                scores[f.name, f.tier][size] = f.score
    return [
        DoseCurve(name, tier, tuple(sorted(mine)), tuple(mine[size] for size in sorted(mine)), rows, classes)
        for (name, tier), mine in scores.items()
    ]


def _planted(h: F32 | F64, labels: I64, directions: F64, size: float) -> F32:
    """h [N, H] with a direction for each class added, `size` times as long as h's rows from their mean."""
    exact = h.astype(np.float64)
    typical = float(np.sqrt(np.mean(np.sum((exact - exact.mean(axis=0)) ** 2, axis=1)))) or 1.0
    sizes = np.where(labels == 0, FIRST_CLASS, 1.0)[:, None]
    return np.asarray(exact + size * typical * sizes * directions[labels], dtype=np.float32)


def _labels_of(steps: Sequence[tier2.Step], classes: int, rng: np.random.Generator) -> I64:
    """Labels by row that texts tell, as far as the host has features of them; random ones otherwise."""
    count = 1 + max(int(step.rows.max()) for step in steps)
    labels = rng.integers(0, classes, count)
    weights: F64 | None = None
    for step in steps:
        if step.features is None:
            continue
        features = step.features[:, :TOLD_BY_TEXT]
        weights = rng.normal(size=(features.shape[1], classes)) if weights is None else weights
        told = features @ weights
        labels[step.rows] = (told - np.median(told, axis=0)).argmax(axis=1)
    return labels


def _several(steps: Sequence[tier2.Step]) -> bool:
    """Whether the host holds several shares of a set."""
    return len({i for i, _ in steps[0].shares}) < len(steps[0].shares)


def _synthetic(steps: Sequence[tier2.Step], labels: I64, classes: int, plant: Plant) -> list[tier2.Step]:
    """The same steps with noise for shares, and the planted part of each set in all of them."""
    rng = np.random.Generator(np.random.PCG64(SEED + 3))
    directions: dict[int, F64] = {}
    made = []
    for step in steps:
        shares: dict[tuple[int, int], F32] = {}
        for i in sorted({i for i, _ in step.shares}):
            mine = sorted(pair for pair in step.shares if pair[0] == i)
            rows, width = step.shares[mine[0]].reshape(len(step.rows), -1).shape
            directions.setdefault(i, _unit(rng.normal(size=(classes, width))) * np.sqrt(width))
            cover = rng.normal(size=(len(mine), rows, width)) * plant.cover
            noise = rng.normal(size=(len(mine), rows, width)) + cover - cover.mean(axis=0)
            y = labels[step.rows]
            strength = np.where(y == 0, FIRST_CLASS, 1.0) * (0.5 + rng.uniform(size=rows))
            planted = plant.size * strength[:, None] * directions[i][y]
            shares |= {pair: np.asarray(planted + noise[k], np.float32) for k, pair in enumerate(mine)}
        made.append(replace(step, shares=shares))
    return made


def _unit(x: F64) -> F64:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
