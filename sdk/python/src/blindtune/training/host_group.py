"""A job on every host: sequence numbers, recovery, and what goes where.

Owns: `seq`, the current forward, and what to do when a host was restarted or is lost. Must never: see a label or a
weight of an obfuscation; it is handed tensors that may travel. Where they go, placement.py says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..client import Client, StepAnswer
from ..client.sent import Listener, heard_by
from ..client.step_calls import BackwardRequest, Call, ForwardRequest, Text
from ..errors import ApiConnectionError, ApiError, HostUnreachableError, RunError, ServerError
from .placement import Placement, Together

log = logging.getLogger("blindtune")

ATTEMPTS = 5
COMPARED_TEXTS = 2
OUT_OF_STEP = frozenset({"step_out_of_order", "step_conflict", "answer_expired"})
AGREEMENT = 1e-2
"""Largest relative difference between the activations of two hosts; different kernels stay far below it."""

T = TypeVar("T")
ShareTable = Mapping[tuple[int, int], F32]


class HostLostError(ApiConnectionError, RunError):
    """A host was waited for in vain; the message names it. The run can be continued when it is back."""


@dataclass
class HostLink:
    """One job on one host.

    Every training forward carries theta, so the host needs no memory of the job but its settings.
    """

    client: Client
    job_id: str
    seq: int = 1
    model: str | None = None
    """The fine-tuned model that the job became: it is asked without a job."""
    sent: Listener | None = field(default=None, repr=False)
    """Is told of every call before it goes out: the run's record of what it sent."""
    _forward: ForwardRequest | None = field(default=None, repr=False)
    _forward_call: Call | None = field(default=None, repr=False)
    _forward_id: str = ""

    def forward(self, request: ForwardRequest) -> StepAnswer:
        """A training forward; `request.seq` is filled in here. If the host counts differently, its count is adopted."""
        for _ in range(ATTEMPTS):
            call = replace(request, seq=self.seq).call(self.job_id)
            try:
                answer = self._send(call)
            except ApiError as error:
                self._resynchronize(error)
                continue
            self._forward, self._forward_call = request, call
            self._forward_id = answer.metadata["forward_id"]
            self.seq += 1
            return answer
        raise RunError(f"{self.client.host}: the forward of job {self.job_id} was refused {ATTEMPTS} times")

    def backward(self, shares: ShareTable) -> dict[tuple[int, int], F32]:
        """G.{i}.{j} [P] for every share (set i, j). A forward that the host lost is repeated first, byte for byte."""
        for _ in range(ATTEMPTS):
            call = BackwardRequest(self.seq, self._forward_id, shares).call(self.job_id)
            try:
                answer = self._send(call)
            except ApiError as error:
                self._repeat_forward(error)
                continue
            self.seq += 1
            return {(i, j): answer.tensors[f"G.{i}.{j}"] for i, j in shares}
        raise RunError(f"{self.client.host}: the backward of job {self.job_id} was refused {ATTEMPTS} times")

    def evaluate(self, request: ForwardRequest, thetas: Sequence[F32]) -> StepAnswer:
        """A forward with train=false; gives the host the adapters first if it asks for them."""
        if self.model is not None:
            return self._of_model(self.model, request)
        try:
            return self.ask(request)
        except ApiError as error:
            if error.code != "adapters_needed":
                raise
        self.publish(thetas)
        return self.ask(request)

    def ask(self, request: ForwardRequest) -> StepAnswer:
        """A forward with train=false of the job as it stands."""
        return self._send(request.call(self.job_id))

    def _send(self, call: Call) -> StepAnswer:
        with heard_by(self.sent):
            return self.client.send(call)

    def _of_model(self, model: str, request: ForwardRequest) -> StepAnswer:
        """The same of the finished job's model, which keeps nothing open."""
        sets = [] if request.adapters == "none" else request.adapters
        texts = cast("Sequence[str]", request.texts)
        found = self.client.activations.create(model, texts, adapters=sets, base=request.base)
        return StepAnswer(found.tensors, found.metadata)

    def publish(self, thetas: Sequence[F32]) -> None:
        """Put every adapter set on the host."""
        with heard_by(self.sent):
            for i, theta in enumerate(thetas):
                self.client.put_adapter(self.job_id, i, theta)

    def _repeat_forward(self, error: ApiError) -> None:
        assert self._forward is not None and self._forward_call is not None
        if error.code == "forward_lost":
            log.info("%s: the host lost its forward, repeating it", self.client.host)
            try:
                self._forward_id = self._send(self._forward_call).metadata["forward_id"]
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
        log.info("%s: %s, continuing at seq %d", self.client.host, error.code, self.seq)


