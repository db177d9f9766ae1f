"""The setting `project`: how many components of each level a features job leaves, and which.

Owns: how a projection is written: text for run folders and shells, a mapping for hosts. Must never: compute one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .setting_types import SettingsError

KINDS = ("pca", "orthogonal")
FORMS = "a number above 0 like 96, pca:96, orthogonal:96 or orthogonal:96:SEED"


def written(given: Any) -> str | None:
    """A number, text or mapping as text: `pca:96`, `orthogonal:96:7`; one that makes no sense is refused."""
    if given is None:
        return None
    found = _mapped(given) if isinstance(given, Mapping) else _read(str(given))
    kind, dim, seed = found["kind"], found["dim"], found["seed"]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (dim, seed))
    if kind not in KINDS or not whole or dim < 1 or seed < 0 or (kind == "pca" and seed != 0):
        raise _refusal(given)
    return f"{kind}:{dim}" + (f":{seed}" if seed else "")


def projection(text: str | None) -> dict[str, Any] | None:
    """What `written` gave, as a host is asked for it."""
    return None if text is None else _read(text)


def _read(text: str) -> dict[str, Any]:
    words = text.split(":")
    kind, *numbers = words if words[0] in KINDS else ["pca", *words]
    if len(numbers) not in (1, 2) or not all(number.isdecimal() for number in numbers):
        raise _refusal(text)
    return {"kind": kind, "dim": int(numbers[0]), "seed": int(numbers[1]) if len(numbers) == 2 else 0}


def _mapped(given: Mapping[str, Any]) -> dict[str, Any]:
    if "dim" not in given or set(given) - {"kind", "dim", "seed"}:
        raise _refusal(given)
    return {"kind": "pca", "seed": 0} | dict(given)


def _refusal(given: Any) -> SettingsError:
    return SettingsError(f"project must be {FORMS}, or a mapping of kind, dim and seed, not {given!r}")
