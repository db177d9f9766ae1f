"""A job on every host: sequence numbers, recovery, and which share goes where.

Owns: `seq`, the current forward, and what to do when a host was restarted. Must never: see a whole gradient, a label
or alpha; it is handed shares.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from .arrays import F32, I64
from .calls import BackwardRequest, Call, ForwardRequest
from .client import Client, StepAnswer
from .errors import ApiError, RunError

log = logging.getLogger("blindtune")

ATTEMPTS = 5
OUT_OF_STEP = frozenset({"step_out_of_order", "step_conflict", "answer_expired"})
AGREEMENT = 1e-2
"""Largest relative difference between the activations of two hosts; different kernels stay far below it."""

T = TypeVar("T")
ShareTable = Mapping[tuple[int, int], F32]


@dataclass
class HostLink:
    """One job on one host.

    Every training forward carries theta, so the host needs no memory of the job but its settings.
    """

    client: Client
    job_id: str
    seq: int = 1
    _forward: ForwardRequest | None = field(default=None, repr=False)
    _forward_call: Call | None = field(default=None, repr=False)
    _forward_id: str = ""

    def forward(self, request: ForwardRequest) -> StepAnswer:
        """A training forward; `request.seq` is filled in here. If the host counts differently, its count is adopted."""
        for _ in range(ATTEMPTS):
            call = replace(request, seq=self.seq).call(self.job_id)
            try:
                answer = self.client.send(call)
            except ApiError as error:
                self._resynchronize(error)
                continue
            self._forward, self._forward_call = request, call
            self._forward_id = answer.metadata["forward_id"]
            self.seq += 1
            return answer
        raise RunError(f"{self.client.base_url}: the forward of job {self.job_id} was refused {ATTEMPTS} times")

    def backward(self, shares: ShareTable) -> dict[tuple[int, int], F32]:
        """G.{i}.{j} [P] for every share (set i, j). A forward that the host lost is repeated first, byte for byte."""
        for _ in range(ATTEMPTS):
            call = BackwardRequest(self.seq, self._forward_id, shares).call(self.job_id)
            try:
                answer = self.client.send(call)
            except ApiError as error:
                self._repeat_forward(error)
                continue
            self.seq += 1
            return {(i, j): answer.tensors[f"G.{i}.{j}"] for i, j in shares}
        raise RunError(f"{self.client.base_url}: the backward of job {self.job_id} was refused {ATTEMPTS} times")

    def evaluate(self, request: ForwardRequest, thetas: Sequence[F32]) -> StepAnswer:
        """A forward with train=false; gives the host the adapters first if it asks for them."""
        try:
            return self.client.forward(self.job_id, request)
        except ApiError as error:
            if error.code != "adapters_needed":
                raise
        self.publish(thetas)
        return self.client.forward(self.job_id, request)

    def publish(self, thetas: Sequence[F32]) -> None:
        """Put every adapter set on the host."""
        for i, theta in enumerate(thetas):
            self.client.put_adapter(self.job_id, i, theta)

    def _repeat_forward(self, error: ApiError) -> None:
        assert self._forward is not None and self._forward_call is not None
        if error.code == "forward_lost":
            log.info("%s: the host lost its forward, repeating it", self.client.base_url)
            try:
                self._forward_id = self.client.send(self._forward_call).metadata["forward_id"]
                return
            except ApiError as again:
                error = again
        self._resynchronize(error)
        self.forward(self._forward)

    def _resynchronize(self, error: ApiError) -> None:
        if error.code not in OUT_OF_STEP:
            raise error
        expected = error.envelope.get("expected_seq")
        self.seq = int(expected) if expected is not None else self.client.jobs.retrieve(self.job_id).next_seq
        log.info("%s: %s, continuing at seq %d", self.client.base_url, error.code, self.seq)


@dataclass
class HostGroup:
    """All hosts of a run. They work in parallel; only the first is asked for the bare backbone's activations."""

    links: list[HostLink]

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=len(self.links), thread_name_prefix="blindtune-host")

    def forward(self, rows: I64, thetas: Sequence[F32], base: bool) -> tuple[list[F32], F32 | None]:
        """h_i [B, H] for every set, and h_base if asked for. Hosts that disagree stop the run."""
        theta = dict(enumerate(thetas))

        def one(k: int) -> StepAnswer:
            return self.links[k].forward(ForwardRequest(rows=rows, theta=theta, base=base and k == 0))

        answers = self._each(one)
        activations = [answers[0].tensors[f"h.{i}"] for i in range(len(thetas))]
        for link, answer in zip(self.links[1:], answers[1:], strict=True):
            for i, h in enumerate(activations):
                _check_agreement(h, answer.tensors[f"h.{i}"], link.client.base_url)
        return activations, answers[0].tensors.get("h.base")

    def host_of(self, share: int) -> int:
        """Share j goes to host j, wrapping around when there are more shares than hosts."""
        return share % len(self.links)

    def backward(self, shares: ShareTable) -> dict[tuple[int, int], F32]:
        """Send every share to its host, under a number that is local to that host; G.{i}.{j} by the numbers here."""
        local: list[dict[tuple[int, int], tuple[int, int]]] = [{} for _ in self.links]
        for i, j in sorted(shares):
            host = self.host_of(j)
            local[host][(i, j // len(self.links))] = (i, j)

        def one(k: int) -> dict[tuple[int, int], F32]:
            return self.links[k].backward({near: shares[far] for near, far in local[k].items()})

        answers = self._each(one)
        return {far: answers[k][near] for k, table in enumerate(local) for near, far in table.items()}

    def publish(self, thetas: Sequence[F32]) -> None:
        """Put the adapters on every host."""
        self._each(lambda k: self.links[k].publish(thetas))

    def traffic(self) -> tuple[int, int, int]:
        """Bytes up, bytes down, retries, over all hosts since the start of this process."""
        all_traffic = [link.client.traffic for link in self.links]
        return sum(t.up for t in all_traffic), sum(t.down for t in all_traffic), sum(t.retries for t in all_traffic)

    def close(self) -> None:
        """Stop the threads; the clients stay open."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _each(self, work: Callable[[int], T]) -> list[T]:
        if len(self.links) == 1:
            return [work(0)]
        futures = [self._pool.submit(work, k) for k in range(len(self.links))]
        return [future.result() for future in futures]


def _check_agreement(mine: F32, other: F32, url: str) -> None:
    scale = float(np.linalg.norm(mine)) or 1.0
    difference = float(np.linalg.norm(mine - other)) / scale if mine.shape == other.shape else float("inf")
    if not difference <= AGREEMENT:
        raise RunError(
            f"{url} computes other activations than the first host ({difference:.1e}): is it the same model?"
        )
