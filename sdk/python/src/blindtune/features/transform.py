"""What a features job does to hidden states before it gives them away: projection and scales, made without a label.

Owns: the transform as a file, and its arithmetic at home. Must never: change one. It belongs to its job, and what
two of them made must not be mixed: the digest is part of the name of whatever came of it.

    mean.{l} [d], components.{l} [d, dim]   a state becomes (state - mean) @ components
    scale.{l} [dim]                         of int8: it is divided by the scale, rounded, and cut at -127 and 127
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from safetensors import SafetensorError

from ..arrays import F32, AnyArray, decode, encode
from ..errors import RunError

LARGEST = {"int8": 127.0, "float16": 65504.0}
HIDDEN, SCALE = "hidden.", ".scale"
"""Names in an answer: `hidden.3` (or `hidden.3.cls`), and of int8 `hidden.3.scale`."""


@dataclass
class Transform:
    """That of the job `job_id`: `tensors` as the host names them, `{what}.{level}`."""

    job_id: str
    tensors: Mapping[str, AnyArray]
    at_host: bool = field(default=True, compare=False)
    """Whether the host has it too, as far as is known."""

    @classmethod
    def read(cls, body: bytes, place: str) -> Transform:
        """What `to_bytes` wrote; `place` is where that was kept."""
        try:
            tensors, about = decode(body)
            known = json.loads(about["transform"])
            found = cls(known["job"], tensors)
            if found.digest != known["sha256"]:
                raise ValueError("other bytes than were written")
        except (ValueError, KeyError, SafetensorError) as error:
            raise RunError(f"{place}: not a transform of features ({error}); remove it and fit again") from None
        return found

    def to_bytes(self) -> bytes:
        """With the name of its job, and its digest."""
        return encode(self.tensors, {"transform": json.dumps({"job": self.job_id, "sha256": self.digest})})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names and numbers; two jobs may have found the same."""
        return hashlib.sha256(encode({name: self.tensors[name] for name in sorted(self.tensors)})).hexdigest()

    def applied(self, states: Mapping[str, AnyArray], dtype: str) -> dict[str, AnyArray]:
        """Plain float32 states, by their names in an answer, as the job gives them."""
        return {name: as_given(self._narrowed(name, x), self._scale(name), dtype) for name, x in states.items()}

    def in_units_of_the_last_level(self, given: AnyArray) -> F32:
        """What the job gave of its last level, as the projection left it: whole numbers of int8 times their scale."""
        parts = (name.partition(".")[2] for name in self.tensors)
        last = max(parts, key=lambda part: (int(part.split(".")[0]), part))  # of picks the mean, as levels are ordered
        scale = self._scale(last)
        return np.asarray(given if scale is None else given * scale, dtype=np.float32)

    def _narrowed(self, name: str, x: AnyArray) -> F32:
        part = name.removeprefix(HIDDEN)
        if not {f"components.{part}", f"scale.{part}"} & self.tensors.keys():
            raise RunError(f"{self.job_id} has no level {part}: this host has another model by that name")
        if f"components.{part}" not in self.tensors:
            return np.asarray(x, dtype=np.float32)
        return np.asarray((x - self.tensors[f"mean.{part}"]) @ self.tensors[f"components.{part}"], dtype=np.float32)

    def _scale(self, name: str) -> AnyArray | None:
        return self.tensors.get(f"scale.{name.removeprefix(HIDDEN)}")


def as_given(x: F32, scale: AnyArray | None, dtype: str) -> AnyArray:
    """Numbers in the element type of a host's answer; halves of a step go to the even neighbour, as there."""
    if dtype == "int8":
        assert scale is not None, "a job of int8 has scales"
        x = np.rint(x / scale)
    most = LARGEST.get(dtype, np.inf)
    return np.clip(x, -most, most).astype(dtype)
