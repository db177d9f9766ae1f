"""Tier 0: the attacks of the P3EFT authors (`activations_privacy_leak`).

Owns: k-means accuracy, spectral AUC and norm AUC on activations, shifts and single tensors as sent. Must never: use a
label other than to score.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ..arrays import F32, F64, I64, AnyArray
from .score import SEED, Guess, areas, attack_seed, best_permutation, evaluate
from .views import View, leading, views

MAX_ROWS = 2000
SEES = "the host looks at the tensors it computed or was sent, and knows no label"


def clusters_of(x: AnyArray, classes: int, starts: int = 10) -> I64:
    """k-means clusters [N] of x [N, D]; one cluster where all rows are the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(n_clusters=classes, n_init=starts, random_state=attack_seed()).fit(x).labels_
    return np.asarray(found, dtype=np.int64)


def kmeans_accuracy(x: AnyArray, labels: I64, classes: int) -> float:
    """Cluster x [N, H] into `classes`, name the clusters as well as can be, and count the hits."""
    return best_permutation(clusters_of(x, classes), labels, classes)[0]


def spectral_auc(x: AnyArray, labels: I64) -> float:
    """AUC of the first principal component of x [N, H], either way round. Two classes."""
    return _either_way(labels, principal_scores(x))


def norm_auc(x: AnyArray, labels: I64) -> float:
    """AUC of the length of each row of x [N, H], either way round. Two classes."""
    return _either_way(labels, row_norms(x))


def row_norms(x: AnyArray) -> F64:
    """The length [N] of each row of x [N, H]."""
    return np.asarray(np.linalg.norm(x.astype(np.float64), axis=1))


def principal_scores(x: AnyArray) -> F64:
    """Scores [N] along the first principal component of x [N, H]."""
    return leading(x, 1)[:, 0]


def attack(x: AnyArray, labels: I64, classes: int) -> dict[str, float]:
    """All attacks on one tensor [N, H]. More than two classes: k-means only, as the authors do."""
    rows = sample_rows(len(labels))
    view = View("", "", x[rows].astype(np.float64))
    if len(rows) < classes:
        return {}
    findings = (evaluate(guess, labels[rows], classes, resamples=0) for guess in guesses(view, classes))
    return {f.attack: f.score for f in findings if f is not None}


def guesses(view: View, classes: int, quick: bool = False) -> list[Guess]:
    """The authors' attacks on one view; named `{view}/kmeans` and so on. Quick: k-means on the top components only."""
    prefix = f"{view.name}/" if view.name else ""
    seen = view.components if quick else view.values
    clusters = clusters_of(seen, classes, 1 if quick else 10)
    found = [Guess(0, view.kind, f"{prefix}kmeans", SEES, clusters=clusters)]
    if classes == 2:
        spectral = seen[:, 0] if quick else principal_scores(view.values)
        found.append(Guess(0, view.kind, f"{prefix}spectral", SEES, scores=spectral))
        found.append(Guess(0, view.kind, f"{prefix}norm", SEES, scores=row_norms(view.values)))
    return found


def activation_attacks(
    activations: Sequence[F32], base: F32 | None, labels: I64, classes: int
) -> dict[str, dict[str, float]]:
    """Attacks on h_i, on h_i - h_base and on h_i - h_j, by kind and name. All are [N, H]."""
    found: dict[str, dict[str, float]] = {"activations": {}, "shifts": {}, "differences": {}}
    for view in views(activations, base):
        if view.kind in found:
            scores = attack(view.values, labels, classes)
            found[view.kind].update({f"{view.name}/{name}": score for name, score in scores.items()})
    return found


def sample_rows(count: int, limit: int = MAX_ROWS) -> I64:
    """At most `limit` of `count` rows, in order, always the same ones."""
    if count <= limit:
        return np.arange(count)
    chosen: Iterable[int] = np.random.Generator(np.random.PCG64(SEED)).choice(count, limit, replace=False)
    return np.array(sorted(chosen), dtype=np.int64)


def _either_way(labels: I64, scores: F64) -> float:
    hit = (labels == 1).astype(np.float64)[None]
    area = float(areas(scores.astype(np.float64), hit, 1 - hit)[0])
    return max(area, 1.0 - area)
