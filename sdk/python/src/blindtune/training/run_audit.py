"""The audit of one run: what its hosts saw on the wire, what they compute with the adapters they were left, and what
they would be sent if they cheated.

Owns: which tensors of a run are attacked together, and in which order the parts of an audit run. Must never: show an
attack what no single host has; hosts that run different adapter sets are attacked one by one. Attacks are in audit/.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from .. import audit as attacks
from ..arrays import AnyArray
from ..audit import active, dose, tier2, tier3
from ..audit.evidence import DoseCurve, Evidence, Support
from ..audit.score import RESAMPLES, restarted
from ..audit.share_bound import ShareBound
from ..audit.support import support_of
from ..client import Client
from ..client.step_calls import Call
from ..data import Dataset
from ..errors import BlindtuneError
from ..optimizers import AdamWSettings, SGDSettings, learning_rate
from .altered import altered_responses
from .placement import Placement, make_placement
from .run import Run
from .settings import Settings

log = logging.getLogger("blindtune")

SUPPORT_STEPS = 40


@dataclass(frozen=True)
class Subject:
    """What an audit works on: the run, what its hosts saw, and the labels [N] of the job's rows, to score with."""

    run: Run
    seen: attacks.Seen
    updates: attacks.UpdateRecorder
    labels: AnyArray | None
    gates: attacks.Gates

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self.run.about.settings

    @property
    def placement(self) -> Placement:
        """What its hosts divide among them."""
        return self.run.group.placement


@dataclass(frozen=True)
class Rows:
    """Rows to attack: `data`, and what the hosts compute for them."""

    data: Dataset
    tensors: attacks.Tensors


@dataclass(frozen=True)
class Found:
    """What one part of an audit found: findings, curves of what was planted, and by channel why there are none."""

    findings: Sequence[attacks.Finding] = ()
    curves: Sequence[DoseCurve] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def and_also(self, other: Found) -> Found:
        """Both."""
        missing = {**self.missing, **other.missing}
        return Found([*self.findings, *other.findings], [*self.curves, *other.curves], missing)


def audit_run(subject: Subject, rows: Rows, trained: Rows | None, effort: attacks.Effort) -> attacks.LeakReport:
    """Everything: activations, gradients, updates, a host that cheats, and what all this is worth."""
    classes = rows.data.sides
    report: attacks.LeakReport | None = None
    for number in range(effort.restarts):
        with restarted(number):
            found = _on_what_was_seen(subject, rows, trained, effort)
        report = found if report is None else report.joined(found)
    assert report is not None, "an audit has one start at least"
    more = Found()
    if not subject.run.frozen:
        for part in (_on_updates(subject, classes, effort), _on_altered(subject, rows, effort)):
            more = more.and_also(part)
        report = report.joined(attacks.LeakReport.of(more.findings, report.classes, 0))
    return replace(report, evidence=_evidence(subject, rows, report, effort, more))


def audit_blind(rows: Rows, trained: Rows | None, gates: attacks.Gates, effort: attacks.Effort) -> attacks.LeakReport:
    """Of a method that sends nothing but texts: what anybody can read off the bare backbone."""
    placement, quick, classes = make_placement("shares", 1), not effort.thorough, rows.data.sides
    report: attacks.LeakReport | None = None
    for number in range(effort.restarts):
        with restarted(number):
            found = attack_activations(rows.tensors, classes, placement, quick)
        if trained is not None:
            found = with_excess(found, attack_activations(trained.tensors, classes, placement, quick))
        report = found if report is None else report.joined(found)
    assert report is not None, "an audit has one start at least"
    curves: list[DoseCurve] = []
    if effort.doses is not None:
        curves = dose.of_activations(rows.tensors.activations, None, report.classes, effort.doses)
    evidence = Evidence(
        doses=tuple(curves),
        gates_sha256=gates.sha256,
        verdicts=gates.judge(report),
        channels=attacks.channels("side", report),
        restarts=effort.restarts,
    )
    return replace(report, evidence=evidence)


