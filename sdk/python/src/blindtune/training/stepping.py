"""The loop of a run that trains with the hosts, step by step.

Owns: the order within a step (forward, mix, loss, obfuscate, backward, update), the evaluations between steps, and the
records of both. Must never: let an evaluation end a blind run early: how long it takes may tell no label.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ..arrays import F32, I64
from ..errors import RunError
from ..optimizers import clip, learning_rate
from .callbacks import Callbacks
from .interrupts import uninterrupted
from .leak_watch import LeakError
from .run import Run

if TYPE_CHECKING:
    from ..private.selection import Selection
    from ..private.training_labels import TrainingLabels

log = logging.getLogger("blindtune")

COLLAPSE = 0.6
"""Warn when a set's mean |h| falls below this part of the backbone's: that hides from the regularizer only."""
COLLAPSE_EVERY = 50


@dataclass
class DevRows:
    """The rows that a run is evaluated on while it trains; without a `selection` only at its end."""

    sha256: str
    scores: Callable[[], dict[str, float]]
    """Of the run as it stands."""
    selection: Selection | None = None
    final: dict[str, float] | None = None
    """The scores of what the run serves at its end."""


@dataclass
class Stepping:
    """A run, the labels of its rows, and what is done between its steps."""

    run: Run
    labels: TrainingLabels
    rows_of: Callable[[int], I64]
    """The rows of each batch."""
    frozen: F32 | None = None
    """The bare backbone's activations [N, H], where no host is asked step by step."""
    dev: DevRows | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        assert self.run.plan is not None, "a run has a plan before it steps"
        self.plan, self.settings, self.folder = self.run.plan, self.run.about.settings, self.run.folder

    def go(self, progress: bool) -> None:
        """Every step that is left, or until patience is exhausted; the run then has its best state in use."""
        run, steps = self.run, self.plan.steps
        self._take_up_evaluations()
        recent = self.folder.steps()[: run.step]
        shown = tqdm(total=steps, initial=run.step, disable=None if progress else True, unit="step")
        try:
            with run.kept(), shown as bar:
                self._evaluate_where_due()
                while run.step < steps and not run.stopped:
                    rows = self.rows_of(run.step)
                    with run.attempt():
                        recent.append(self._step(rows, self.labels.take(rows)))
                    bar.set_postfix_str(_postfix(recent[-20:]), refresh=False)
                    bar.update()
                    self._between_steps(recent[-1])
        finally:
            run.serve_best()

    def _between_steps(self, record: dict[str, Any]) -> None:
        run = self.run
        if run.watch.due(run.step):
            with uninterrupted():
                self._look()
        if run.step % self.settings.save_every == 0 or run.step == self.plan.steps:
            run.save()
        self.callbacks.on_step(record)
        self._evaluate_where_due()

    # Evaluations.

    def _take_up_evaluations(self) -> None:
        """What the folder has of them, up to the newest that the saved state knows: later ones are made again."""
        run, dev = self.run, self.dev
        if dev is None or dev.selection is None:
            return
        known = 0 if run.best is None else run.best.evaluated
        for record in self.folder.evaluations():
            if record["step"] > known:
                break
            if record["dev_sha256"] != dev.sha256:
                raise RunError(f"{self.folder.path}: the run was evaluated on other dev rows; use another folder")
            dev.selection.add(record["step"], record["scores"])
        self._conclude(dev.selection)

    def _evaluate_where_due(self) -> None:
        dev, run = self.dev, self.run
        last = run.step >= self.plan.steps
        if dev is None:
            return
        if dev.selection is None:
            if last:
                dev.final = self._evaluate(dev)["scores"]
            return
        if dev.selection.due(run.step, last):
            scores = dev.scores()
            run.evaluated(dev.selection.add(run.step, scores))
            self._conclude(dev.selection)
            record = self._recorded(dev, scores)
            run.save()
            self.callbacks.on_evaluation(record)
        dev.final = dev.selection.best_scores

    def _evaluate(self, dev: DevRows) -> dict[str, Any]:
        """The only evaluation of a run that chooses nothing by it; made once for a step and its dev rows."""
        for known in self.folder.evaluations():
            if (known["step"], known["dev_sha256"]) == (self.run.step, dev.sha256):
                return known
        record = self._recorded(dev, dev.scores())
        self.callbacks.on_evaluation(record)
        return record

    def _recorded(self, dev: DevRows, scores: dict[str, float]) -> dict[str, Any]:
        record: dict[str, Any] = {"step": self.run.step, "scores": scores, "dev_sha256": dev.sha256}
        if dev.selection is not None:
            record |= {"metric": dev.selection.metric, "best": dev.selection.best_step == self.run.step}
        self.folder.record_evaluation(record)
        return record

    def _conclude(self, selection: Selection) -> None:
        """Blind runs make their other steps as well, and forget them: their hosts wait for the end meanwhile."""
        self.run.stopped = selection.over and not self.run.frozen

    # One step.

    def _step(self, rows: I64, labels: TrainingLabels) -> dict[str, Any]:
        run, started = self.run, time.monotonic()
        before, cut = run.group.traffic(), run.group.truncated
        base: F32 | None = None
        if self.frozen is not None:
            activations = [self.frozen[rows]]
        else:
            wanted = run.home.penalty.needs_base or run.watch.on
            activations, base = run.backprop.forward(rows, run.thetas, wanted, run.step)
        home = run.home.step(activations, base, labels.targets, run.step, labels.pseudo)
        adapter_gradients: list[F32] = []
        kappa = 1.0
        if self.frozen is None:
            adapter_gradients, kappa = run.backprop.backward(
                home.activation_gradients, ("step", run.step), run.step, lambda k: home.relabelled(labels.decoys[k])
            )
        gradients = [*adapter_gradients, *home.head_gradients]
        norm, rate = clip(gradients, None)[1], self._rate()
        if not np.isfinite(home.loss) or not np.isfinite(norm):
            raise RunError(f"step {run.step + 1}: loss {home.loss}, gradient norm {norm}; lower lr or the regularizers")
        with uninterrupted():
            run.updates.add(gradients, rate, last=run.step + 1 == self.plan.steps)
            self._remember(activations, base, labels)
            run.step += 1
            up, down, retries = (now - then for now, then in zip(run.group.traffic(), before, strict=True))
            record = {
                "step": run.step,
                "loss": home.loss,
                "task_loss": home.task_loss,
                "accuracy": home.correct / len(rows),
                "lr": rate,
                "gradient_norm": norm,
                "h_norms": self._watch_norms(activations),
                "kappa": kappa,
                "bytes_up": up,
                "bytes_down": down,
                "retries": retries,
                "truncated": run.group.truncated_since(cut),
                "seconds": round(time.monotonic() - started, 4),
            }
            self.folder.record_step(record)
        return record

    def _remember(self, activations: Sequence[F32], base: F32 | None, labels: TrainingLabels) -> None:
        """What stays at home of a batch: for the penalty and for the next look."""
        run = self.run
        run.home.observe(activations, base, labels.targets)
        run.watch.add(activations, base, run.home.task.guarded(labels.targets))

    def _look(self) -> None:
        """Attack the last rows as a host could, write down what was found, and steer by it."""
        run = self.run
        schedule = run.home.penalty.schedule
        found = run.watch.look(run.step, schedule)
        self.folder.record_audit(found.record())
        try:
            run.watch.steer(found, schedule)
        except LeakError:
            run.save()
            raise

    def _rate(self) -> float:
        """The learning rate of the current step."""
        run = self.run
        return learning_rate(run.step, self.plan.steps, self.plan.warmup, self.settings.peak_lr)

    def _watch_norms(self, activations: Sequence[F32]) -> list[float]:
        """Mean |h_i| by set; adapters start as the bare backbone, so the first step is the yardstick."""
        run = self.run
        norms = [float(np.linalg.norm(h, axis=1).mean()) for h in activations]
        run.start_norms = run.start_norms or norms
        for i, (now, start) in enumerate(zip(norms, run.start_norms, strict=True)):
            if now < COLLAPSE * start and run.step % COLLAPSE_EVERY == 0:
                log.warning("step %d: mean |h| of set %d fell from %.2f to %.2f: it may leak", run.step, i, start, now)
        return norms


def _postfix(recent: Sequence[dict[str, Any]]) -> str:
    loss, accuracy = (float(np.mean([r[key] for r in recent])) for key in ("loss", "accuracy"))
    norms = "/".join(f"{norm:.1f}" for norm in recent[-1]["h_norms"])
    return f"loss {loss:.3f}, accuracy {accuracy:.3f}, |h| {norms}"
