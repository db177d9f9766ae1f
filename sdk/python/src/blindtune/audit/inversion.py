"""Tier 3: from consecutive adapter values to the labels, through Jacobian products that the host computes itself.

Owns: the attacks on updates. Must never: look at what only the label holder has; labels score a guess, nothing else.

The host knows the texts x of a step, theta_t, theta_t+1 and the optimizer, hence G = dL/dtheta (moments.py). It also
knows G = J^T g, with J = dh/dtheta at (x, theta_t). Row b of g = dL/dh [B, H] is (p_b - y_b) times nearly the same
vector for every b: g has nearly rank one (C - 1 for C classes), and its left vector is the labels. So the host solves
for the factors of g; B + H unknowns from P equations. J^T u is what it answers to a `backward`, J v is the difference
of two `forward`s, and LSQR needs nothing else.

Shares, mixing weights, alpha and a secret head are no obstacle: none of them enters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator, lsqr
from sklearn.cluster import KMeans

from ..arrays import F32, F64, I64, AnyArray
from ..client import Client
from ..client.step_calls import BackwardRequest, ForwardRequest
from .moments import AdamWReader, Reader, Reading
from .recorder import Seen, SeenForward
from .report import Finding
from .score import Guess, as_classes, attack_seed, evaluate

DIFFERENCE = 0.01
"""Step of finite differences over |theta|: below, float32 activations lose more; above, the curvature shows."""
PLAIN_ITERATIONS = 12
ITERATIONS = 10
ROUNDS = 6
CONVERGED = 1e-3
HALVINGS = 3
TIER, KIND = 3, "updates"
ASSUMPTION = "the host keeps every adapter value it was sent, and knows the optimizer, its settings and learning rate"


class Jacobian(Protocol):
    """J = dh/dtheta for B rows of H activations and P adapter parameters, by its products."""

    rows: int
    hidden: int
    parameters: int

    def vjp(self, u: F64) -> F64:
        """J^T u: [P] from [B, H]."""
        ...

    def jvp(self, v: F64) -> F64:
        """J v: [B, H] from [P]."""
        ...


class HostJacobian:
    """The products that a host can take of its own backbone, asked for over HTTP.

    The attack runs in a job of its own on the same texts: two adapter sets, so that one request computes both sides of
    a finite difference. `close` (or `with`) cancels it. Float32 leaves J v with a relative error of about 1e-4.
    """

    def __init__(self, client: Client, job: str, rows: I64, theta: F32) -> None:
        """`job` is the audited one: its model, file and LoRA settings are copied. `rows` [B], `theta` [P] of a step."""
        self._client, self._rows, self._theta = client, rows, theta.astype(np.float64)
        self._job = client.jobs.create(**_own_job(client, job)).id
        self._seq = 1
        self._step = DIFFERENCE * (float(np.linalg.norm(self._theta)) or 1.0)
        self.products = 0
        request = ForwardRequest(rows=rows, theta={0: theta, 1: theta}, seq=1, adapters=[0])
        try:
            answer = client.forward(self._job, request)
        except BaseException:
            self.close()
            raise
        self._forward_id = answer.metadata["forward_id"]
        self.rows, self.hidden = answer.tensors["h.0"].shape
        self.parameters = len(theta)

    def vjp(self, u: F64) -> F64:
        """J^T u, by a `backward` on the one forward that is kept."""
        scale = float(np.abs(u).max()) or 1.0
        self._seq += 1
        share = {(0, 0): (u / scale).astype(np.float32)}
        answer = self._client.backward(self._job, BackwardRequest(self._seq, self._forward_id, share))
        self.products += 1
        return np.asarray(answer.tensors["G.0.0"].astype(np.float64) * scale)

    def jvp(self, v: F64) -> F64:
        """J v, by central differences of `forward`."""
        norm = float(np.linalg.norm(v))
        if norm == 0.0:
            return np.zeros((self.rows, self.hidden))
        move = v * (self._step / norm)
        ends = {0: (self._theta + move).astype(np.float32), 1: (self._theta - move).astype(np.float32)}
        answer = self._client.forward(self._job, ForwardRequest(rows=self._rows, theta=ends, train=False))
        self.products += 1
        difference = answer.tensors["h.0"].astype(np.float64) - answer.tensors["h.1"]
        return np.asarray(difference * (norm / (2.0 * self._step)))

    def close(self) -> None:
        """Cancel the attack's job."""
        self._client.jobs.cancel(self._job)

    def __enter__(self) -> HostJacobian:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Inversion:
    """Three estimates of g [B, H], from cheap to dear.

    `product` is J G, one product; `plain` the least squares solution after a few iterations; `factors` [B, r] and
    `directions` [r, H] those of the low-rank one. `residual` is |J^T g - G| / |G| of the last; `rounds` its history.
    """

    product: F64
    plain: F64
    factors: F64
    directions: F64
    rounds: tuple[float, ...]

    @property
    def residual(self) -> float:
        """What the low-rank solution leaves of the gradient."""
        return self.rounds[-1]


