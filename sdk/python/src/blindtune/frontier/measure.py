"""Trains one point, evaluates it, attacks it, and stops when the time is up.

Owns: the way from settings to a `Point`. Must never: send what trainer.py would not, or let a point go on training past
the deadline; what was trained stays in its run folder and is continued by the next call.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from ..audit import LeakReport, sample_rows
from ..client import Client, StepAnswer
from ..client.step_calls import Call
from ..data import Dataset
from ..errors import BlindtuneError, RunError
from ..training.fit_result import FitResult
from ..training.trainer import Tuner
from .grid import GridPoint
from .point import Point, TierLeak, finite
from .versions import versions

log = logging.getLogger("blindtune")

EXCESS_ROWS = 1000


class BudgetSpent(BlindtuneError):
    """The time is up in the middle of a point; its run folder continues it."""


@dataclass
class Deadline:
    """When training must stop, by the monotonic clock; None once training is over."""

    at: float | None
    fired: bool = False

    def check(self) -> None:
        """Raise when it has passed."""
        if self.at is not None and time.monotonic() > self.at:
            self.fired = True
            raise BudgetSpent("the budget is spent")


class TimedClient(Client):
    """A client that sends nothing more once its deadline has passed."""

    deadline: Deadline | None = None

    def send(self, call: Call) -> StepAnswer:
        """As `Client.send`, within the time."""
        if self.deadline is not None:
            self.deadline.check()
        return super().send(call)


@dataclass(frozen=True)
class Where:
    """The model, the hosts that a point uses, and their keys, one each or one for all."""

    model: str
    hosts: tuple[str, ...]
    api_keys: tuple[str, ...] = ()

    def clients(self, count: int, deadline: Deadline) -> list[TimedClient]:
        """Fresh clients of the first `count` hosts: nothing recorded of one point is counted for another."""
        keys: list[str | None] = [*self.api_keys] or [None]
        keys = keys * len(self.hosts) if len(keys) == 1 else keys
        if len(keys) != len(self.hosts):
            raise RunError(f"{len(keys)} keys for {len(self.hosts)} hosts")
        made = [TimedClient(url, key) for url, key in zip(self.hosts[:count], keys[:count], strict=True)]
        for client in made:
            client.deadline = deadline
        return made


@dataclass(frozen=True)
class Rows:
    """What is trained on, and what accuracy and leaks are measured on."""

    train: Dataset
    dev: Dataset


@dataclass(frozen=True)
class Outcome:
    """A measured point, and the seconds that evaluation and audit took."""

    point: Point
    rest_s: float


def measure(point: GridPoint, seed: int, where: Where, rows: Rows, run: Path, **how: Any) -> Outcome:
    """Train, or continue, in the folder `run`. `how`: `deadline` (monotonic seconds), `progress`, `effort` (of the
    audit).

    Raises `BudgetSpent` when the deadline passes before training is over.
    """
    deadline = Deadline(how.get("deadline"))
    clients = where.clients(point.hosts, deadline)
    try:
        tuner = Tuner(
            where.model, clients, run=run, progress=bool(how.get("progress")), **{**point.settings, "seed": seed}
        )
        fit = _train(tuner, rows.train, deadline)
        down = sum(client.traffic.down for client in clients)
        up = sum(client.traffic.up for client in clients)
        deadline.at = None
        started = time.monotonic()
        quality = tuner.evaluate(rows.dev)
        some = rows.train.take(sample_rows(len(rows.train), EXCESS_ROWS))
        leak = tuner.audit(rows.dev, trained_on=some, effort=how.get("effort"))
        rest_s = time.monotonic() - started
        _end_jobs(tuner, clients)
        spent: dict[str, Any] = {"bytes_up": max(fit.bytes_up, up), "bytes_down": max(fit.bytes_down, down)}
        spent["seconds"] = _training_seconds(tuner, fit)
        about = {"name": point.name, "seed": seed, "hosts": point.hosts, "versions": versions(clients)}
        return Outcome(_point(about | spent, tuner, fit, quality, leak, rows), rest_s)
    finally:
        for client in clients:
            client.close()


def _train(tuner: Tuner, train: Dataset, deadline: Deadline) -> FitResult:
    """Whatever the trainer makes of the deadline's exception, the reason is the deadline."""
    try:
        return tuner.fit(train)
    except BlindtuneError as error:
        if deadline.fired:
            raise BudgetSpent("the budget is spent") from error
        raise


