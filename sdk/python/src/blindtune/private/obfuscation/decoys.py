"""Hides a gradient among gradients of other labellings, for when one host gets everything.

Owns: the secret mixing matrix and the other labellings. Must never: draw a labelling anew for each epoch, since rows
that come back would tell the constant one from the changing ones.

dL/dh has rank one or nearly so, and noise does not: the mix of lowest rank would be found at once. So what is mixed in
has the same structure: the gradient of the same rows, had their labels been others and the model as sure of those. The
host gets s = Q [g, d_1 .. d_k] with Q orthogonal, drawn anew for every step and set; no s_j is one of them.

What this does not do: the host can separate the k + 1 candidates again (k binary sources are easy), and then it knows
that one of k + 1 labellings is the true one. Which one, the next adapter values tell, since only g moves them; and
where text alone predicts labels, so does that. The other labellings follow the words of the texts, as a real task does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import F32, F64, I64
from ...data import Text
from ...rounding import expected_kappa, gradient_error
from ..secret import SecretStream
from .base import Context, Statement
from .shares import Obfuscated, relative_kappa


@dataclass(frozen=True)
class Decoys:
    """`count` decoys for each gradient, hence `count + 1` tensors."""

    count: int = 3
    name: str = "decoys"

    def obfuscate(self, gradient: F32, context: Context) -> Obfuscated:
        """Mix it with decoys of its own norm. `context.plausible` is needed."""
        if context.plausible is None:
            raise ValueError("decoys need the gradients of other labellings (Context.plausible)")
        exact = gradient.astype(np.float64)
        norm = float(np.linalg.norm(exact))
        sources = [exact, *(_of_norm(context.plausible(k), norm) for k in range(self.count))]
        mixing = orthogonal(self.count + 1, context.secret, context.name)
        mixed = np.tensordot(mixing, np.stack(sources), axes=1).astype(np.float32)
        weights = tuple(float(w) for w in mixing[:, 0])
        return Obfuscated(tuple(mixed), relative_kappa(weights, tuple(mixed), norm), weights)

    def statement(self, hosts: int, precision: str = "float32") -> Statement:  # noqa: ARG002
        """Kappa is at most the number of tensors: this is the obfuscation for a backbone in low precision."""
        kappa = expected_kappa(self.name, self.count + 1)
        host_can = (
            f"separate the {self.count + 1} candidate gradients, and tell the true one by the adapter values that "
            "follow from it; before that it has that many labellings to choose from"
        )
        error = gradient_error(kappa, precision)
        return Statement(self.name, self.count + 1, kappa, float(np.sqrt(self.count)), host_can, "bfloat16", error)


def orthogonal(size: int, secret: SecretStream, name: tuple[str | int, ...]) -> F64:
    """A random orthogonal matrix [size, size], uniform (Haar): QR of normal numbers, signs made unique."""
    q, r = np.linalg.qr(secret.normal((size, size), "decoy-mixing", *name))
    return np.asarray(q * np.sign(np.diagonal(r)))


def plausible_labels(texts: Sequence[Text], labels: I64, count: int, secret: SecretStream) -> tuple[I64, ...]:
    """`count` other labellings [N] of the same texts, with the same share of every class.

    Each word has a secret weight; texts are ranked by the sum over their words, and the labels are dealt out along
    that ranking. So a decoy's labels can be told from words, and are as often each class as the true ones.
    """
    weights: dict[str, F64] = {}
    scores = np.zeros((len(texts), count))
    for row, text in enumerate(texts):
        words = (text if isinstance(text, str) else " ".join(text)).lower().split()
        for word in words:
            if word not in weights:
                weights[word] = secret.normal((count,), "decoy-word", word)
            scores[row] += weights[word]
        scores[row] /= np.sqrt(max(1, len(words)))
    found = []
    for k in range(count):
        other = np.empty_like(labels)
        other[np.argsort(scores[:, k], kind="stable")] = np.sort(labels)
        found.append(other)
    return tuple(found)


def _of_norm(decoy: F32, norm: float) -> F64:
    length = float(np.linalg.norm(decoy.astype(np.float64)))
    return np.asarray(decoy.astype(np.float64) * (norm / length if length else 0.0))
