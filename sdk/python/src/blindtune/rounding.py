"""What rounding does to a gradient that travels in several tensors and is put together again.

Owns: kappa, by how much rounding errors grow, and the error for each unit of it. Must never: see a gradient.
"""

from __future__ import annotations

import math

UNIT_ERROR = {"float32": 2.3e-7, "nf4": 2.3e-7, "bfloat16": 4.4e-3}
"""Relative error of a reconstructed gradient for each unit of kappa, by the backbone's precision; the wire is float32.

Measured: float32 4.5e-6 at kappa 20, 4.5e-5 at 200; bfloat16 4.4 % at 10. nf4 computes in float32.
"""


def expected_kappa(obfuscation: str, tensors: int, noise_scale: float = 0.0) -> float:
    """sum_j |w_j| |s_j| / |g| for a gradient g that is sent as `tensors` tensors s_j; the scale is that of shares.

    In each of m shares there is 1 / m of the gradient, and `noise_scale` times its size of noise. Decoys are as long as
    the gradient, and mixed orthogonally: their number is the most that kappa can be. What travels alone has 1.

    >>> expected_kappa("decoys", 4), expected_kappa("plain", 1)
    (4.0, 1.0)
    """
    if obfuscation != "shares" or tensors == 1:
        return float(tensors)
    return tensors * math.hypot(1.0 / tensors, noise_scale)


def gradient_error(kappa: float, precision: str) -> float:
    """Expected relative error of a reconstructed gradient. `precision` is the backbone's."""
    return kappa * UNIT_ERROR[precision]
