"""Runs every attack on what the hosts saw, and scores it.

Owns: which tiers run on what, and the excess over fresh rows. Must never: hand a label to an attack of tiers 0 to 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..arrays import F32, I64, AnyArray
from . import tier0, tier1, tier2, tier4
from .recorder import Seen
from .report import Finding, LeakReport
from .score import RESAMPLES, Guess, as_classes, evaluate
from .views import views, whitener

AGREEMENT = 1e-2


@dataclass(frozen=True)
class Tensors:
    """Activations h_i [N, H] of some rows, h_base [N, H] if there is one, and the rows' labels [N]."""

    activations: Sequence[F32]
    base: F32 | None
    labels: AnyArray


def run(seen: Seen, labels: AnyArray, classes: int, fresh: Tensors | None = None, quick: bool = False) -> LeakReport:
    """Attack a record of the wire, host by host.

    `labels` [N] belong to the rows of the job's file, by row number; floats are a regression's values, which are
    scored as above or below their median. `fresh` are rows that were never trained on: findings then carry `excess`.
    `quick` leaves out independent components, recombination, probes, oracles and intervals.
    """
    with threadpool_limits(limits=1):
        return _run(seen, labels, classes, fresh, quick)


def on_activations(
    activations: Sequence[F32], base: F32 | None, labels: AnyArray, classes: int, quick: bool = False
) -> LeakReport:
    """Tiers 0, 1 and 4 on given activations h_i [N, H] and h_base; at most 2,000 rows are looked at."""
    with threadpool_limits(limits=1):
        return _on_activations(activations, base, labels, classes, quick)


def unsupervised(
    activations: Sequence[F32], base: F32 | None, labels: I64, classes: int, quick: bool = False
) -> list[Finding]:
    """Tiers 0 and 1 on all rows given, scored without intervals: what planted leaks are looked for with."""
    return _scored(_unsupervised(activations, base, classes, (quick, quick)), labels, classes, quick=True)


def look(activations: Sequence[F32], base: F32, labels: AnyArray, classes: int) -> LeakReport:
    """Tiers 0 and 1 in about a second, for use while training: no intervals, and no attack that is told a label."""
    truth, classes = as_classes(labels, classes)
    if len(truth) < max(classes, 4):
        return LeakReport.of((), classes, len(truth))
    guesses = [g for g in _unsupervised(activations, base, classes, (True, False)) if not g.oracle]
    return LeakReport.of(_scored(guesses, truth, classes, quick=True), classes, len(truth))


def _run(seen: Seen, labels: AnyArray, classes: int, fresh: Tensors | None, quick: bool) -> LeakReport:
    truth, classes = as_classes(labels, classes)
    report = LeakReport.of((), classes, 0)
    attacked: list[tuple[dict[int, F32], I64]] = []
    for host in seen.hosts:
        table, base, rows = seen.activations(host)
        if table and not any(_same(table, rows, *other) for other in attacked):
            attacked.append((table, rows))
            mine = _on_activations(list(table.values()), base, truth[rows], classes, quick)
            report = mine if not report.findings else report.joined(mine)
        guesses = tier2.guesses(tier2.steps_of(seen, host), host, classes, quick)
        sent = LeakReport.of(_scored(guesses, truth, classes, quick), classes, report.rows)
        report = report.joined(sent)
    if fresh is None:
        return report
    return report.over(_on_activations(fresh.activations, fresh.base, fresh.labels, classes, quick))


def _on_activations(
    activations: Sequence[F32], base: F32 | None, labels: AnyArray, classes: int, quick: bool
) -> LeakReport:
    truth, classes = as_classes(labels, classes)
    rows = tier0.sample_rows(len(truth))
    truth, some = truth[rows], [h[rows] for h in activations]
    plain = None if base is None else base[rows]
    if len(rows) < max(classes, 4):
        return LeakReport.of((), classes, len(rows))
    findings = _scored(_unsupervised(some, plain, classes, (quick, quick)), truth, classes, quick)
    if not quick:
        findings += tier4.probes(some, plain, truth, classes)
    return LeakReport.of(findings, classes, len(rows))


def _unsupervised(
    activations: Sequence[F32], base: F32 | None, classes: int, quick: tuple[bool, bool]
) -> Iterator[Guess]:
    """Tiers 0 and 1 on every view; `quick` says for each tier whether to leave out what takes long."""
    whitening = None if base is None else whitener(base)
    for view in views(activations, base):
        if view.kind != "views":
            yield from tier0.guesses(view, classes, quick[0])
        yield from tier1.guesses(view, whitening, classes, quick[1])


def _same(table: dict[int, F32], rows: I64, other: dict[int, F32], other_rows: I64) -> bool:
    """Whether two hosts computed the same activations of the same rows, up to their kernels' rounding."""
    if table.keys() != other.keys() or not np.array_equal(rows, other_rows):
        return False
    return all(np.linalg.norm(h - other[i]) <= AGREEMENT * np.linalg.norm(h) for i, h in table.items())


def _scored(guesses: Iterable[Guess], labels: I64, classes: int, quick: bool) -> list[Finding]:
    found = (evaluate(guess, labels, classes, 0 if quick else RESAMPLES) for guess in guesses)
    return [finding for finding in found if finding is not None]
