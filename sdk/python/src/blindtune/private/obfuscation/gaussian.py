"""Additive Gaussian shares: each hides under noise, all together are the gradient.

Owns: the statement about them; the arithmetic is in shares.py. Must never: be called private on one host.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arrays import F32
from ...rounding import expected_kappa, gradient_error
from .base import Context, Statement
from .shares import NOISE_SCALE, Obfuscated, split


@dataclass(frozen=True)
class GaussianShares:
    """`count` shares of each gradient, with noise of `scale` times the gradient's root mean square."""

    count: int = 2
    scale: float = NOISE_SCALE
    name: str = "shares"

    def obfuscate(self, gradient: F32, context: Context) -> Obfuscated:
        """Split it; one share is the gradient itself."""
        return split(gradient, self.count, context.secret, context.name, self.scale)

    def statement(self, hosts: int, precision: str = "float32") -> Statement:
        """Kappa grows with the scale, so a large one needs float32 in the backward and on the wire."""
        kappa = expected_kappa(self.name, self.count, self.scale)
        error = gradient_error(kappa, precision)
        return Statement(self.name, self.count, kappa, self.scale, self._host_can(hosts), "float32", error)

    def _host_can(self, hosts: int) -> str:
        if self.count == 1:
            return "read the label of every row off its gradient, whose sign it is"
        if hosts == 1:
            return "add the shares up: their shortest combination is the gradient, and with it the labels"
        return (
            f"learn next to nothing from its own shares (the gradient is 1/{self.count * self.scale:g} of their "
            "noise); hosts that collude have the gradient, and each sees the adapter values that follow from it"
        )
