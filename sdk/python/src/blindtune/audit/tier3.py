"""Tier 3 as an audit runs it: one update of each adapter set, inverted within a bound on the calls it takes.

Owns: which update is attacked, and with what effort. Must never: touch the job that was
audited; inversion.py opens one of its own.

Under SGD the last update is read; under AdamW the first, for which nobody needs to have followed the moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import F64, I64
from ..client import Client
from .evidence import DoseCurve
from .inversion import (
    ITERATIONS,
    PLAIN_ITERATIONS,
    ROUNDS,
    HostJacobian,
    Inversion,
    Jacobian,
    Knowledge,
    Update,
    guesses,
    invert,
    read_last,
    updates_of,
)
from .moments import AdamWReader, Reading
from .report import Finding
from .score import evaluate
from .update_record import UpdateRecorder

SEED = 11
ROUND_PRODUCTS = 2 * ITERATIONS + 5


@dataclass(frozen=True)
class Attack:
    """What tier 3 knows and may spend: the optimizer, calls for each set, and whether to plant a leak as well."""

    knowledge: Knowledge
    products: int
    dose: float | None = None


def attack_updates(
    client_of: Callable[[int], Client], record: UpdateRecorder, labels: I64, classes: int, attack: Attack
) -> tuple[list[Finding], list[DoseCurve]]:
    """Findings of kind "updates", and the curves of what was planted. `client_of` gives the client of a host."""
    seen = record.first() if isinstance(attack.knowledge.reader(), AdamWReader) else record.last()
    findings: list[Finding] = []
    curves: list[DoseCurve] = []
    done: list[Update] = []
    for host in seen.hosts:
        for i in sorted({i for f in seen.forwards if f.host == host for i in f.thetas}):
            for update in updates_of(seen, host, i)[-1:]:
                if any(_same(update, other) for other in done):
                    continue
                done.append(update)
                reading = read_last([update], attack.knowledge)
                with HostJacobian(client_of(host), update.job, update.rows, update.before) as jacobian:
                    found, planted = _invert(jacobian, reading, classes, attack)
                where = f"host{host}/set{i}"
                scored = [evaluate(g, labels, classes) for g in guesses(found, update.rows, classes, where)]
                findings += _made(scored, attack.products)
                curves += _curve(planted, update.rows, classes, where, attack)
    return findings, curves


def within(jacobian: Jacobian, reading: Reading, rank: int, products: int) -> Inversion:
    """`invert` with at most about so many products; from one alone comes the first estimate only."""
    if products < 4:
        product = jacobian.jvp(np.asarray(reading.gradient * reading.known))
        nothing = np.zeros((jacobian.rows, rank)), np.zeros((rank, jacobian.hidden))
        return Inversion(product, np.zeros_like(product), *nothing, (1.0,))
    plain = max(1, min(PLAIN_ITERATIONS, (products - 3) // 2))
    rounds = max(0, min(ROUNDS, (products - 3 - 2 * plain) // ROUND_PRODUCTS))
    return invert(jacobian, reading, rank, rounds, plain)


def _invert(
    jacobian: Jacobian, reading: Reading, classes: int, attack: Attack
) -> tuple[Inversion, tuple[Inversion, I64] | None]:
    rank = attack.knowledge.rank or max(1, classes - 1)
    found = within(jacobian, reading, rank, attack.products)
    if attack.dose is None:
        return found, None
    target, labels = _planted(jacobian, classes, attack.dose)
    return found, (within(jacobian, target, rank, attack.products), labels)


def _planted(jacobian: Jacobian, classes: int, size: float) -> tuple[Reading, I64]:
    """A reading of g = size * d v^T plus noise of length one, for labels at random; every parameter is known."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    labels = rng.permutation(np.arange(jacobian.rows) % classes)
    directions: F64 = rng.normal(size=(classes, jacobian.hidden))
    signal = (directions - directions.mean(axis=0))[labels]
    noise = rng.normal(size=signal.shape)
    g = size * signal / np.linalg.norm(signal) + noise / np.linalg.norm(noise)
    return Reading(jacobian.vjp(g), np.ones(jacobian.parameters)), labels


def _made(scored: list[Finding | None], products: int) -> list[Finding]:
    """The findings of estimates that were computed; with one product that is the first."""
    names = ("product",) if products < 4 else ("product", "lsqr", "low-rank")
    return [f for f in scored if f is not None and f.attack.rpartition("/")[2] in names]


def _curve(
    planted: tuple[Inversion, I64] | None, rows: I64, classes: int, where: str, attack: Attack
) -> list[DoseCurve]:
    if planted is None or attack.dose is None:
        return []
    found, labels = planted
    scored = [evaluate(replace(g, rows=None), labels, classes, 0) for g in guesses(found, rows, classes, where)]
    return [
        DoseCurve(f.name, f.tier, (attack.dose,), (f.score,), len(rows), classes)
        for f in _made(scored, attack.products)
    ]


def _same(one: Update, other: Update) -> bool:
    return np.array_equal(one.before, other.before) and np.array_equal(one.after, other.after)
