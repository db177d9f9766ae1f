"""PSLF: adapters learn flipped labels of many classes, and only the head at home learns the true ones.

Owns: the pseudo labels and the head that learns them. Must never: let the true labels reach the adapters. Source:
`ModelPSLF` and the pseudo labels of `utils_data.py` in the P3EFT authors' code, after Wan et al., "PSLF" (CIKM 2023).
Each label is flipped once with probability 1 / (e^eps + 1), and the flipped label is then one of K pseudo labels at
random, of which each class has its share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import F32, I64
from .heads import Head, cross_entropy
from .label_privacy import flip_probability
from .secret import SecretStream


@dataclass
class PseudoHead:
    """The head of K outputs whose loss trains the adapters."""

    head: Head

    def step(self, h: F32, pseudo: I64) -> tuple[float, F32, F32, list[F32]]:
        """Loss on pseudo labels [B], its gradients by logits [B, K] and by h [B, H], and those of the parameters."""
        loss, dlogits = cross_entropy(self.head.forward(h), pseudo)
        dh, gradients = self.head.backward(h, dlogits)
        return loss, dlogits, dh, gradients


def draw_pseudo_labels(labels: I64, epsilon: float, count: int, secret: SecretStream) -> I64:
    """Pseudo labels [N] below `count` for two classes, once for each row.

    Class 0 has the first ones, as many as its share of the rows is of `count`, and each class has at least one.
    """
    positive = min(max(round(float(labels.mean()) * count), 1), count - 1)
    negative = count - positive
    flips = secret.uniform(len(labels), "pseudo-flip") < flip_probability(epsilon, 2)
    flipped = np.where(flips, 1 - labels, labels)
    at = secret.uniform(len(labels), "pseudo-label")
    return np.where(flipped == 0, np.floor(at * negative), negative + np.floor(at * positive)).astype(np.int64)