def _on_what_was_seen(subject: Subject, rows: Rows, trained: Rows | None, effort: attacks.Effort) -> attacks.LeakReport:
    classes, quick = rows.data.sides, not effort.thorough
    report = attack_activations(rows.tensors, classes, subject.placement, quick)
    if trained is not None:
        report = with_excess(report, attack_activations(trained.tensors, classes, subject.placement, quick))
    if subject.labels is None:
        return report
    return report.joined(attack_record(subject.seen, subject.labels, classes, quick))


# The parts.


@contextmanager
def recorded(clients: Sequence[Client], *recorders: attacks.Recorder) -> Iterator[None]:
    """Let recorders see the steps of these clients, beside recorders that are there already."""
    before = [client.recorder for client in clients]
    for k, client in enumerate(clients):
        for recorder in recorders:
            client.recorder = _both(client.recorder, recorder.on(k))
    try:
        yield
    finally:
        for client, recorder_before in zip(clients, before, strict=True):
            client.recorder = recorder_before


def attack_record(seen: attacks.Seen, labels: AnyArray, classes: int, quick: bool) -> attacks.LeakReport:
    """Attack the gradients that hosts were sent; `labels` [N] are those of the job's rows."""
    truth, classes = attacks.as_classes(labels, classes)
    steps = tier2.steps_by_host(seen, quick)
    guesses = [guess for host, mine in steps.items() for guess in tier2.guesses(mine, host, classes, quick)]
    found = [attacks.evaluate(guess, truth, classes, 0 if quick else RESAMPLES) for guess in guesses]
    return attacks.LeakReport.of([f for f in found if f is not None], classes, 0)


def attack_activations(tensors: attacks.Tensors, classes: int, placement: Placement, quick: bool) -> attacks.LeakReport:
    """Attack activations, host by host where hosts have different sets; of each attack the worst host counts."""
    report: attacks.LeakReport | None = None
    for own in _sets_by_host(placement, len(tensors.activations)):
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


def _sets_by_host(placement: Placement, count: int) -> set[tuple[int, ...]]:
    return {tuple(placement.sets(host, count)) for host in placement.evaluators()}


def _both(
    first: Callable[[Call, bytes], None] | None, second: Callable[[Call, bytes], None]
) -> Callable[[Call, bytes], None]:
    if first is None:
        return second

    def call_both(call: Call, answer: bytes) -> None:
        first(call, answer)
        second(call, answer)

    return call_both


# Tier 3.


def _on_updates(subject: Subject, classes: int, effort: attacks.Effort) -> Found:
    """Inverts an update of each set, or says why none was."""
    channel = "updates of the adapters"
    if effort.products < 1:
        return Found(missing={channel: "left out of this audit"})
    if subject.settings.placement == "steps":
        return Found(missing={channel: "each host sees only some values of the adapters; no attack on that is built"})
    if subject.labels is None or not subject.updates.first().forwards:
        return Found(missing={channel: "no update of this run is on record"})
    truth, classes = attacks.as_classes(subject.labels, classes)
    largest = None if effort.doses is None else max(effort.doses.sizes)
    attack = tier3.Attack(knowledge_of(subject.settings, subject.run.step), effort.products, largest)
    links = subject.run.group.links
    try:
        found = tier3.attack_updates(lambda host: links[host].client, subject.updates, truth, classes, attack)
    except BlindtuneError as error:
        log.warning("tier 3 was left out: %s", error)
        return Found(missing={channel: f"the host refused the attack's own job: {error}"})
    return Found(*found)


def knowledge_of(settings: Settings, steps: int) -> attacks.Knowledge:
    """The optimizer as a host knows it that knows the settings; the secret is in none of them."""
    total = settings.steps or steps
    warmup = settings.warmup if settings.warmup is not None else total // 10

    def reader() -> attacks.SGDReader | attacks.AdamWReader:
        if settings.optimizer == "sgd":
            return attacks.SGDReader(SGDSettings(lr=settings.peak_lr, weight_decay=settings.weight_decay))
        return attacks.AdamWReader(AdamWSettings(lr=settings.peak_lr, weight_decay=settings.weight_decay))

    return attacks.Knowledge(reader, lambda batch: learning_rate(batch, total, warmup, settings.peak_lr))


