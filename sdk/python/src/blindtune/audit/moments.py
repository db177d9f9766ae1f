"""What an optimizer's step gives away: from theta_t and theta_t+1 back to the gradient.

Owns: the inverse of SGD and AdamW, as an attacker runs it. Must never: see the optimizer itself; of AdamW's moments it
knows what it tracked through the steps, starting from zero as everyone does.

SGD is inverted by a subtraction. AdamW's direction r = m_hat / (sqrt(v_hat) + eps) has one unknown for each parameter,
the new g, once the moments before it are known: a quadratic equation. At step one r is a sign, up to eps / |g|, which
float32 keeps well enough wherever theta is zero, as all of lora_B is. A gradient that is much larger than those before
it has a smaller twin with the same r: such parameters, and those lost in rounding, are marked unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import F32, F64
from ..optimizers import AdamWSettings, SGDSettings

ROUNDING = float(np.finfo(np.float32).eps)
RELATIVE, TYPICAL = 0.1, 0.01
"""A reading is known if its error is below this part of itself plus this part of the median reading."""


@dataclass(frozen=True)
class Reading:
    """dL/dtheta [P] as far as an update tells it; `known` [P] is 1 where it does and 0 elsewhere."""

    gradient: F64
    known: F64


class Reader(Protocol):
    """Reads one update after the other, from the first on."""

    def read(self, before: F32, after: F32, lr: float) -> Reading:
        """The gradient of the update from `before` [P] to `after` [P] at learning rate `lr`."""
        ...


class SGDReader:
    """Inverts `optim.SGD`. Momentum is subtracted, so with momentum the update before must have been read."""

    def __init__(self, settings: SGDSettings | None = None) -> None:
        self.settings = settings or SGDSettings()
        self._buffer: F64 | float = 0.0

    def read(self, before: F32, after: F32, lr: float) -> Reading:
        """Exact up to the rounding of theta."""
        moved = (_decayed(before, lr, self.settings.weight_decay) - after) / lr
        gradient = moved - self.settings.momentum * self._buffer
        self._buffer = moved
        return Reading(np.asarray(gradient), np.ones(len(before)))


class AdamWReader:
    """Inverts `optim.AdamW` and tracks its moments.

    `first` and `second` [P] at `step_count` stand for an attacker that tracked until there; by default it starts from
    the run's first step.
    """

    def __init__(
        self,
        settings: AdamWSettings | None = None,
        first: F32 | None = None,
        second: F32 | None = None,
        step_count: int = 0,
    ) -> None:
        self.settings = settings or AdamWSettings()
        self.step_count = step_count
        self._m: F64 | float = 0.0 if first is None else first.astype(np.float64)
        self._v: F64 | float = 0.0 if second is None else second.astype(np.float64)

    def read(self, before: F32, after: F32, lr: float) -> Reading:
        """The smaller root of the quadratic, and where it can be relied on."""
        s = self.settings
        self.step_count += 1
        direction = (_decayed(before, lr, s.weight_decay) - after) / lr
        blur = ROUNDING * (np.abs(after) / lr + 4.0 * np.abs(direction))
        equation = _Adam(self._m, self._v, s, self.step_count)
        gradient, ambiguous = equation.solve(direction)
        error = blur / np.maximum(np.abs(equation.slope(gradient)), 1e-300)
        size = np.abs(gradient)
        typical = float(np.median(size[size > 0])) if np.any(size > 0) else 0.0
        known = (error <= RELATIVE * size + TYPICAL * typical) & ~ambiguous
        self._m = s.beta1 * self._m + (1.0 - s.beta1) * gradient
        self._v = s.beta2 * self._v + (1.0 - s.beta2) * gradient**2
        return Reading(gradient, known.astype(np.float64))


@dataclass(frozen=True)
class _Adam:
    """r(g) = (a + b g) / (sqrt(p + q g^2) + eps): the direction as a function of the newest gradient."""

    m: F64 | float
    v: F64 | float
    settings: AdamWSettings
    step: int

    @property
    def constants(self) -> tuple[F64 | float, float, F64 | float, float]:
        """a, b, p, q, bias corrections included."""
        s = self.settings
        c1, c2 = 1.0 - s.beta1**self.step, 1.0 - s.beta2**self.step
        return s.beta1 * self.m / c1, (1.0 - s.beta1) / c1, s.beta2 * self.v / c2, (1.0 - s.beta2) / c2

    def solve(self, r: F64) -> tuple[F64, npt.NDArray[np.bool_]]:
        """g of the smaller size with this direction, and where another g has it too.

        Squaring (a - r eps) + b g = r sqrt(p + q g^2) gives the quadratic; a root counts if both sides have one sign.
        """
        a, b, p, q = self.constants
        shifted = a - r * self.settings.eps
        square, half, rest = b * b - q * r * r, shifted * b, shifted * shifted - p * r * r
        with np.errstate(all="ignore"):
            middle = -(half + np.copysign(np.sqrt(np.maximum(half * half - square * rest, 0.0)), half))
            roots = np.stack([middle / square, rest / middle])
            right = np.isfinite(roots) & ((shifted + b * roots) * r >= 0.0)
        size = np.where(right, np.abs(roots), np.inf)
        chosen = np.take_along_axis(roots, size.argmin(axis=0)[None], axis=0)[0]
        found = right.any(axis=0)
        gradient = np.where(found, chosen, -np.broadcast_to(shifted, r.shape) / b)
        return gradient, right.all(axis=0) | ~found

    def slope(self, g: F64) -> F64:
        """dr/dg."""
        a, b, p, q = self.constants
        root = np.sqrt(p + q * g * g)
        below = root + self.settings.eps
        with np.errstate(all="ignore"):
            bend = np.where(root > 0.0, q * g / root, 0.0)
        return np.asarray(b / below - (a + b * g) * bend / below**2)


def _decayed(before: F32, lr: float, weight_decay: float) -> F64:
    """Theta after its decay, rounded as the optimizer rounds it."""
    return np.asarray((before * np.float32(1.0 - lr * weight_decay)).astype(np.float64))
