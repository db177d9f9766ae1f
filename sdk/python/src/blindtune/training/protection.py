"""The class of protection of a run: what is known about what its hosts can learn of the labels.

Owns: the classes, which method has which, and the words for them. Must never: call a hurdle private; it was measured,
and stronger attacks exist.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from .settings import Settings

Protection: TypeAlias = Literal["blind", "bounded", "hurdle", "open"]

MEANING: dict[Protection, str] = {
    "blind": "nothing that a host receives depends on a label; it learns what the texts tell anybody (proven, tested)",
    "bounded": "what a host can learn of a label is bounded by label_epsilon (proven)",
    "hurdle": "hidden as far as the audit measured; not proven, and stronger attacks exist",
    "open": "a host can read the labels from the gradients",
}


def protection(settings: Settings) -> Protection:
    """The class of a run with these settings."""
    if settings.method in ("frozen", "side"):
        return "blind"
    if settings.label_epsilon is not None:
        return "bounded"
    return "open" if settings.method == "lora" else "hurdle"
