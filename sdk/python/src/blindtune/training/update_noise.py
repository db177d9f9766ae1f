"""Defences against a host that reads labels out of consecutive adapter values (`audit.inversion`).

Owns: clipping and noise on an update, and what they are worth formally. Must never: claim more than `update_epsilon`
says, which for useful noise is little; what an attack finds under the noise is measured, not promised.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..arrays import F32, F64
from ..errors import BlindtuneError
from ..private.secret import SecretStream

WEAK = 0.1
"""Noise of all steps together below which epsilon is above 90."""


@dataclass(frozen=True)
class UpdateNoise:
    """Clips the gradient of all adapters together to `clip` in L2, and adds N(0, (multiplier clip)^2) to each number.

    Apply it after reconstruction and before the optimizer: what the optimizer makes of a noised gradient reveals no
    more than the gradient does.

    What it protects: whatever the labels of a run are, a clipped gradient lies in a ball of radius `clip`, so another
    labelling moves it by at most 2 clip. This holds for every step, also where the rows of that step kept their
    labels, because the private head remembers all labels before. `update_epsilon` composes these steps into a bound
    on what the sequence of adapters, and everything computed from it (activations, shifts), tells about the labels.

    What it does not protect: gradients and shares that a host is sent for its own product are another channel, as are
    decisions that depend on labels (early stopping, a regularizer weight that follows a metric), and the head, if it
    is published. The noise vector has length multiplier * clip * sqrt(P), for P adapter parameters: a multiplier
    of 1 / sqrt(P) is already as long as the update.
    """

    clip: float
    multiplier: float
    secret: SecretStream = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.clip > 0 and math.isfinite(self.clip)):
            raise ValueError(f"update_clip must be above 0, not {self.clip}")
        if not (self.multiplier >= 0 and math.isfinite(self.multiplier)):
            raise ValueError(f"update_noise must be at least 0, not {self.multiplier}")

    def apply(self, gradients: Sequence[F32], step: int) -> list[F32]:
        """The gradients as they may enter the optimizer, in their order and shapes.

        `step` names the draw: a repeated step gets the same noise, so repeating it averages nothing away. Never use a
        step number for two different gradients.
        """
        norm = math.sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradients))
        if not math.isfinite(norm):
            raise ValueError("a gradient that is not finite cannot be clipped")
        scale = min(1.0, self.clip / norm) if norm else 1.0
        return [self._noised(g.astype(np.float64) * scale, step, k) for k, g in enumerate(gradients)]

    def _noised(self, clipped: F64, step: int, k: int) -> F32:
        if self.multiplier == 0.0:
            return clipped.astype(np.float32)
        noise = self.secret.normal(clipped.shape, "update-noise", step, k)
        return np.asarray(clipped + self.multiplier * self.clip * noise, dtype=np.float32)


def update_epsilon(multiplier: float, steps: int, delta: float) -> float:
    """Epsilon at `delta` of `steps` updates under `UpdateNoise`, between any two labellings of the same texts.

    Sensitivity is 2 clip, so each update is a Gaussian mechanism of noise `multiplier / 2`; there is no amplification
    by sampling, because the host knows the rows of every batch. Composed by dp-accounting: by privacy loss
    distributions, and where epsilon is in the hundreds and worth nothing, by Renyi divergences, which are as valid and
    do not take minutes. Infinity without noise. Needs the optional package: `pip install 'blindtune[dp]'`.

    The proof is for real numbers: float32 noise, as everywhere in machine learning, is an approximation of it.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must lie between 0 and 1, not {delta}")
    if steps < 0 or multiplier < 0:
        raise ValueError("steps and multiplier must be at least 0")
    if steps == 0:
        return 0.0
    if multiplier == 0:
        return math.inf
    sigma = multiplier / 2.0
    accounting = "rdp.RdpAccountant" if sigma / math.sqrt(steps) < WEAK else "pld.PLDAccountant"
    module, accountant_name = accounting.split(".")
    try:
        dp = importlib.import_module("dp_accounting")
        accountant = getattr(importlib.import_module(f"dp_accounting.{module}"), accountant_name)()
    except ImportError as error:
        raise BlindtuneError("update_epsilon needs dp-accounting: pip install 'blindtune[dp]'") from error
    accountant.compose(dp.GaussianDpEvent(sigma), steps)
    return float(accountant.get_epsilon(delta))
