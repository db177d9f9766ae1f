"""Trains one method over HTTP and measures what the host that can guess best saw.

Owns: the order train, evaluate, audit, and the samples for the picture. Must never: hand a label to a host.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from blindtune import Client, Dataset, LeakReport, Tuner
from blindtune.audit import Doses, Effort, Recorder
from blindtune.training.run_folder import RunFolder
from plan import Plan
from transcript import TranscribedClient

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

KINDS = ("activations", "shifts", "differences", "gradients")


AUDIT = Effort(products=0, doses=Doses(sizes=(3.0,), rows=200, steps=4), active=4)
"""The demo has four minutes: one planted leak, and tier 3, which asks the host for minutes of work, is left out."""
DOTS = 800
"""Rows of the picture."""
HOST_ATTACKS = (0, 1, 2)
"""Tiers of attacks that need no label and no adapters of earlier steps (SECURITY.md)."""


class Leak(TypedDict):
    """How well the host guesses the labels from each kind of tensor; None where it never gets one.

    `worst` is the best of all attacks that know no label, on any of these tensors or several at once.
    """

    activations: float | None
    shifts: float | None
    differences: float | None
    gradients: float | None
    worst: float


class MethodReport(TypedDict):
    """One method, as it stands in report.json."""

    protection: str
    accuracy: float
    leak: Leak
    hosts: int
    steps: int
    seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class Seen:
    """Rows [N, H] as a host saw them, and the labels [N] it did not see."""

    rows: F32
    labels: I64


@dataclass(frozen=True)
class Outcome:
    """What came out of one method."""

    report: MethodReport
    host_learns: tuple[str, ...]
    worst_attack: str
    activations: Seen
    gradients: Seen | None
    transcript: str
    """Hash of what the first host was sent while training."""
    secret: bytes = b""
    """The run's."""


@dataclass(frozen=True)
class Findings:
    """What came out of all methods, and whether side's host is sent the same bytes under other labels."""

    outcomes: Mapping[str, Outcome]
    same_transcript: bool


def train_method(
    method: str, plan: Plan, train: Dataset, dev: Dataset, hosts: Sequence[TranscribedClient], progress: bool = True
) -> Outcome:
    """Train on `train`, measure on `dev`. Seconds and bytes are those of the training, from upload to last step."""
    secret = plan.secret(method)
    with _tuner(method, plan, hosts, secret, progress) as tuner:
        outcome = _train(tuner, train, dev, hosts[0])
    return replace(outcome, secret=secret)


def transcript_of_opposite(method: str, plan: Plan, train: Dataset, host: TranscribedClient, secret: bytes) -> str:
    """Hash of what the host is sent when the same method trains on the same texts with every label changed."""
    other = (train.labels + 1) % train.classes
    with _tuner(method, plan, [host], secret, progress=False) as tuner:
        tuner.fit(Dataset(train.texts, other, train.label_names))
    return host.transcript.sha256()


@contextmanager
def _tuner(method: str, plan: Plan, hosts: Sequence[Client], secret: bytes, progress: bool) -> Iterator[Tuner]:
    """A run of its own in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="blindtune-demo-") as folder:
        RunFolder(folder).write("secret", secret.hex().encode())
        # Features of its own: a run that shares them has nothing to ask the host for.
        features = Path(folder) / "features"
        tuner = Tuner(plan.model, hosts, run=folder, features=features, progress=progress, **plan.training(method))
        # A host keeps everything it saw, so the attacks get every step: with a part of the rows their luck grows.
        tuner.recorder = Recorder(rows=plan.steps * plan.batch_size)
        yield tuner


def _train(tuner: Tuner, train: Dataset, dev: Dataset, host: TranscribedClient) -> Outcome:
    before, started = _traffic(tuner.clients), time.monotonic()
    fit = tuner.fit(train)
    seconds, after, sent = time.monotonic() - started, _traffic(tuner.clients), host.transcript.sha256()
    accuracy = tuner.evaluate(dev)["accuracy"]
    leak = tuner.audit(dev, effort=AUDIT)
    report: MethodReport = {
        "protection": tuner.summary()["protection"],
        "accuracy": round(accuracy, 4),
        "leak": _leak_of(leak),
        "hosts": len(tuner.clients),
        "steps": fit.steps,
        "seconds": round(seconds, 1),
        "bytes_up": after[0] - before[0],
        "bytes_down": after[1] - before[1],
    }
    some = dev.take(np.arange(min(len(dev), DOTS)))
    activations = Seen(tuner.activations(some.texts)[0][_worst_set(leak)], some.labels)
    gradients = _worst_gradients(tuner, leak)
    tuner.complete()
    return Outcome(report, leak.exposure, _worst_attack(leak)[0], activations, gradients, sent)


def _traffic(hosts: Sequence[Client]) -> tuple[int, int]:
    return sum(host.traffic.up for host in hosts), sum(host.traffic.down for host in hosts)


def _leak_of(leak: LeakReport) -> Leak:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(float(value), 4)

    return {
        "activations": rounded(leak.activations),
        "shifts": rounded(leak.shifts),
        "differences": rounded(leak.differences),
        "gradients": rounded(leak.gradients),
        "worst": round(_worst_attack(leak)[1], 4),
    }


def _worst_attack(leak: LeakReport) -> tuple[str, float]:
    """Name and score of the best attack of the tiers of HOST_ATTACKS."""
    reached = [f for f in leak.findings if f.tier in HOST_ATTACKS and not f.picked_with_labels]
    best = max(reached, key=lambda finding: finding.score)
    return best.name, float(best.score)


def _worst_set(leak: LeakReport) -> int:
    """The adapter set whose activations leak most; attacks are named `activations/h{i}/{attack}`."""
    scores = {name: value for name, value in leak.attacks.items() if name.startswith("activations/h")}
    if not scores:
        return 0
    return int(max(scores, key=lambda name: scores[name]).split("/")[1].removeprefix("h"))


def _worst_gradients(tuner: Tuner, leak: LeakReport) -> Seen | None:
    """What the host that can guess best was sent for one set, each row scaled to length one, as it might do itself.

    Attacks are named `gradients/host{k}/set{i}.share{j}/{attack}`.
    """
    scores = {n: v for n, v in leak.attacks.items() if n.startswith("gradients/host") and ".share" in n}
    seen, labels = tuner.recorder.seen(), tuner.folder.labels()
    if not scores or labels is None:
        return None
    _, host, stream, _ = max(scores, key=lambda name: scores[name]).split("/", 3)
    i, j = (int(number) for number in stream.removeprefix("set").split(".share"))
    steps = [(seen.forward_of(b), b) for b in seen.backwards if f"host{b.host}" == host and (i, j) in b.shares]
    known = [(forward.rows, backward.shares[i, j]) for forward, backward in steps if forward is not None]
    if not known:
        return None
    rows = np.concatenate([_unit_rows(np.asarray(share, dtype=np.float32)) for _, share in known])
    return Seen(rows, labels[np.concatenate([numbers for numbers, _ in known])])


def _unit_rows(x: F32) -> F32:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)
