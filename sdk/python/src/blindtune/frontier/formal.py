"""What is proven about a setting, and about what exactly. Kept apart from everything that was measured.

Owns: which bound belongs to which point. Must never: call a measured number a guarantee. The proof is that of
`label_privacy`: it caps what training adds about one row's label, not what the text itself tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..private.label_privacy import describe, largest_accuracy, posterior_odds


@dataclass(frozen=True)
class Bound:
    """Label DP: `odds` is the largest factor on anyone's odds, `accuracy` the most an attacker without prior gets."""

    epsilon: float
    classes: int
    odds: float
    accuracy: float

    def sentence(self) -> str:
        """In words."""
        return describe(self.epsilon, self.classes)


def label_bound(settings: Mapping[str, Any], classes: int) -> Bound | None:
    """The cap of `label_epsilon`, or None where there is none."""
    if settings.get("label_epsilon") is None:
        return None
    epsilon = float(settings["label_epsilon"])
    return Bound(epsilon, classes, posterior_odds(epsilon), largest_accuracy(epsilon, classes))
