"""What the shape of the sent tensors gives away, whatever their values: zeros, repeats, rank, lengths.

Owns: those facts for each share, and whether they follow the label. Must never: use a label but for scoring. A gradient
that a label holder clips, thresholds or copies says something by that alone: a row of exact zeros is a row whose loss
is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32, F64, I64
from .evidence import Support
from .score import Guess

TIER, KIND = 0, "support"
SEES = "the host looks at which entries are zero, which rows repeat, and how long a row is among those of its step"
RESOLUTION = 1e-6
"""Singular values below this part of the largest count as zero."""
RANKED_STEPS = 8


def support_of(name: str, steps: Sequence[F32]) -> Support:
    """The facts of one share [B, D] in every step."""
    flat = [step.reshape(len(step), -1) for step in steps]
    zeros = float(np.mean([np.mean(x == 0) for x in flat]))
    repeats = float(np.concatenate([_repeated(x) for x in flat]).mean())
    ranks = [int(np.linalg.matrix_rank(x, tol=RESOLUTION * np.linalg.norm(x, 2))) for x in flat[-RANKED_STEPS:]]
    ratios = [float(r.max()) for x in flat if (r := _lengths(x)).size]
    return Support(name, zeros, repeats, (min(ranks), max(ranks)), max(map(len, flat)), float(np.mean(ratios)))


def guesses(name: str, steps: Sequence[F32], rows: Sequence[I64]) -> list[Guess]:
    """The same facts row by row, as guesses of the label: lengths always, zeros and repeats where there are any."""
    flat, where = [step.reshape(len(step), -1) for step in steps], np.concatenate(rows)
    facts = {
        "length": np.concatenate([_lengths(x) for x in flat]),
        "zeros": np.concatenate([np.mean(x == 0, axis=1) for x in flat]),
        "repeats": np.concatenate([_repeated(x) for x in flat]),
    }
    varying = {fact: values for fact, values in facts.items() if np.ptp(values) > 0}
    return [
        Guess(TIER, KIND, f"{name}/{fact}", SEES, scores=values[:, None], rows=where)
        for fact, values in varying.items()
    ]


def _lengths(x: F32) -> F64:
    """Lengths [B] over the median one: the secret size of a share falls out."""
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    middle = float(np.median(lengths))
    return np.asarray(lengths / middle if middle > 0 else np.zeros(len(lengths)))


def _repeated(x: F32) -> F64:
    """1 for each row that another row of x [B, D] equals, else 0."""
    _, index, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    return np.asarray((counts[index.ravel()] > 1).astype(np.float64))
