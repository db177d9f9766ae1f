"""Distance correlation between activations and labels, to be minimized: the baseline DC.

Owns: its logarithm and the exact gradient. Must never: see a batch that lacks a class, where it is undefined. Source:
`dc_regularizing_loss` of the P3EFT authors (the log of dCov^2 / sqrt(dVar_a^2 dVar_y^2), the label numbers taken as
points on a line); Szekely et al. 2007, arXiv 0803.4101.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from ...arrays import F32, F64, I64

SMALLEST = 1e-12


def distance_correlation_loss(a: F32, labels: I64) -> tuple[float, F64] | None:
    """log dCor^2 of a [B, H] with labels [B], and its gradient [B, H]; None where it is not defined.

    With A and Y the centred distance matrices, log <A, Y> - log <A, A> / 2 - log <Y, Y> / 2.
    """
    x = a.astype(np.float64)
    distances = cdist(x, x)
    apart, labels_apart = _centred(distances), _centred(np.abs(np.subtract.outer(labels, labels)).astype(np.float64))
    cross, own, of_labels = np.sum(apart * labels_apart), np.sum(apart * apart), np.sum(labels_apart * labels_apart)
    if min(own, of_labels) <= SMALLEST or cross <= SMALLEST * np.sqrt(own * of_labels):
        return None
    by_distance = labels_apart / cross - apart / own
    pull = np.divide(2.0 * by_distance, distances, out=np.zeros_like(distances), where=distances > 0)
    gradient = pull.sum(axis=1, keepdims=True) * x - pull @ x
    return float(np.log(cross / np.sqrt(own * of_labels))), gradient


def _centred(distances: F64) -> F64:
    """Rows and columns of mean zero."""
    rows, columns = distances.mean(axis=0, keepdims=True), distances.mean(axis=1, keepdims=True)
    return np.asarray(distances - rows - columns + distances.mean())
