"""No obfuscation: the gradient as it is.

Owns: nothing. Must never: be the silent default of a method that claims to hide labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arrays import F32
from ...rounding import expected_kappa, gradient_error
from .base import Context, Statement
from .shares import Obfuscated


@dataclass(frozen=True)
class Plain:
    """Sends dL/dh itself."""

    name: str = "plain"

    def obfuscate(self, gradient: F32, context: Context) -> Obfuscated:  # noqa: ARG002
        """The gradient, alone, with weight one."""
        return Obfuscated((gradient.astype("float32"),), 1.0, (1.0,))

    def statement(self, hosts: int, precision: str = "float32") -> Statement:  # noqa: ARG002
        """Nothing is hidden: each row's gradient has the sign of its label (AUC 0.95 to 1.00 measured)."""
        host_can = "read the label of every row off its gradient, whose sign it is"
        kappa = expected_kappa(self.name, 1)
        return Statement(self.name, 1, kappa, 0.0, host_can, "any", gradient_error(kappa, precision))
