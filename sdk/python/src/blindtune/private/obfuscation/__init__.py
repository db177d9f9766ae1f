"""Ways to hide a gradient while it travels: shares over several hosts, decoys on one, or nothing.

Owns: the choice among them. Must never: send what undoes one of them; see base.py for the interface.
"""

from .base import Context, Obfuscation, Statement
from .decoys import Decoys, plausible_labels
from .gaussian import GaussianShares
from .plain import Plain
from .shares import Obfuscated

OBFUSCATIONS = ("shares", "decoys", "plain")

__all__ = [
    "OBFUSCATIONS",
    "Context",
    "Decoys",
    "GaussianShares",
    "Obfuscated",
    "Obfuscation",
    "Plain",
    "Statement",
    "make_obfuscation",
    "plausible_labels",
]


def make_obfuscation(kind: str, tensors: int, noise_scale: float) -> Obfuscation:
    """The obfuscation named `kind` that sends `tensors` tensors for each gradient; the scale is for shares only."""
    if kind == "shares":
        return GaussianShares(tensors, noise_scale)
    if kind == "decoys":
        return Decoys(tensors - 1)
    if kind == "plain":
        return Plain()
    raise ValueError(f"obfuscation must be one of {', '.join(OBFUSCATIONS)}, not {kind!r}")
