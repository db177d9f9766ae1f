"""What a fit gives back.

Owns: that value. Must never: be made of anything but sums over the run's own records.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Bytes are bodies of requests and answers of the training steps; the hash names the final adapters.
    """

    steps: int
    loss: float
    accuracy: float
    seconds: float
    bytes_up: int
    bytes_down: int
    retries: int
    adapter_sha256: str
    norm_ratio: float
    """The smallest set's mean |h| at the end over the backbone's; below 0.6 the activations may leak."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
