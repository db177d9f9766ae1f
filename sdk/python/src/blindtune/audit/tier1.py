"""Tier 1: unsupervised attacks over every view of the activations.

Owns: first principal and generalized components, independent components picked by kurtosis, k-means on both, and the
oracle versions, where the true labels pick the component. Must never: use a label. A label splits the rows in two
heaps, so along its direction the kurtosis is low: that is how a component is picked without knowing labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from scipy.stats import kurtosis
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from ..arrays import F64
from .score import Guess, attack_seed
from .tier0 import clusters_of
from .views import COMPONENTS, View, generalized

SEES = "the host combines what it computed for each row, compares it with the bare backbone, and knows no label"
ORACLE = "somebody who knows the labels tells the host which of ten components to look at: an upper bound"


def guesses(view: View, whitening: F64 | None, classes: int, quick: bool = False) -> Iterator[Guess]:
    """The attacks on one view. `whitening` is that of the bare backbone (views.py), where it was sent. `quick` leaves
    out the independent components and the oracles."""
    few = 1 if classes == 2 else classes
    spaces = {"pc": view.components}
    if whitening is not None:
        spaces["generalized-pc"] = generalized(view, whitening)
    for space, z in spaces.items():
        name = f"{view.name}/{space}"
        yield Guess(1, view.kind, f"{name}1", SEES, scores=z[:, :few])
        if quick:
            continue
        yield Guess(1, view.kind, f"{name}-kmeans", SEES, clusters=clusters_of(z, classes))
        yield Guess(1, view.kind, f"{name}-any", ORACLE, scores=z, oracle=True)
        sources = independent(z)
        if sources is None:
            continue
        flattest = np.argsort(kurtosis(sources), kind="stable")
        ica = f"{view.name}/{'ica' if space == 'pc' else 'generalized-ica'}"
        yield Guess(1, view.kind, ica, SEES, scores=sources[:, flattest[:few]])
        yield Guess(1, view.kind, f"{ica}-kmeans", SEES, clusters=clusters_of(sources[:, flattest[:few]], classes))
        yield Guess(1, view.kind, f"{ica}-any", ORACLE, scores=sources, oracle=True)


def independent(z: F64, count: int = COMPONENTS) -> F64 | None:
    """Independent components [N, K] of z [N, D], K <= count; None where z has no two directions that vary."""
    scale: F64 = z.std(axis=0)
    alive = scale > 1e-9 * scale.max(initial=np.finfo(np.float64).tiny)
    if alive.sum() < 2:
        return None
    kept = z[:, alive] / scale[alive]
    ica = FastICA(
        min(count, kept.shape[1]),
        fun=log_cosh,
        random_state=attack_seed(),
        max_iter=300,
        tol=1e-3,
        whiten="unit-variance",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(ica.fit_transform(kept), dtype=np.float64)


def log_cosh(sources: F64) -> tuple[F64, F64]:
    """The first derivative of log cosh [K, N], and the means of the second [K], as scikit-learn's "logcosh" has them.

    Its own takes the means row by row, which is most of what FastICA costs on the few rows of an audit.
    """
    slopes: F64 = np.tanh(sources, sources)
    curvatures: F64 = 1.0 - np.einsum("kn,kn->k", slopes, slopes) / slopes.shape[1]
    return slopes, curvatures
