"""The views a host can make of the activations it computed, and their leading components.

Owns: differences, shifts, means and concatenations of adapter sets; principal components; whitening against the bare
backbone. Must never: see a label. What distinguishes a tuned row from the same row before tuning is small next to
what distinguishes texts, which is why the views are also divided by the backbone's own covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..arrays import F32, F64, AnyArray

COMPONENTS = 10
RIDGE = 1e-2
"""Added to the base covariance, times its mean eigenvalue: directions the backbone never uses are not blown up."""
EXPLAINING_RIDGE = 300.0
FOLDS = 5
LEAST_ROWS = 50


@dataclass(frozen=True)
class View:
    """`values` [N, blocks * H]: what one attack looks at. `kind` is the report's."""

    name: str
    kind: str
    values: F64
    blocks: int = 1

    @cached_property
    def components(self) -> F64:
        """Scores [N, 10] along the leading principal components."""
        return leading(self.values)


def views(activations: Sequence[F32], base: F32 | None) -> list[View]:
    """Every view of h_i [N, H] and h_base [N, H].

    h{i}, shifts s{i}, differences d{i}{j}; with several sets also `concatenated`, `concatenated-shifts` and `mean`; and
    `residual`, what the bare backbone does not explain, which looks past decoys made of it (camouflage.py).
    """
    exact = [h.astype(np.float64) for h in activations]
    plain = None if base is None else base.astype(np.float64)
    found = [View(f"h{i}", "activations", h) for i, h in enumerate(exact)]
    if plain is not None:
        found += [View(f"s{i}", "shifts", h - plain) for i, h in enumerate(exact)]
    count = len(exact)
    found += [View(f"d{i}{j}", "differences", exact[i] - exact[j]) for i in range(count) for j in range(i + 1, count)]
    if count > 1:
        found.append(View("concatenated", "views", np.concatenate(exact, axis=1), count))
        if plain is not None:
            shifts = np.concatenate([h - plain for h in exact], axis=1)
            found.append(View("concatenated-shifts", "views", shifts, count))
        found.append(View("mean", "views", np.asarray(sum(exact) / count)))
    if plain is not None and len(plain) >= LEAST_ROWS:
        found.append(View("residual", "views", unexplained(np.concatenate(exact, axis=1), plain), count))
    return found


def unexplained(values: F64, base: F64) -> F64:
    """`values` [N, D] less what a ridge regression on h_base [N, H] predicts of them, fitted on other rows."""
    model = make_pipeline(StandardScaler(), Ridge(alpha=EXPLAINING_RIDGE))
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return np.asarray(values - cross_val_predict(model, base, values, cv=folds))


def leading(x: AnyArray, count: int = COMPONENTS) -> F64:
    """Scores [N, count] of x [N, D] along its first principal components, from the smaller of the two Gram matrices."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    rows, width = centred.shape
    gram = centred.T @ centred if width <= rows else centred @ centred.T
    last = len(gram)
    kept = min(count, last)
    values, vectors = eigh(gram, subset_by_index=(last - kept, last - 1))
    vectors = vectors[:, ::-1]
    if width <= rows:
        return np.asarray(centred @ vectors)
    return np.asarray(vectors * np.sqrt(np.maximum(values[::-1], 0.0)))


def whitener(base: F32) -> F64:
    """(cov(base) + ridge)^(-1/2), [H, H]."""
    centred = base.astype(np.float64) - base.mean(axis=0, dtype=np.float64)
    values, vectors = eigh(centred.T @ centred / len(centred))
    mean = float(np.mean(values)) or 1.0
    values = np.maximum(values, 0.0) + RIDGE * mean
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


def generalized(view: View, whitening: F64, count: int = COMPONENTS) -> F64:
    """Scores [N, count] along the top generalized eigenvectors of cov(view) against cov(base), block by block: the
    principal components of the whitened view."""
    rows, hidden = len(view.values), len(whitening)
    whitened = view.values.reshape(rows * view.blocks, hidden) @ whitening
    return leading(whitened.reshape(rows, view.blocks * hidden), count)
