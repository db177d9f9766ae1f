"""LEA, label enumeration: all labellings of a few rows are tried against the gradient that the host was sent.

Owns: the search. Must never: use a label, or take more rows at once than can be enumerated. Two classes.

Under a surrogate head with probabilities p the gradient of a group of rows is (p - y) v^T for some v. For every
labelling y the best v is (p - y)^T g, and what it explains of g is its length. The surrogate here is the prior,
p = 1/2: more is not known without labels. The groups of one step are turned the same way by their v.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..arrays import F32, F64
from .recombine import left_vectors

ROWS, QUICK_ROWS = 4096, 640
"""Of the last rows, so many."""
GROUP = 8
"""Rows whose labels are tried together: 128 labellings, since a labelling and its opposite explain the same."""


def label_scores(gradient: F32, group: int = GROUP) -> F64:
    """For one step's tensor [B, D]: scores [B, 1] whose signs are the likeliest labels, up to a swap of the classes.

    The size of a score is by how much the labelling would be worse with this row's label turned.
    """
    g = gradient.reshape(len(gradient), -1).astype(np.float64)
    right = g.T @ left_vectors(g, 1)[:, 0]
    scores = np.concatenate([_of_group(g[at : at + group], right) for at in range(0, len(g), group)])
    return np.asarray(scores[:, None])


def _of_group(g: F64, right: F64) -> F64:
    signs = _labellings(len(g))
    explained = np.linalg.norm(signs @ g, axis=1)
    best = signs[int(explained.argmax())]
    turned = best * (1.0 - 2.0 * np.eye(len(g)))
    margins = explained.max() - np.linalg.norm(turned @ g, axis=1)
    side = 1.0 if float((best @ g) @ right) >= 0 else -1.0
    return np.asarray(side * best * np.maximum(margins, 0.0))


@cache
def _labellings(rows: int) -> F64:
    """All [2^(rows - 1), rows] labellings as signs, the first row's being +1."""
    bits = (np.arange(2 ** (rows - 1))[:, None] >> np.arange(rows)) & 1
    return np.asarray(1.0 - 2.0 * np.roll(bits, 1, axis=1))