def invert(
    jacobian: Jacobian, reading: Reading, rank: int = 1, rounds: int = ROUNDS, plain_iterations: int = PLAIN_ITERATIONS
) -> Inversion:
    """Solve J^T g = G for g of low rank, on the parameters whose G is known.

    LSQR without a prior gives the start; then Gauss-Newton on the factors of g, each step solved by a few iterations
    of LSQR, which also damps what the data do not determine. About 2 (plain_iterations + 11 rounds) products. With
    B = 0, as LoRA starts, half of the rows of J^T are zero; the other half suffices.
    """
    system = _System(jacobian, reading)
    product = jacobian.jvp(system.target)
    plain = system.solve(lambda u: u, lambda v: v, (jacobian.rows, jacobian.hidden), plain_iterations)
    factors, directions = _balanced(plain, rank)
    history = []
    fitted = system.apply(factors @ directions)
    scale = float(fitted @ system.target) / (float(fitted @ fitted) or 1.0)
    factors, directions = _balanced(factors @ directions * scale, rank)
    left = system.target - fitted * scale
    history.append(system.relative(left))
    for _ in range(rounds):
        if history[-1] < CONVERGED:
            break
        factors, directions, left = _gauss_newton(system, factors, directions, left)
        history.append(system.relative(left))
    return Inversion(product, plain, factors, directions, tuple(history))


@dataclass
class _System:
    """J^T g = G on the known parameters."""

    jacobian: Jacobian
    reading: Reading

    def __post_init__(self) -> None:
        self.target: F64 = np.asarray(self.reading.gradient * self.reading.known)
        self.size = float(np.linalg.norm(self.target)) or 1.0

    def relative(self, left: F64) -> float:
        return float(np.linalg.norm(left)) / self.size

    def apply(self, g: F64) -> F64:
        return np.asarray(self.reading.known * self.jacobian.vjp(g))

    def solve(
        self,
        spread: Callable[[F64], F64],
        gather: Callable[[F64], F64],
        shape: tuple[int, ...],
        iterations: int,
        target: F64 | None = None,
    ) -> F64:
        """Least squares for z of `shape`, where g = spread(z) is linear and `gather` its transpose."""
        operator = LinearOperator(
            (self.jacobian.parameters, int(np.prod(shape))),
            dtype=np.float64,
            matvec=lambda z: self.apply(spread(z.reshape(shape))),
            rmatvec=lambda v: gather(self.jacobian.jvp(self.reading.known * v)).ravel(),
        )
        wanted = self.target if target is None else target
        found = lsqr(operator, wanted, iter_lim=iterations, atol=0.0, btol=0.0, conlim=0.0)[0]
        return np.asarray(found.reshape(shape))


def _gauss_newton(system: _System, c: F64, w: F64, left: F64) -> tuple[F64, F64, F64]:
    """One step on g = c w; halved until it helps, and not taken if it never does."""
    rank, split = len(w), len(c)

    def spread(z: F64) -> F64:
        return np.asarray(z[:split] @ w + c @ z[split:].T)

    def gather(v: F64) -> F64:
        return np.concatenate([v @ w.T, v.T @ c])

    shape = (split + w.shape[1], rank)
    move = system.solve(spread, gather, shape, ITERATIONS, left)
    for _ in range(HALVINGS):
        c_new, w_new = c + move[:split], w + move[split:].T
        left_new = system.target - system.apply(c_new @ w_new)
        if np.linalg.norm(left_new) < np.linalg.norm(left):
            return (*_balanced(c_new @ w_new, rank), left_new)
        move = move / 2.0
    return c, w, left


