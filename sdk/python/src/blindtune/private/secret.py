"""Randomness that the host must not be able to predict: one secret per run, expanded with SHAKE-256.

Owns: every random number that hides something (mixing weights, share noise, alpha, head, row order). Must never: be
seeded by the job's public seed, nor use a generator whose state can be recovered from its output, as NumPy's can.
The draw for one purpose and step depends on nothing but the secret, so a resumed run repeats itself bit for bit.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np

from ..arrays import F64, I64

SECRET_BYTES = 32


class SecretStream:
    """Deterministic draws named by a purpose and a counter.

    >>> SecretStream(b"k").normal((2,), "noise", 3).shape
    (2,)
    """

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ValueError("the secret must not be empty")
        self.secret = secret

    @classmethod
    def fresh(cls) -> SecretStream:
        """A new secret from the operating system."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def uniform(self, count: int, *name: str | int) -> F64:
        """`count` numbers in (0, 1), 53 bits each, for this name."""
        label = "/".join(str(part) for part in name).encode()
        raw = hashlib.shake_256(len(label).to_bytes(4, "big") + label + self.secret).digest(8 * count)
        bits = np.frombuffer(raw, dtype="<u8") >> np.uint64(11)
        return (bits.astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, shape: tuple[int, ...], *name: str | int) -> F64:
        """Standard normal numbers of this shape (Box-Muller), for this name."""
        count = int(np.prod(shape))
        half = (count + 1) // 2
        u = self.uniform(2 * half, *name)
        radius, angle = np.sqrt(-2.0 * np.log(u[:half])), 2.0 * np.pi * u[half:]
        both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return np.asarray(both[:count].reshape(shape))

    def permutation(self, count: int, *name: str | int) -> I64:
        """A random order of `count` things."""
        return np.argsort(self.uniform(count, *name), kind="stable").astype(np.int64)
