"""Which vectors stand for a text where not every token is asked for.

Owns: that choice, by the family of the backbone. Must never: ask for anything that depends on a text.
"""

from __future__ import annotations

from ..client import Client
from .bounds import described

GATHERED_LAST = ("last", "eos")
"""Cuts of families in which a token sees only those before it, or whose last token is made to stand for the text."""


def picks_of(client: Client, model: str) -> tuple[str, ...]:
    """The token in which the family gathers a text (the first, or the last), the largest values, and the mean."""
    cut = described(client, model)[0]["default_pooling"]
    return ("last" if cut in GATHERED_LAST else "cls", "max", "mean")