class HostGroup:
    """All hosts of a run. They work in parallel; set and share numbers here are the run's, not a host's own."""

    def __init__(self, links: list[HostLink], placement: Placement | None = None) -> None:
        self.links = links
        self.placement: Placement = placement or Together(len(links))
        self.truncated: int | None = 0
        """Texts that lost their end, counted each time the hosts read them; `None` where a host does not say."""
        self._pool = ThreadPoolExecutor(max_workers=len(links), thread_name_prefix="blindtune-host")

    def forward(self, rows: I64, thetas: Sequence[F32], base: bool, step: int = 0) -> tuple[list[F32], F32 | None]:
        """h_i [B, H] for every set, and h_base, of the first host at work, if asked for. Hosts must agree."""
        active = self.placement.active(step)

        def one(k: int) -> StepAnswer:
            theta = dict(enumerate(thetas[i] for i in self.placement.sets(k, len(thetas))))
            return self.links[k].forward(ForwardRequest(rows=rows, theta=theta, base=base and k == active[0]))

        answers = self._each(one, active)
        return self._activations(answers, len(thetas)), answers[active[0]].tensors.get("h.base")

    def backward(self, shares: ShareTable, step: int = 0) -> dict[tuple[int, int], F32]:
        """Send every tensor to its host, under numbers that are local to it; G.{i}.{j} [P] by the numbers here."""
        sets = 1 + max(i for i, _ in shares)
        local: dict[int, dict[tuple[int, int], tuple[int, int]]] = {}
        for i, j in sorted(shares):
            host = self.placement.host_of(i, j, step)
            table, own = local.setdefault(host, {}), self.placement.sets(host, sets).index(i)
            table[(own, sum(near[0] == own for near in table))] = (i, j)

        def one(k: int) -> dict[tuple[int, int], F32]:
            return self.links[k].backward({near: shares[far] for near, far in local[k].items()})

        answers = self._each(one, sorted(local))
        return {far: answers[k][near] for k, table in local.items() for near, far in table.items()}

    def evaluate(self, requests: Iterable[ForwardRequest], thetas: Sequence[F32]) -> dict[str, AnyArray]:
        """`h.{i}` for every set (none when `thetas` is empty), and `h.base`, of all requests' rows; no training."""
        parts = [self._evaluate(request, thetas) for request in requests]
        if not parts:
            raise RunError("there are no texts to evaluate")
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _evaluate(self, request: ForwardRequest, thetas: Sequence[F32]) -> dict[str, AnyArray]:
        asked = self.placement.evaluators()

        def one(k: int) -> StepAnswer:
            own = [thetas[i] for i in self.placement.sets(k, len(thetas))]
            return self.links[k].evaluate(replace(request, base=request.base and k == asked[0]), own)

        answers = self._each(one, asked)
        named: dict[str, AnyArray] = {f"h.{i}": h for i, h in enumerate(self._activations(answers, len(thetas)))}
        base = answers[asked[0]].tensors.get("h.base")
        return named if base is None else named | {"h.base": base}

    def check_backbones(self, texts: Sequence[Text]) -> None:
        """Compare the bare backbones on a few of the texts, where training never compares them."""
        if self.placement.compares or len(self.links) == 1 or not texts:
            return
        request = ForwardRequest(texts=list(texts[:COMPARED_TEXTS]), train=False, adapters="none", base=True)
        answers = self._each(lambda k: self.links[k].ask(request))
        for k, answer in answers.items():
            _check_agreement(answers[0].tensors["h.base"], answer.tensors["h.base"], self.links[k].client.host)

    def publish(self, thetas: Sequence[F32], hosts: Sequence[int] | None = None) -> None:
        """Put each host's adapters on it."""
        self._each(lambda k: self.links[k].publish([thetas[i] for i in self.placement.sets(k, len(thetas))]), hosts)

    def traffic(self) -> tuple[int, int, int]:
        """Bytes up, bytes down, retries, over all hosts since the start of this process."""
        all_traffic = [link.client.traffic for link in self.links]
        return sum(t.up for t in all_traffic), sum(t.down for t in all_traffic), sum(t.retries for t in all_traffic)

    def truncated_since(self, before: int | None) -> int | None:
        """How many texts lost their end since `truncated` was that."""
        return None if before is None or self.truncated is None else self.truncated - before

    def close(self) -> None:
        """Stop the threads; the clients stay open."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _activations(self, answers: Mapping[int, StepAnswer], sets: int) -> list[F32]:
        """h_i of the first host that runs set i; others that run it must have computed the same."""
        self._count_truncated(answers)
        found: dict[int, F32] = {}
        for k, answer in answers.items():
            for own, i in enumerate(self.placement.sets(k, sets)):
                h = answer.tensors[f"h.{own}"]
                _check_agreement(found.setdefault(i, h), h, self.links[k].client.host)
        return [found[i] for i in range(sets)]

    def _count_truncated(self, answers: Mapping[int, StepAnswer]) -> None:
        """All hosts read the same texts."""
        counts = [answer.truncated for answer in answers.values()]
        known = [count for count in (self.truncated, *counts) if count is not None]
        self.truncated = known[0] + max(known[1:]) if len(known) == 1 + len(counts) else None

    def _each(self, work: Callable[[int], T], hosts: Sequence[int] | None = None) -> dict[int, T]:
        """`work` on each of `hosts` (all by default), by host. All are done or have failed before this returns."""
        chosen = range(len(self.links)) if hosts is None else hosts
        if len(chosen) == 1:
            return {k: self._named(work, k) for k in chosen}
        futures = {k: self._pool.submit(self._named, work, k) for k in chosen}
        wait(futures.values())
        return {k: future.result() for k, future in futures.items()}

    def _named(self, work: Callable[[int], T], k: int) -> T:
        try:
            return work(k)
        except HostUnreachableError:
            raise
        except (ApiConnectionError, ServerError) as error:
            url = self.links[k].client.host
            text = str(error).removeprefix(f"{url}: ")
            raise HostLostError(
                f"{url}: host lost ({text}); when it is back, the run continues where it stood"
            ) from error


def _check_agreement(mine: F32, other: F32, url: str) -> None:
    scale = float(np.linalg.norm(mine)) or 1.0
    difference = float(np.linalg.norm(mine - other)) / scale if mine.shape == other.shape else float("inf")
    if not difference <= AGREEMENT:
        raise RunError(
            f"{url} computes other activations than the first host ({difference:.1e}): is it the same model?"
        )
