"""Array types used all over the package, and the safetensors bodies they travel in.

Owns: the mapping between numpy arrays and bytes. Must never: know what a tensor means or where it goes; or load numpy
before there is an array, for whoever lists jobs would wait for it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]
    F64 = npt.NDArray[np.float64]
    I64 = npt.NDArray[np.int64]
    AnyArray = npt.NDArray[Any]

KINDS = {"F32": "float32", "F64": "float64", "I64": "int64", "AnyArray": None}


def __getattr__(name: str) -> Any:
    """The types of arrays, for whoever needs them while running."""
    if name not in KINDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import numpy as np
    import numpy.typing as npt

    kind, arrays = KINDS[name], vars(npt)["NDArray"]
    return globals().setdefault(name, arrays[Any if kind is None else getattr(np, kind)])


def encode(tensors: Mapping[str, AnyArray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write named tensors as safetensors. Equal input gives equal bytes, as long as metadata has at most one key."""
    import numpy as np
    from safetensors.numpy import save as save_safetensors

    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return bytes(save_safetensors(contiguous, metadata=dict(metadata) if metadata else None))


def decode(body: bytes) -> tuple[dict[str, AnyArray], dict[str, str]]:
    """Read safetensors bytes: the tensors by name, and the `__metadata__` strings."""
    from safetensors.numpy import load as load_safetensors

    if len(body) < 8:
        raise ValueError(f"not a safetensors body: {len(body)} bytes")
    (header_bytes,) = struct.unpack("<Q", body[:8])
    header = json.loads(body[8 : 8 + header_bytes])
    return dict(load_safetensors(body)), dict(header.get("__metadata__", {}))


def sha256(arrays: Sequence[AnyArray]) -> str:
    """Hash the bytes of the arrays, one after the other; names the state of a run in one line."""
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