def _balanced(g: F64, rank: int) -> tuple[F64, F64]:
    """Factors [B, r] and [r, H] of equal size whose product is g's best approximation of rank r."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * v[:rank]


def guesses(found: Inversion, rows: I64, classes: int, where: str) -> list[Guess]:
    """What each estimate of g says about the texts `rows` [B]: its left vectors, clustered if there are more classes.

    `where` names host and set.
    """
    made = []
    estimates = {"product": found.product, "lsqr": found.plain, "low-rank": found.factors @ found.directions}
    for name, g in estimates.items():
        left = np.linalg.svd(g, full_matrices=False)[0][:, : max(1, classes - 1)]
        attack = f"{where}/{name}"
        if classes == 2:
            made.append(Guess(TIER, KIND, attack, ASSUMPTION, scores=left[:, :1], rows=rows))
        elif len(left) >= classes:
            clusters = KMeans(n_clusters=classes, n_init=10, random_state=attack_seed()).fit(left).labels_
            made.append(Guess(TIER, KIND, attack, ASSUMPTION, clusters=clusters.astype(np.int64), rows=rows))
    return made


# A recorded run.


@dataclass(frozen=True)
class Update:
    """One step of one adapter set as a host saw it: `rows` [B] of all its batches, theta [P] before and after.

    `batches` are the first and last of its batches, by their number in the run, from 0.
    """

    job: str
    rows: I64
    before: F32
    after: F32
    batches: tuple[int, int]


@dataclass(frozen=True)
class Knowledge:
    """What the attacker knows of the optimizer: how to read its updates, and its learning rate at batch k.

    `reader` makes a reader: a fresh one reads every recorded update, one that was given moments only the last. `rank`
    is that of g; None is one less than the classes, and regularizers add to it.
    """

    reader: Callable[[], Reader]
    rate: Callable[[int], float]
    rank: int | None = None
    rounds: int = ROUNDS


def updates_of(seen: Seen, host: int, adapter_set: int) -> list[Update]:
    """The updates in a record that kept adapters; batches between which theta stood still are one update."""
    groups: list[list[SeenForward]] = []
    for forward in seen.forwards:
        if forward.host != host or adapter_set not in forward.thetas:
            continue
        if groups and np.array_equal(groups[-1][-1].thetas[adapter_set], forward.thetas[adapter_set]):
            groups[-1].append(forward)
        else:
            groups.append([forward])
    found = []
    for now, then in pairwise(groups):
        rows = np.concatenate([f.rows for f in now])
        ends = now[0].thetas[adapter_set], then[0].thetas[adapter_set]
        found.append(Update(now[0].job, rows, *ends, ((now[0].seq - 1) // 2, (now[-1].seq - 1) // 2)))
    return found


def read_last(updates: Sequence[Update], knowledge: Knowledge) -> Reading:
    """The gradient of the last update, read as an attacker does who follows the moments from the start."""
    reader = knowledge.reader()
    if isinstance(reader, AdamWReader) and reader.step_count == 0 and updates[0].batches[0] > 0:
        raise ValueError("AdamW is followed from its first step: record the whole run, or give the reader its moments")
    wanted = updates[-1:] if isinstance(reader, AdamWReader) and reader.step_count else updates
    readings = (reader.read(u.before, u.after, knowledge.rate(u.batches[1])) for u in wanted)
    return deque(readings, maxlen=1)[0]


def invert_recorded_update(
    client: Client,
    seen: Seen,
    labels: AnyArray,
    classes: int,
    knowledge: Knowledge,
    fresh: I64 | None = None,
) -> list[Finding]:
    """Attack the last update that each host saw of each adapter set: findings of tier 3, kind "updates".

    `seen` comes from a `Recorder(keep_thetas=True)`; for AdamW it has the run from its first step. The attack runs on
    the host of `client`, in a job of its own beside the recorded ones; `client` must have no recorder, and reach the
    host that all jobs of `seen` are on. `labels` [N] score the guess, by row of the job's file. `fresh` are rows [F] of
    that file which were never trained on: findings then carry `excess`, the score minus that of the same attack with
    those texts in place of the step's.
    """
    truth, classes = as_classes(labels, classes)
    findings = []
    for host in seen.hosts:
        for i in sorted({i for f in seen.forwards if f.host == host for i in f.thetas}):
            updates = updates_of(seen, host, i)
            if not updates:
                continue
            reading = read_last(updates, knowledge)
            texts = [updates[-1].rows] if fresh is None else [updates[-1].rows, fresh]
            tables = []
            for rows in texts:
                with HostJacobian(client, updates[-1].job, rows, updates[-1].before) as jacobian:
                    found = invert(jacobian, reading, knowledge.rank or max(1, classes - 1), knowledge.rounds)
                tables.append(
                    [evaluate(g, truth, classes) for g in guesses(found, rows, classes, f"host{host}/set{i}")]
                )
            findings += _with_excess(*tables)
    return findings


def _with_excess(mine: list[Finding | None], fresh: Sequence[Finding | None] = ()) -> list[Finding]:
    """Findings on the step's rows, each minus the same on fresh rows; those that could not be scored are left out."""
    other = {f.attack: f.score for f in fresh if f is not None}
    found = [f for f in mine if f is not None]
    return [replace(f, excess=f.score - other[f.attack] if f.attack in other else None) for f in found]


def _own_job(client: Client, job: str) -> dict[str, Any]:
    """A job like the audited one, for the attack: two sets, no dropout."""
    audited = client.jobs.retrieve(job)
    split: dict[str, Any] = dict(audited.method["split"])
    split |= {"custody": "client", "adapter_sets": 2, "lora": {**split["lora"], "dropout": 0.0}}
    method = {"type": "split", "split": split}
    return {"model": audited.model, "method": method, "training_file": audited.training_file, "seed": audited.seed}
