"""The audit of one run: what its hosts saw on the wire, and what they can compute with the adapters they were left.

Owns: which tensors of a run are attacked together. Must never: show an attack what no single host has; hosts that run
different adapter sets are attacked one by one. The attacks are in audit/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from .. import audit as attacks
from ..arrays import I64
from ..audit import tier2
from ..audit.score import RESAMPLES
from ..client import Client
from ..client.step_calls import Call
from .placement import Placement


@contextmanager
def recorded(clients: Sequence[Client], recorder: attacks.Recorder) -> Iterator[None]:
    """Let `recorder` see the steps of these clients, beside recorders that are there already."""
    before = [client.recorder for client in clients]
    for k, client in enumerate(clients):
        client.recorder = _both(client.recorder, recorder.on(k))
    try:
        yield
    finally:
        for client, recorder_before in zip(clients, before, strict=True):
            client.recorder = recorder_before


def attack_record(seen: attacks.Seen, labels: I64, classes: int, quick: bool) -> attacks.LeakReport:
    """Attack the gradients that hosts were sent; `labels` [N] are those of the job's rows."""
    truth, classes = attacks.as_classes(labels, classes)
    guesses = [g for host in seen.hosts for g in tier2.guesses(tier2.steps_of(seen, host), host, classes, quick)]
    found = [attacks.evaluate(guess, truth, classes, 0 if quick else RESAMPLES) for guess in guesses]
    return attacks.LeakReport.of([f for f in found if f is not None], classes, 0)


def attack_activations(tensors: attacks.Tensors, classes: int, placement: Placement, quick: bool) -> attacks.LeakReport:
    """Attack activations, host by host where hosts have different sets; of each attack the worst host counts."""
    report: attacks.LeakReport | None = None
    count = len(tensors.activations)
    for own in {tuple(placement.sets(host, count)) for host in placement.evaluators()}:
        mine = [tensors.activations[i] for i in own]
        here = attacks.on_activations(mine, tensors.base, tensors.labels, classes, quick)
        report = here if report is None else report.joined(here)
    assert report is not None, "some host has activations"
    return report


def with_excess(fresh: attacks.LeakReport, trained: attacks.LeakReport) -> attacks.LeakReport:
    """`fresh`, saying by how much the same attacks find more on rows that were trained on."""
    over = trained.over(fresh)
    more = {finding.name: finding.excess for finding in over.findings}
    findings = tuple(replace(finding, excess=more.get(finding.name)) for finding in fresh.findings)
    return replace(fresh, findings=findings, excess=over.excess)


def _both(
    first: Callable[[Call, bytes], None] | None, second: Callable[[Call, bytes], None]
) -> Callable[[Call, bytes], None]:
    if first is None:
        return second

    def call_both(call: Call, answer: bytes) -> None:
        first(call, answer)
        second(call, answer)

    return call_both
