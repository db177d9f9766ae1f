"""Array types used all over the package, and the safetensors bodies they travel in.

Owns: the mapping between numpy arrays and bytes. Must never: know what a tensor means or where it goes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
AnyArray = npt.NDArray[Any]


def encode(tensors: Mapping[str, AnyArray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write named tensors as safetensors. Equal input gives equal bytes, as long as metadata has at most one key."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return bytes(save_safetensors(contiguous, metadata=dict(metadata) if metadata else None))


def decode(body: bytes) -> tuple[dict[str, AnyArray], dict[str, str]]:
    """Read safetensors bytes: the tensors by name, and the `__metadata__` strings."""
    if len(body) < 8:
        raise ValueError(f"not a safetensors body: {len(body)} bytes")
    (header_bytes,) = struct.unpack("<Q", body[:8])
    header = json.loads(body[8 : 8 + header_bytes])
    return dict(load_safetensors(body)), dict(header.get("__metadata__", {}))


def sha256(arrays: Sequence[AnyArray]) -> str:
    """Hash the bytes of the arrays, one after the other; names the state of a run in one line."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
