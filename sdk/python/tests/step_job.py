"""A job driven by bare HTTP, on any host that keeps the contract: what is asked and what is answered, as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import numpy as np

from blindtune.arrays import decode, encode
from blindtune.data import upload_bytes

TEXTS = ["a good film", "a bad plot", "the music is warm", "an awful scene", "a lovely story", "dull and cold"]
SETS = 2
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes

    def refused(self, status: int, code: str) -> dict[str, Any]:
        """The error, which must be this one."""
        error = json.loads(self.body)["error"]
        assert (self.status, error["code"]) == (status, code), error
        return error

    def ok(self) -> Reply:
        """The answer, which must be a good one."""
        assert self.status == 200, self.body[:300]
        return self

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.ok().body))

    @cached_property
    def _decoded(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        return decode(self.ok().body)

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        return self._decoded[0]

    @property
    def scalars(self) -> dict[str, str]:
        return self._decoded[1]


class StepJob:
    """A job of two sets, in the client's custody, over six texts (or over none)."""

    def __init__(self, http: httpx.Client, model: str, file: bool = True, seed: int = 7) -> None:
        self.http = http
        body: dict[str, Any] = {"model": model, "seed": seed}
        split = {"custody": "client", "adapter_sets": SETS, "lora": {"rank": 2}}
        body["method"] = {"type": "split", "split": split}
        if file:
            form = {"files": {"file": ("inputs.jsonl", upload_bytes(TEXTS))}, "data": {"purpose": "fine-tune"}}
            body["training_file"] = self.http.post("files", **form).raise_for_status().json()["id"]
        made = self.http.post("fine_tuning/jobs", json=body).raise_for_status().json()
        self.id = made["id"]

    @cached_property
    def parameters(self) -> int:
        """P. A host tells it once it has opened the job."""
        return int(self.theta(0).size)

    def call(self, method: str, rest: str = "", **options: Any) -> Reply:
        headers = {"accept": "application/octet-stream"} if rest.startswith(("/forward", "/backward")) else {}
        answer = self.http.request(method, f"fine_tuning/jobs/{self.id}{rest}", headers=headers, **options)
        return Reply(answer.status_code, answer.content)

    def get(self, rest: str = "", **query: Any) -> Reply:
        return self.call("GET", rest, params=query)

    def verb(self, name: str) -> Reply:
        return self.call("POST", f"/{name}")

    def tensors_call(self, rest: str, tensors: Tensors, method: str = "POST", **query: Any) -> Reply:
        headers = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
        path = f"fine_tuning/jobs/{self.id}{rest}"
        answer = self.http.request(method, path, params=query, content=encode(tensors), headers=headers)
        return Reply(answer.status_code, answer.content)

    def forward(self, seq: int | None, tensors: Tensors | None = None, **query: Any) -> Reply:
        """A forward of three rows, or of these tensors."""
        asked = query if seq is None else {"seq": seq, **query}
        return self.tensors_call("/forward", rows(0, 3, 1) if tensors is None else tensors, **asked)

    def backward(self, seq: int, forward: Reply | str, shares: Tensors) -> Reply:
        forward_id = forward if isinstance(forward, str) else forward.scalars["forward_id"]
        return self.tensors_call("/backward", shares, seq=seq, forward_id=forward_id)

    def put_theta(self, index: int, theta: np.ndarray) -> Reply:
        return self.tensors_call(f"/adapters/{index}", {f"theta.{index}": theta}, "PUT")

    def theta(self, index: int) -> np.ndarray:
        headers = {"accept": "application/octet-stream"}
        path = f"fine_tuning/jobs/{self.id}/adapters/{index}"
        answer = self.http.get(path, params={"format": "flat"}, headers=headers)
        return Reply(answer.status_code, answer.content).tensors[f"theta.{index}"]

    def ledger(self) -> list[dict[str, Any]]:
        return list(self.get("/ledger").json["data"])

    @property
    def next_seq(self) -> int:
        return int(self.get().json["split"]["next_seq"])

    @property
    def status(self) -> str:
        return str(self.get().json["status"])


def rows(*numbers: int) -> dict[str, np.ndarray]:
    return {"rows": np.array(numbers, dtype=np.int64)}


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * np.float32(0.1)


def shares_of(forward: Reply, each: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """So many random shares for every set that the forward ran."""
    sets = [name.removeprefix("h.") for name in forward.tensors if name != "h.base"]
    return {
        f"s.{i}.{j}": noise(forward.tensors[f"h.{i}"].shape, seed + 10 * int(i) + j) for i in sets for j in range(each)
    }