def _point(
    about: Mapping[str, Any], tuner: Tuner, fit: FitResult, quality: Mapping[str, float], leak: LeakReport, rows: Rows
) -> Point:
    accuracy, count = float(quality["accuracy"]), len(rows.dev)
    low, high = accuracy_interval(accuracy, count)
    return Point(
        **about,
        settings=finite(tuner.settings.to_dict()),
        classes=rows.dev.classes,
        rows_train=len(rows.train),
        rows_dev=count,
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        loss=float(quality["loss"]),
        steps=fit.steps,
        norm_ratio=finite(fit.norm_ratio),
        majority=float(np.bincount(rows.dev.labels).max() / count),
        tiers=tier_leaks(leak),
        kinds=finite(leak_kinds(leak)),
        findings=findings(leak),
        history=read_history(tuner.folder.path),
        exposure=tuple(leak.exposure),
        evidence=finite(worth_of(leak)),
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def accuracy_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """The bootstrap's 95 % of a share of `rows`: resampled hits are binomial, so nothing has to be drawn."""
    low, high = binom.ppf([0.025, 0.975], rows, accuracy) / rows
    return float(low), float(high)


def leak_kinds(leak: LeakReport) -> dict[str, float | None]:
    """The leak by kind of tensor, as the report has it."""
    return {kind: getattr(leak, kind) for kind in ("activations", "shifts", "differences", "gradients")}


def tier_leaks(leak: LeakReport) -> dict[int, TierLeak]:
    """Tier by tier the worst finding that chose without labels.

    A report without tiers gives what its kinds say: the authors' attacks, and those on differences of sets.
    """
    tiers: Mapping[int, float] = getattr(leak, "tiers", {})
    if not tiers:
        kinds = leak_kinds(leak)
        authors = [v for name, v in kinds.items() if name != "differences" and v is not None]
        found = {0: TierLeak(max(authors))} if authors else {}
        return found | ({1: TierLeak(kinds["differences"])} if kinds["differences"] is not None else {})
    oracle: Mapping[int, float] = getattr(leak, "oracle", {})
    return {tier: _worst(leak, tier, score, oracle.get(tier)) for tier, score in sorted(tiers.items())}


def _worst(leak: LeakReport, tier: int, score: float, oracle: float | None) -> TierLeak:
    honest = [f for f in getattr(leak, "findings", ()) if f.tier == tier and not f.picked_with_labels]
    if not honest:
        return TierLeak(float(score), oracle=finite(oracle))
    worst = max(honest, key=lambda f: f.score)
    values = {name: finite(getattr(worst, name)) for name in ("low", "high", "control", "excess")}
    name = worst.attack if worst.attack.startswith(worst.kind) else f"{worst.kind}: {worst.attack}"
    return TierLeak(float(score), attack=name, assumption=worst.assumption, oracle=finite(oracle), **values)


def worth_of(leak: LeakReport) -> dict[str, Any]:
    """What the leaks are worth, without the curves: they are many, and audits of a run have them."""
    found = leak.evidence.to_dict()
    channels = [c["name"] for c in found["channels"] if c["status"] == "not measured"]
    kept = {name: found[name] for name in ("no_claim", "gates", "share_bound", "restarts")}
    return kept | {"attacks_with_a_dose": len(leak.evidence.doses), "not_measured": channels}


def findings(leak: LeakReport) -> tuple[dict[str, Any], ...]:
    """Every attack, as plain values."""
    return tuple(finite(asdict(f)) for f in getattr(leak, "findings", ()))


def read_history(folder: Path) -> tuple[dict[str, Any], ...]:
    """The audits made while training, from `audits.jsonl`: step, tiers, weight. A step done twice counts once."""
    path = folder / "audits.jsonl"
    found: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            found[int(entry["step"])] = finite(entry)
        except (ValueError, KeyError, TypeError):
            continue  # a line cut by a crash
    return tuple(found[step] for step in sorted(found))


def _training_seconds(tuner: Tuner, fit: FitResult) -> float:
    """Of this process, or of all its steps where earlier processes did some."""
    steps = sum(float(step.get("seconds", 0.0)) for step in tuner.folder.steps())
    return round(max(steps, fit.seconds), 3)


def _end_jobs(tuner: Tuner, clients: Sequence[Client]) -> None:
    """Grid points leave no fine-tuned model behind; predicting from the run folder opens a job of its own.

    Method side has no jobs.
    """
    for client, job in zip(clients, tuner.summary()["jobs"], strict=False):
        try:
            client.jobs.cancel(job)
        except BlindtuneError as error:
            log.info("job %s was not cancelled: %s", job, error)
