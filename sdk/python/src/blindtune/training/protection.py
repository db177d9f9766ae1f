"""The class of protection of a run: what is known about what its hosts can learn of the labels.

Owns: the classes, which method has which, and the words for them. Must never: call a hurdle private; it was measured,
and stronger attacks exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from .settings import Settings

Protection: TypeAlias = Literal["blind", "bounded", "hurdle", "open"]

MEANING: dict[Protection, str] = {
    "blind": "nothing that a host receives depends on a label; it learns what the texts tell anybody (proven, tested)",
    "bounded": "what a host can learn of a label is bounded by label_epsilon (proven)",
    "hurdle": "hidden as far as the audit measured; not proven, and stronger attacks exist",
    "open": "a host can read the labels from the gradients",
}


BLIND_METHODS = ("frozen", "side")


def protection(settings: Settings) -> Protection:
    """The class of a run with these settings."""
    return protection_of(settings.to_dict())


def protection_of(settings: Mapping[str, Any]) -> Protection:
    """The class of settings as a file has them; `method` and `label_epsilon` decide.

    Method auto has the weakest class that it may come to; what a run of it came to, its `Decision` says.
    """
    method = settings.get("method", "p3eft")
    if method == "auto":
        accepted: Protection = settings.get("accept", "blind")
        return accepted
    if method in BLIND_METHODS:
        return "blind"
    if settings.get("label_epsilon") is not None:
        return "bounded"
    return "open" if method == "lora" else "hurdle"


def strength(name: Protection) -> int:
    """Where a class stands, from the strongest (0) on: what tables are ordered by."""
    return list(MEANING).index(name)
