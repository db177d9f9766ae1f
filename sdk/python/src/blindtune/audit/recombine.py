"""The algebra of recombining shares: which combination is a gradient, and what shares have in common.

Owns: shortest and lowest-rank combinations, and the directions that sets, texts or epochs agree on. Must never: use a
label. Shares are S_j = sum_k M_jk G_k with a secret M, where one G is the gradient and the others hide it (noise,
decoys). A gradient at the cut is nearly d v^T with d [B] carrying the labels, so what matters is the space of left
vectors that the shares span, and which vector in it is d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ..arrays import F32, F64, I64
from .score import attack_seed

STARTS = 24
ITERATIONS = 40
KEPT = 16
"""Left and right singular directions of the shares among which the lowest-rank combination is searched."""
RESOLUTION = 1e-12
"""Relative energy below which a combination of float32 tensors is rounding."""
RIDGE = 1e-2
WIDTHS = (12, 24, 48, 96)
"""Numbers of features of the texts among which `predictable` chooses."""


@dataclass(frozen=True)
class Mixture:
    """The shares of one gradient at one host.

    `whitened` [m, B, D] are combinations of the shares, orthonormal as long vectors and the shortest first; `left`
    [B, m + 1] spans the leading left vectors of all combinations together, orthonormal and without the mean.
    """

    whitened: F64
    left: F64

    @classmethod
    def of(cls, shares: Sequence[F32]) -> Mixture:
        """From shares [B, D]; combinations that are nothing but rounding are left out."""
        flat = np.stack([s.astype(np.float64).ravel() for s in shares])
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        values, vectors = np.linalg.eigh(flat @ flat.T)
        alive = values > RESOLUTION * values[-1]
        combined = (vectors[:, alive] / np.sqrt(values[alive])).T @ flat
        whitened = combined.reshape(-1, *shares[0].shape)
        centred = whitened - whitened.mean(axis=1, keepdims=True)
        return cls(whitened, left_vectors(np.concatenate([*centred], axis=1), len(whitened) + 1))


def combine_shares(shares: Sequence[F32]) -> F32:
    """What a host with several shares of one gradient would do: their shortest combination, up to sign and size.

    With all additive shares this is the gradient, whatever alpha is, since the noise cancels in no other combination.
    """
    flat = np.stack([s.astype(np.float64).ravel() for s in shares])
    weights = np.linalg.eigh(flat @ flat.T)[1][:, 0]
    return np.asarray((weights @ flat).reshape(shares[0].shape), dtype=np.float32)


def left_vectors(x: F64, count: int) -> F64:
    """The leading left singular vectors [B, count] of x [B, D]."""
    tall = len(x) > x.shape[1]
    gram = x.T @ x if tall else x @ x.T
    last = len(gram)
    vectors = eigh(gram, subset_by_index=(max(0, last - count), last - 1))[1][:, ::-1]
    return np.asarray(np.linalg.qr(x @ vectors)[0] if tall else vectors)


def lowest_rank(mixture: Mixture, starts: int = STARTS) -> F64:
    """The combination [B, D] with the largest share sigma_1^2 / |.|^2 in its top singular value, from many starts.

    It is the best rank-one approximation a (x) u (x) v of the whitened tensor, found by the higher-order power method
    (De Lathauwer et al. 2000); each step of it raises sigma_1. The search runs among the leading directions.
    """
    tensor = mixture.whitened
    m, rows, _ = tensor.shape
    if m == 1:
        return np.asarray(tensor[0])
    near = left_vectors(np.concatenate([*tensor], axis=1), min(KEPT, rows))
    narrow = np.einsum("bk,mbd->mkd", near, tensor)
    wide = narrow.reshape(-1, narrow.shape[2])
    right = left_vectors(wide.T, KEPT)
    small = narrow @ right
    generator = np.random.Generator(np.random.PCG64(attack_seed()))
    a = np.concatenate([np.eye(m), generator.normal(size=(starts, m))])
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    v = np.stack([np.linalg.svd(np.tensordot(c, small, 1))[2][0] for c in a])
    flat = small.reshape(m, -1)
    value = np.zeros(len(a))
    for _ in range(ITERATIONS):
        combined = (a @ flat).reshape(len(a), *small.shape[1:])
        u = _unit((combined @ v[:, :, None])[:, :, 0])
        v = _unit((u[:, None, :] @ combined)[:, 0])
        a = (u[:, :, None] * v[:, None, :]).reshape(len(a), -1) @ flat.T
        value = np.linalg.norm(a, axis=1)
        a /= np.maximum(value, np.finfo(np.float64).tiny)[:, None]
    return np.asarray(np.tensordot(a[int(value.argmax())], tensor, 1))


def shared_direction(lefts: Sequence[F64], count: int = 1) -> F64:
    """What the spaces [B, r] spanned for different adapter sets have in common: d is in all of them. [B, count]."""
    return left_vectors(np.concatenate(lefts, axis=1), count)


def predictable(bases: Sequence[F64], features: Sequence[F64], count: int = 1) -> tuple[list[F64], list[F64]]:
    """The directions within each step's space that one linear function of the texts predicts best, over all steps.

    bases[t] [B, r] orthonormal, features[t] [B, F], the most telling first. Maximises sum_t |P_t F_t w|^2 /
    sum_t |F_t w|^2 over w: the gradient's d depends on the text through the label, noise and random decoys do not. How
    many features to use is chosen by how well w fitted to half of the steps does on the others. Gives P_t F_t w
    [B, count], of one sign over all steps, and the predictions F_t w.
    """
    centred = [f - f.mean(axis=0) for f in features]
    inside = [q.T @ f for q, f in zip(bases, centred, strict=True)]
    total, explained = [f.T @ f for f in centred], [x.T @ x for x in inside]
    widths = [w for w in WIDTHS if w < features[0].shape[1]] + [features[0].shape[1]]
    width = max(widths, key=lambda w: _held_out(explained, total, w))
    weights = _most_explained(_sum(explained), _sum(total), width, count)
    inside = [x[:, :width] @ weights for x in inside]
    return [q @ x for q, x in zip(bases, inside, strict=True)], [f[:, :width] @ weights for f in centred]


def _held_out(explained: Sequence[F64], total: Sequence[F64], width: int) -> float:
    """The part of |F w|^2 that is explained in one half of the steps, with w from the other; the mean of both."""
    if len(total) < 2:
        return float(-width)
    found = []
    for first in (0, 1):
        w = _most_explained(_sum(explained[first::2]), _sum(total[first::2]), width, 1)[:, 0]
        there, whole = (_sum(x[1 - first :: 2])[:width, :width] for x in (explained, total))
        found.append(float(w @ there @ w) / max(float(w @ whole @ w), 1e-30))
    return float(np.mean(found))


def _most_explained(explained: F64, total: F64, width: int, count: int) -> F64:
    """The `count` directions w [width, count] with the largest w^T explained w / w^T total w."""
    whole = total[:width, :width]
    ridge = RIDGE * np.trace(whole) / width * np.eye(width)
    kept = min(count, width)
    pair = explained[:width, :width], whole + ridge
    return np.asarray(eigh(*pair, subset_by_index=(width - kept, width - 1))[1][:, ::-1])


def _sum(matrices: Sequence[F64]) -> F64:
    return np.asarray(np.sum(matrices, axis=0))


def consistent(bases: Sequence[F64], rows: Sequence[I64], count: int = 1) -> tuple[I64, F64] | None:
    """What the steps' spaces agree on for rows that came more than once: unique rows [U] and values [U, count].

    The top eigenvectors of sum_t E_t^T P_t E_t, normalised by how often a row came, where E_t picks the step's rows:
    labels stay what they are from epoch to epoch, noise and fresh decoys do not. None where too few rows came twice.
    """
    names, index, often = np.unique(np.concatenate(rows), return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(often > 1)
    scale = 1.0 / np.sqrt(often[repeated])
    place = np.full(len(names), -1)
    place[repeated] = np.arange(len(repeated))
    columns = []
    for q, at in zip(bases, np.split(place[index], np.cumsum([len(r) for r in rows])[:-1]), strict=True):
        kept = at >= 0
        if kept.sum() <= q.shape[1]:
            continue
        block = np.zeros((len(repeated), q.shape[1]))
        block[at[kept]] = np.linalg.qr(q[kept])[0]
        columns.append(block * scale[:, None])
    if len(repeated) <= count or not columns:
        return None
    found = left_vectors(np.concatenate(columns, axis=1), count)
    return names[repeated], found * scale[:, None]


def aligned_average(shares: Sequence[F32], rows: Sequence[I64], rounds: int = 15) -> tuple[I64, F64] | None:
    """The mean share of each row that came more than once, rows [U] and means [U, D], steps turned to agree in sign.

    A share's factor has a random sign in each step, so a plain mean cancels; a step is turned towards the mean of all
    others, over and over. None where no row came twice.
    """
    names, index, often = np.unique(np.concatenate(rows), return_inverse=True, return_counts=True)
    repeated = often > 1
    if not repeated.any():
        return None
    parts = np.split(index, np.cumsum([len(r) for r in rows])[:-1])
    tiny = float(np.finfo(np.float64).tiny)
    scaled: list[F64] = [s.astype(np.float64) / max(float(np.linalg.norm(s)), tiny) for s in shares]
    total = np.zeros((len(names), scaled[0].shape[1]))
    for share, at in zip(scaled, parts, strict=True):
        np.add.at(total, at, share)
    signs = np.ones(len(scaled))
    for _ in range(rounds):
        turned = False
        for t, (share, at) in enumerate(zip(scaled, parts, strict=True)):
            others = total[at] - signs[t] * share
            wanted = 1.0 if np.vdot(others, share) >= 0 else -1.0
            if wanted != signs[t]:
                np.add.at(total, at, (wanted - signs[t]) * share)
                signs[t], turned = wanted, True
        if not turned:
            break
    return names[repeated], total[repeated] / often[repeated, None]


def _unit(x: F64) -> F64:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny))