# A host that cheats.


def _on_altered(subject: Subject, rows: Rows, effort: attacks.Effort) -> Found:
    """What a host reads that answers with the same activations for all rows of a batch."""
    if effort.active < 1:
        return Found(missing={"gradients of altered activations": "left out of this audit"})
    truth, classes = attacks.as_classes(rows.tensors.labels, rows.data.sides)
    batches = active.batches_of(len(truth), min(subject.settings.rows_per_batch, len(truth)), effort.active)
    responses = altered_responses(subject.run, rows.data, rows.tensors, batches)
    guesses = [active.guess(name, tensors, batches, classes) for name, tensors in responses.items()]
    resamples = RESAMPLES if effort.thorough else 0
    found = [f for f in (attacks.evaluate(guess, truth, classes, resamples) for guess in guesses) if f is not None]
    curves = [] if effort.doses is None else dose.of_active(batches, subject.run.hidden, classes, effort.doses)
    return Found(found, [replace(curve, attack=finding.name) for curve in curves for finding in found])


# What the numbers are worth.


def _evidence(
    subject: Subject, rows: Rows, report: attacks.LeakReport, effort: attacks.Effort, more: Found
) -> Evidence:
    curves = list(more.curves)
    if effort.doses is not None:
        curves = [*_activation_doses(subject, rows, effort.doses), *curves]
        for host, steps in _recent(subject, effort.doses.steps, not effort.thorough).items():
            curves += dose.of_gradients(steps, host, report.classes, effort.doses)
    return Evidence(
        doses=dose.worst_of(curves),
        gates_sha256=subject.gates.sha256,
        verdicts=subject.gates.judge(report),
        channels=attacks.channels(subject.settings.method, report, more.missing),
        support=_support(subject),
        share_bound=share_bound(subject.run, None if subject.labels is None else len(subject.labels)),
        shares_measured=report.gradients,
        restarts=effort.restarts,
    )


def _support(subject: Subject) -> tuple[Support, ...]:
    """The shape of every share, as each host was sent it."""
    return tuple(
        support_of(f"host{host}/set{i}.share{j}", [step.shares[i, j] for step in steps])
        for host, steps in _recent(subject, SUPPORT_STEPS, quick=True).items()
        for i, j in sorted(steps[0].shares)
    )


def _activation_doses(subject: Subject, rows: Rows, doses: attacks.Doses) -> list[DoseCurve]:
    tensors, found = rows.tensors, []
    classes = attacks.as_classes(tensors.labels, rows.data.sides)[1]
    for own in _sets_by_host(subject.placement, len(tensors.activations)):
        mine = [tensors.activations[i] for i in own]
        found += dose.of_activations(mine, tensors.base, classes, doses)
    return found


def _recent(subject: Subject, steps: int, quick: bool) -> dict[int, list[tier2.Step]]:
    """The last steps of each host; of hosts that were sent tensors of the same names only the first."""
    found: dict[int, list[tier2.Step]] = {}
    for host in subject.seen.hosts:
        backwards = [b for b in subject.seen.backwards if b.host == host][-steps:] if steps else []
        mine = tier2.steps_of(replace(subject.seen, backwards=tuple(backwards)), host, quick)
        names = [step.shares.keys() for step in mine[:1]]
        if mine and not any(names == [s.shares.keys() for s in other[:1]] for other in found.values()):
            found[host] = mine
    return found


def share_bound(run: Run, rows: int | None) -> ShareBound | None:
    """What is proven about the shares that one host holds; None where a host holds all, or none are sent."""
    settings = run.about.settings
    shares, hosts = settings.shares or 1, len(run.group.links)
    held = -(-shares // hosts)
    divided = settings.obfuscation == "shares" and settings.placement == "shares"
    if not divided or held >= shares or not rows or not run.step:
        return None
    sent = run.step * min(settings.rows_per_batch, rows)
    return ShareBound(run.hidden, shares, settings.noise_scale, rows, sent, held, settings.sets)
