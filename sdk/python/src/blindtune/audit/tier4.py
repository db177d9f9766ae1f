"""Tier 4: attacks by somebody who knows a few labels, from a leak elsewhere or because they are guessed from texts.

Owns: logistic probes with 16 and 64 known labels, the cross-validated probe, and the same on the bare backbone. Must
never: count a row whose label was known. No split protocol hides the concept from somebody who can label texts; what
counts is the excess, over fresh rows and over the bare backbone, which anybody can run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from ..arrays import F32, F64, I64
from .report import Finding
from .score import SEED, SHUFFLES, areas, bootstrap_counts, interval, shuffled, stretch

KNOWN = (16, 64)
DRAWS = 10
FOLDS = 5
MAX_ITERATIONS = 200
FEW = "the host knows the labels of {} of these rows, and probes its activations with them"
MOST = "the host knows the labels of four rows in five; what a probe can read at all"


def probes(
    activations: Sequence[F32], base: F32 | None, labels: I64, classes: int, draws: int = DRAWS
) -> list[Finding]:
    """Probes on all h_i [N, H] and h_base side by side, and on h_base alone as the baseline; the mean of `draws`."""
    sides = {"tuned": [*activations, *([] if base is None else [base])]}
    if base is not None:
        sides["backbone"] = [base]
    found: list[Finding] = []
    for name, blocks in sides.items():
        x = _standardized(np.concatenate(blocks, axis=1))
        for known in KNOWN:
            if len(labels) >= 2 * known and known >= classes:
                attack, run = f"{name}/{known}-labels", _knowing(x, known, classes)
                found.append(_finding(run, labels, classes, attack, FEW.format(known), draws))
        if len(labels) >= 2 * FOLDS and np.bincount(labels, minlength=classes).min() >= FOLDS:
            found.append(_cross_validated(x, labels, classes, name))
    return found


def _knowing(x: F64, known: int, classes: int) -> Callable[[I64, np.random.Generator], F64]:
    """A probe that knows the labels of some rows, drawn anew each time."""

    def run(y: I64, generator: np.random.Generator) -> F64:
        rows = _draw(y, known, classes, generator)
        scores = _decisions(x[rows], y[rows], x)
        scores[rows] = np.nan
        return scores

    return run


def _cross_validated(x: F64, labels: I64, classes: int, name: str) -> Finding:
    """Every row is scored by a probe that was fitted without it."""

    def run(y: I64, _: np.random.Generator) -> F64:
        scores = np.full((len(y), 1 if classes == 2 else classes), np.nan)
        for rest, fold in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
            scores[fold] = _decisions(x[rest], y[rest], x[fold])
        return scores

    return _finding(run, labels, classes, f"{name}/cross-validated", MOST, draws=1)


def _finding(
    run: Callable[[I64, np.random.Generator], F64],
    labels: I64,
    classes: int,
    attack: str,
    assumption: str,
    draws: int,
) -> Finding:
    generator = np.random.Generator(np.random.PCG64(SEED))
    counts = bootstrap_counts(len(labels), 200)
    tables = np.stack([_areas(run(labels, generator), labels, classes, counts) for _ in range(draws)])
    ones = np.ones((1, len(labels)))
    luck = [_areas(run(y, generator), y, classes, ones)[0] for y in shuffled(labels, min(draws, SHUFFLES))]
    mean = tables.mean(axis=0)
    sign = 1.0 if mean[0] >= 0.5 else -1.0
    score, control = (stretch(0.5 + abs(float(value) - 0.5), classes) for value in (mean[0], np.mean(luck)))
    turned = 1 / classes + (1 - 1 / classes) * 2 * sign * (mean[1:] - 0.5)
    low, high = interval(turned, score, classes)
    area = 0.5 + abs(float(mean[0]) - 0.5)
    return Finding(4, "probes", attack, score, area, None, low, high, control, None, False, assumption)


def _areas(scores: F64, labels: I64, classes: int, counts: F64) -> F64:
    """Mean one-vs-rest AUC over the rows that were not known: of all of them, then of each bootstrap sample."""
    mine = ~np.isnan(scores[:, 0])
    weights = np.concatenate([np.ones((1, int(mine.sum()))), counts[:, mine]])
    found = []
    for column, label in enumerate([1] if classes == 2 else range(classes)):
        hit = (labels[mine] == label).astype(np.float64)
        found.append(areas(scores[mine, column], weights * hit, weights * (1 - hit)))
    return np.asarray(np.mean(found, axis=0))


def _decisions(x: F64, labels: I64, everything: F64) -> F64:
    """Scores [N, 1 or C] of a logistic probe fitted on x."""
    model = LogisticRegression(C=1.0, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # An attacker takes what 200 iterations give; on a few rows of a tuned backbone the optimum is far out.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, labels)
    scores = np.asarray(model.decision_function(everything), dtype=np.float64)
    return scores[:, None] if scores.ndim == 1 else scores


def _draw(labels: I64, known: int, classes: int, generator: np.random.Generator) -> I64:
    """Random rows with at least one of every class."""
    order = generator.permutation(len(labels))
    first = [int(order[np.argmax(labels[order] == label)]) for label in range(classes)]
    rest = [int(row) for row in order if int(row) not in first]
    return np.array([*first, *rest[: known - classes]], dtype=np.int64)


def _standardized(x: F32) -> F64:
    exact = x.astype(np.float64)
    scale = exact.std(axis=0)
    return np.asarray((exact - exact.mean(axis=0)) / np.where(scale > 0, scale, 1.0))
