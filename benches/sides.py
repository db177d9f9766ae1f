"""Both sides of a comparison: one step of our host over HTTP, one step of the PEFT worker.

Owns: the job (or the loaded model) of a side, and where its clock starts and stops. Must never: let one side do work
that the other is spared, save what README.md says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from blindtune import Client, RetryPolicy
from blindtune.arrays import AnyArray
from blindtune.client.step_calls import BackwardRequest, ForwardRequest
from cases import LORA, SEED, Batch, Side
from hosts import Host
from peerlink import PeerLink


@dataclass
class Sample:
    """One step: seconds of wall and CPU (by process), and its h.{i} and G.{i}.{j}."""

    wall: float
    cpu: dict[str, float]
    tensors: dict[str, AnyArray] = field(repr=False)
    more: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_all(self) -> float:
        """CPU seconds of every process of the side."""
        return sum(self.cpu.values())

    @property
    def cpu_main(self) -> float:
        """CPU seconds of the process that does the mathematics."""
        return self.cpu.get("host", self.cpu.get("peer", 0.0))

    def figures(self) -> dict[str, Any]:
        """For the record, without the tensors."""
        return {"wall": self.wall, "cpu": self.cpu, **self.more}


@dataclass(frozen=True)
class Work:
    """What the sides of a case work on: the model's name at the host, its folder, its width H, and how it is split."""

    model: str
    folder: str
    width: int
    sets: int
    pooling: str = "cls"


class Runner(Protocol):
    """A side that is ready to take steps."""

    names: list[str]

    def step(self, batch: Batch) -> Sample:
        """Take one."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class HostJob:
    """A job of a client of its own."""

    def __init__(
        self,
        host: Host,
        work: Work,
        precision: str = "float32",
        each: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.host, self.each = host, each
        self.client: Client = host.client(retry)
        split = {
            "custody": "client",
            "adapter_sets": work.sets,
            "lora": LORA,
            "pooling": work.pooling,
            "precision": precision,
        }
        self.job = self.client.jobs.create(work.model, {"type": "split", "split": split}, seed=SEED).id
        layout = self.client.adapters(self.job)["layout"]
        self.names = [entry["name"] for entry in layout]
        self.parameters = sum(int(np.prod(entry["shape"])) for entry in layout)
        self.seq = 0

    def step(self, batch: Batch) -> Sample:
        """One step as training takes it, timed from the client, with the CPU time of all processes of our side."""
        before, begun = self.host.cpu(), time.perf_counter()
        tensors, between = self.take(batch)
        wall = time.perf_counter() - begun
        return Sample(wall, self.host.cpu().since(before), tensors, {"forward_wall": between - begun})

    def take(self, batch: Batch) -> tuple[dict[str, AnyArray], float]:
        """Adapter values and inputs up, activations down; shares up, products down. And the time between the two."""
        request = ForwardRequest(
            input_ids=batch.input_ids, lengths=batch.lengths, theta=dict(enumerate(batch.theta)), seq=self._next()
        )
        answer = self.client.forward(self.job, request)
        between = time.perf_counter()
        tensors = dict(answer.tensors)
        for shares in self._calls(batch):
            backward = BackwardRequest(self._next(), answer.metadata["forward_id"], shares)
            tensors |= self.client.backward(self.job, backward).tensors
        return tensors, between

    def close(self) -> None:
        """End the job, so that its graphs leave memory."""
        self.client.jobs.cancel(self.job)
        self.client.close()

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _calls(self, batch: Batch) -> list[Mapping[tuple[int, int], Any]]:
        if not self.each:
            return [batch.shares]
        numbers = sorted({number for _, number in batch.shares})
        return [{key: share for key, share in batch.shares.items() if key[1] == number} for number in numbers]


class PeerModel:
    """A model in the PEFT worker; its CPU and wall are its own measurements."""

    def __init__(self, link: PeerLink, work: Work, precision: str) -> None:
        self.link, self.name = link, f"{work.model}-{precision}-{work.sets}"
        loaded = link.ask(
            "load", name=self.name, folder=work.folder, precision=precision, sets=work.sets, pooling=work.pooling
        )
        self.names = list(loaded["names"])

    def step(self, batch: Batch) -> Sample:
        """One step."""
        times, tensors = self.link.step(self.name, batch.tensors())
        return Sample(
            times["wall"],
            {"peer": times["cpu"]},
            tensors,
            {"forward_wall": times["forward_wall"], "device_bytes": times["device_bytes"]},
        )

    def close(self) -> None:
        """Forget the model."""
        self.link.ask("unload", name=self.name)


def difference(ours: Mapping[str, AnyArray], reference: Mapping[str, AnyArray], kind: str) -> float:
    """Largest max|a - b| / max|b| over the tensors whose name begins with `kind`."""
    names = [name for name in reference if name.startswith(kind)]
    if not names or any(name not in ours or ours[name].shape != reference[name].shape for name in names):
        return float("inf")
    gaps = [np.abs(ours[name] - reference[name]).max() / np.abs(reference[name]).max() for name in names]
    return float(max(gaps))


def make_runner(side: Side, work: Work, host: Host | None, link: PeerLink | None) -> Runner:
    """The side, ready."""
    if side.kind == "host":
        assert host is not None
        return HostJob(host, work, side.precision, side.each)
    assert link is not None
    return PeerModel(link, work, side.precision)
