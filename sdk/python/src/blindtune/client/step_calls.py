"""The two calls of a step, encoded once, so that a repeat is the same bytes.

Owns: the wire form of `forward` and `backward`. Must never: have a field for labels, losses, alpha or mixing weights.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._generated import operations as op
from ..arrays import decode, encode
from .requests import OCTETS, path_of

if TYPE_CHECKING:
    from ..arrays import F32, I64, AnyArray

Text = str | tuple[str, str]
"""A text, or a pair of them. `blindtune.data` has the same alias: what sends does not import what reads labels."""


@dataclass(frozen=True)
class Call:
    """A request ready to be sent, and sent again. `path` is relative to the base URL."""

    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes
    content_type: str


@dataclass(frozen=True)
class StepAnswer:
    """Named tensors, and the scalars that came with them (strings, as safetensors has them)."""

    tensors: dict[str, AnyArray]
    metadata: dict[str, str]

    @property
    def truncated(self) -> int | None:
        """How many texts lost their end on the host; `None` of a host before 0.3, which does not say."""
        count = self.metadata.get("truncated")
        return None if count is None else int(count)


def step_answer(body: bytes) -> StepAnswer:
    """Safetensors, or a JSON object of scalars where there are no tensors: a backward under host custody.

    The first 8 bytes of safetensors are the length of a header, which is never so long that none of them is zero.
    """
    if b"\0" in body[:8]:
        return StepAnswer(*decode(body))
    return StepAnswer({}, {name: str(value) for name, value in json.loads(body).items()})


@dataclass(frozen=True)
class ForwardRequest:
    """Inputs in exactly one form, and what to compute on them.

    `rows` [B] index the job's file; `texts` are strings or pairs; `input_ids` [N] lie one after the other with
    `lengths` [B]. `theta` maps set to its new flat value [P]. `adapters` is "all", "none" or set numbers. `seq` is
    needed when `train`.
    """

    rows: I64 | None = None
    texts: Sequence[Text] | None = None
    input_ids: I64 | None = None
    lengths: I64 | None = None
    theta: Mapping[int, F32] = field(default_factory=dict)
    seq: int | None = None
    train: bool = True
    adapters: str | Sequence[int] = "all"
    base: bool = False

    def call(self, job_id: str) -> Call:
        """Encode: safetensors for rows and ids, JSON for texts."""
        path = path_of(op.FORWARD, job_id=job_id)
        if self.texts is not None:
            return Call(path, (), self._json_body(self.texts), "application/json")
        query = {"train": _flag(self.train), "adapters": self._adapters_text(), "base": _flag(self.base)}
        if self.seq is not None:
            query["seq"] = str(self.seq)
        named: dict[str, AnyArray | None] = {
            "rows": self.rows,
            "input_ids": self.input_ids,
            "lengths": self.lengths,
        }
        tensors = {name: value for name, value in named.items() if value is not None}
        tensors |= {f"theta.{i}": value for i, value in self.theta.items()}
        return Call(path, tuple(sorted(query.items())), encode(tensors), OCTETS)

    def _adapters_text(self) -> str:
        return self.adapters if isinstance(self.adapters, str) else ",".join(map(str, self.adapters))

    def _json_body(self, texts: Sequence[Text]) -> bytes:
        body: dict[str, object] = {
            "train": self.train,
            "adapters": self.adapters if isinstance(self.adapters, str) else list(self.adapters),
            "base": self.base,
            "texts": [t if isinstance(t, str) else list(t) for t in texts],
        }
        if self.seq is not None:
            body["seq"] = self.seq
        if self.theta:
            body["theta"] = {str(i): json_tensor(value) for i, value in self.theta.items()}
        return json.dumps(body, ensure_ascii=False).encode()


@dataclass(frozen=True)
class BackwardRequest:
    """Shares `(set, share) -> tensor`, each shaped as that set's activations."""

    seq: int
    forward_id: str
    shares: Mapping[tuple[int, int], F32]

    def call(self, job_id: str) -> Call:
        """Encode as safetensors."""
        query = (("forward_id", self.forward_id), ("seq", str(self.seq)))
        body = encode({f"s.{i}.{j}": value for (i, j), value in self.shares.items()})
        return Call(path_of(op.BACKWARD, job_id=job_id), query, body, OCTETS)


def json_tensor(value: F32) -> dict[str, object]:
    """A float32 tensor in the contract's JSON form."""
    data = base64.b64encode(value.astype("<f4").tobytes()).decode()
    return {"dtype": "F32", "shape": list(value.shape), "data": data}


def _flag(value: bool) -> str:
    return "true" if value else "false"
