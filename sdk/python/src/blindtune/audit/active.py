"""An active host: it answers with activations that it made up, and reads the labels off the gradients that come back.

Owns: what such a host answers, and how it reads the response. Must never: be run against a host; the label holder's
own step is asked what it would send (training/run_audit.py), and nothing is sent.

Where all rows of a batch have the same activations, the head is equally sure of all of them, and all that still tells
two rows of a plain gradient apart is their label: it takes exactly C values. Hosts that run the same sets are compared
with each other in training, so that one host alone cannot do this unnoticed; a single host can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32, F64, I64
from .score import SEED, Guess
from .tier0 import clusters_of
from .views import leading

TIER, KIND = 2, "active"
SPREAD = 1e-3
"""What is left of the differences between rows, so that nothing at home divides by zero."""
ASSUMPTION = "the host breaks the protocol: it answers with the same activations for every row of a batch"


def same_for_all(activations: Sequence[F32]) -> list[F32]:
    """h_i [B, H] of every set, all rows moved onto their mean but for a thousandth of their difference from it."""
    means = [h.mean(axis=0, keepdims=True) for h in activations]
    return [np.asarray(m + SPREAD * (h - m), dtype=np.float32) for h, m in zip(activations, means, strict=True)]


def guess(name: str, responses: Sequence[F32], rows: Sequence[I64], classes: int) -> Guess:
    """What the host reads off its tensor [B, D] of each batch: the direction in which the rows differ most."""
    batches = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    found = [leading(x.reshape(len(x), -1), max(1, classes - 1)) for x in responses]
    where = np.concatenate(rows)
    if classes == 2:
        return Guess(TIER, KIND, name, ASSUMPTION, np.concatenate(found), batches=batches, rows=where)
    clusters = np.concatenate([clusters_of(_directions(x), classes, 4) for x in found])
    return Guess(TIER, KIND, name, ASSUMPTION, clusters=clusters, batches=batches, rows=where)


def batches_of(rows: int, size: int, most: int) -> list[I64]:
    """At most `most` batches of `size` rows each, drawn without repeats; always the same ones."""
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(rows)
    count = max(1, min(most, rows // max(1, size)))
    return [np.sort(order[k * size : (k + 1) * size]) for k in range(count)]


def _directions(x: F64) -> F64:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
