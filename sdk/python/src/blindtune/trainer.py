"""Training driven from the label holder's side: one object per run.

Owns: the loop (forward, mix, loss, split, backward, update) and its records.
Must never: put anything but texts, row numbers, adapters and shares into a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import audit as attacks
from .arrays import F32, I64, AnyArray, sha256
from .calls import ForwardRequest
from .client import Client
from .data import Batches, Dataset, Text, evaluation_chunks, text_lengths
from .errors import RunError
from .home import HomeStep
from .optim import clip, learning_rate
from .run import About, Run, check_same, restore_run, start_run
from .runfolder import RunFolder
from .settings import Settings
from .shares import split

log = logging.getLogger("blindtune")

# Fits and audits limit BLAS and OpenMP to one thread: what is computed here is small, and idle threads that spin
# for more work slow it down severalfold when the machine is busy, as it is when the host runs beside it.

COLLAPSE = 0.6
"""Warn when a set's mean |h| falls below this part of the backbone's.

Small activations hide from the regularizer only.
"""
COLLAPSE_EVERY = 50


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Bytes are bodies of requests and answers of the training steps; the hash names the final adapters.
    """

    steps: int
    loss: float
    accuracy: float
    seconds: float
    bytes_up: int
    bytes_down: int
    retries: int
    adapter_sha256: str
    norm_ratio: float
    """The smallest set's mean |h| at the end over the backbone's; below 0.6 the activations may leak."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class P3EFT:
    """Fine-tunes `model` on one or more hosts.

    Methods: p3eft, lora (nothing hidden), frozen (a head on the bare backbone).

    `hosts` are URLs or `Client`s; with several, every gradient is split so that each host gets one share. `run` names
    a folder to continue from; without one nothing is kept. Other keyword arguments are those of `Settings`.
    """

    def __init__(
        self,
        model: str,
        hosts: Sequence[str | Client] = (),
        *,
        api_keys: Sequence[str] | str | None = None,
        run: str | Path | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> None:
        self.model = model
        self.clients = connect(hosts, api_keys)
        self.settings = Settings.from_dict(settings).resolve(len(self.clients))
        self.folder = RunFolder(run)
        self.progress = progress
        self._run: Run | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        hosts: Sequence[str | Client] = (),
        *,
        api_keys: Sequence[str] | str | None = None,
        progress: bool = True,
    ) -> P3EFT:
        """Take up a run folder. Without `hosts` those of the run are used; keys are never stored."""
        about = RunFolder(folder).read_json("run.json") if Path(folder).is_dir() else None
        if about is None:
            raise RunError(f"{folder}: no run here (run.json is missing)")
        where = list(hosts) or [host["url"] for host in about["hosts"]]
        tuner = cls(about["model"], where, api_keys=api_keys, run=folder, progress=progress, **about["settings"])
        tuner._run = restore_run(tuner.folder, tuner.clients)
        return tuner

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._ready().about.label_names

    # Train.

    def fit(self, data: Dataset) -> FitResult:
        """Train on `data`, from where the run folder stands.

        Texts go to the hosts, in a secret order; labels do not.
        """
        with threadpool_limits(limits=1):
            return self._fit(data)

    def _fit(self, data: Dataset) -> FitResult:
        started = time.monotonic()
        mine = data.take(self.folder.secret().permutation(len(data), "rows"))
        run = self._open(mine, data.sha256())
        batches = Batches(text_lengths(mine.texts), min(self.settings.batch_size, len(mine)), self.settings.seed)
        steps = self.settings.steps or max(1, round(self.settings.epochs * batches.per_epoch))
        cache = self._frozen_activations(mine, batches, steps) if run.frozen else None
        recent = self.folder.steps()[: run.step]
        with tqdm(total=steps, initial=run.step, disable=not self.progress, unit="step") as bar:
            while run.step < steps:
                rows = batches.rows(run.step)
                recent.append(self._step(rows, mine.labels[rows], steps, cache))
                bar.set_postfix_str(_postfix(recent[-20:]), refresh=False)
                bar.update()
                if run.step % self.settings.save_every == 0 or run.step == steps:
                    run.save()
        return self._result(time.monotonic() - started)

    def complete(self) -> list[str | None]:
        """Leave the final adapters on every host and finish the jobs.

        The names of the fine-tuned models, host by host.
        """
        run = self._ready()
        if not run.frozen:
            run.group.publish(run.thetas)
        return [link.client.jobs.complete(link.job_id).fine_tuned_model for link in run.group.links]

    # Look.

    def evaluate(self, data: Dataset) -> dict[str, float]:
        """Accuracy and cross entropy on `data`, computed here; only its texts travel."""
        probabilities = self.predict_proba(data.texts)
        likely = probabilities[np.arange(len(data)), data.labels]
        accuracy = float(np.mean(probabilities.argmax(axis=1) == data.labels))
        return {
            "accuracy": accuracy,
            "loss": float(-np.log(np.maximum(likely, 1e-12)).mean()),
            "rows": float(len(data)),
        }

    def predict(self, texts: Sequence[Text]) -> list[str]:
        """The label name of each text."""
        return [self.label_names[int(k)] for k in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Sequence[Text]) -> F32:
        """Probabilities [N, C], columns in the order of `label_names`."""
        return self._ready().home.probabilities(self.activations(texts)[0])

    def activations(self, texts: Sequence[Text], base: bool = False) -> tuple[list[F32], F32 | None]:
        """h_i [N, H] for every set, and h_base if asked for, from the first host, without dropout.

        The frozen method has no adapters: its one h is the bare backbone's.
        """
        run = self._ready()
        frozen = run.frozen
        names = ["h.base"] if frozen else [f"h.{i}" for i in range(self.settings.adapter_sets)]
        wanted = [*names, "h.base"] if base and not frozen else names
        order = run.secret.permutation(len(texts), "evaluate", len(texts))
        order = order[np.argsort(text_lengths(texts)[order], kind="stable")]
        parts: list[dict[str, AnyArray]] = []
        link = run.evaluation_link()
        for chunk in evaluation_chunks([texts[int(row)] for row in order], self.settings.eval_batch_size):
            sets = "none" if frozen else "all"
            request = ForwardRequest(texts=chunk, train=False, adapters=sets, base="h.base" in wanted)
            parts.append(link.evaluate(request, run.thetas).tensors)
        back = np.argsort(order)
        whole = {name: np.concatenate([part[name] for part in parts])[back] for name in wanted}
        return [whole[name] for name in names], whole["h.base"] if base else None

    def audit(self, data: Dataset, trained_on: Dataset | None = None) -> attacks.LeakReport:
        """Attack what the hosts saw.

        Activations of `data` under the final adapters, and the gradients of the last steps.

        With `trained_on`, `excess` tells how much more the same attacks find on rows that were trained on.
        """
        with threadpool_limits(limits=1):
            return self._audit(data, trained_on)

    def _audit(self, data: Dataset, trained_on: Dataset | None) -> attacks.LeakReport:
        found = self._attack_activations(data)
        sent = self._sent_steps()
        found["gradients"] = attacks.gradient_attacks(sent, data.classes) if sent else {}
        leaks = {kind: attacks.worst(found[kind], data.classes) for kind in attacks.KINDS}
        excess: dict[str, float] = {}
        if trained_on is not None:
            for kind, scores in self._attack_activations(trained_on).items():
                here, there = leaks[kind], attacks.worst(scores, data.classes)
                if here is not None and there is not None:
                    excess[kind] = there - here
        return attacks.LeakReport(
            **leaks,
            classes=data.classes,
            rows=min(len(data), attacks.MAX_ROWS),
            attacks={f"{kind}/{name}": value for kind, table in found.items() for name, value in table.items()},
            excess=excess,
            exposure=attacks.exposure(self.settings.method, len(self.clients), self.settings.shares or 1),
        )

    # Keep.

    def save(self, folder: str | Path) -> None:
        """Copy what is needed to predict and to continue into another folder."""
        target = RunFolder(folder)
        self._ready().save()
        for name in ("secret", "state.safetensors", "run.json"):
            target.write(name, (self.folder.path / name).read_bytes())

    def summary(self) -> dict[str, Any]:
        """Method, hosts, and sums over all recorded steps, for the report."""
        run, steps = self._ready(), self.folder.steps()
        return {
            "method": self.settings.method,
            "model": self.model,
            "hosts": [link.client.base_url for link in run.group.links],
            "jobs": [link.job_id for link in run.group.links],
            "steps": run.step,
            "bytes_up": sum(s["bytes_up"] for s in steps),
            "bytes_down": sum(s["bytes_down"] for s in steps),
            "adapter_sha256": sha256(run.thetas),
        }

    # One step.

    def _step(self, rows: I64, labels: I64, steps: int, cache: F32 | None) -> dict[str, Any]:
        run, started = self._ready(), time.monotonic()
        before = run.group.traffic()
        base: F32 | None = None
        if cache is not None:
            activations = [cache[rows]]
        else:
            activations, base = run.group.forward(rows, run.thetas, run.home.regularizer.needs_base)
        home = run.home.step(activations, base, labels, run.step)
        adapter_gradients, kappa = self._backward(home, labels) if cache is None else ([], 1.0)
        gradients, norm = clip([*adapter_gradients, *home.head_gradients], self.settings.max_grad_norm)
        if not np.isfinite(home.loss) or not np.isfinite(norm):
            raise RunError(f"step {run.step + 1}: loss {home.loss}, gradient norm {norm}; lower lr or the regularizers")
        warmup = self.settings.warmup if self.settings.warmup is not None else steps // 10
        rate = learning_rate(run.step, steps, warmup, self.settings.lr)
        run.optimizer.step(gradients, rate)
        run.step += 1
        up, down, retries = (now - then for now, then in zip(run.group.traffic(), before, strict=True))
        record = {
            "step": run.step,
            "loss": home.loss,
            "task_loss": home.task_loss,
            "accuracy": home.correct / len(labels),
            "lr": rate,
            "gradient_norm": norm,
            "h_norms": self._watch_norms(activations),
            "kappa": kappa,
            "bytes_up": up,
            "bytes_down": down,
            "retries": retries,
            "seconds": round(time.monotonic() - started, 4),
        }
        self.folder.record_step(record)
        return record

    def _backward(self, home: HomeStep, labels: I64) -> tuple[list[F32], float]:
        """dL/dtheta_i for every set, and the largest condition number of the shares."""
        run, count = self._ready(), self.settings.shares or 1
        parts = [
            split(g, count, run.secret, ("step", run.step, i), self.settings.noise_scale)
            for i, g in enumerate(home.activation_gradients)
        ]
        table = {(i, j): share for i, part in enumerate(parts) for j, share in enumerate(part.tensors)}
        sent: dict[str, AnyArray] = {f"{run.group.host_of(j)}.{i}.{j}": share for (i, j), share in table.items()}
        self.folder.record_sent(run.step, {"labels": labels, **sent})
        answers = run.group.backward(table)
        joined = [part.join([answers[(i, j)] for j in range(count)]) for i, part in enumerate(parts)]
        return joined, max(part.kappa for part in parts)

    def _watch_norms(self, activations: Sequence[F32]) -> list[float]:
        """Mean |h_i| by set; adapters start as the bare backbone, so the first step is the yardstick."""
        run = self._ready()
        norms = [float(np.linalg.norm(h, axis=1).mean()) for h in activations]
        run.start_norms = run.start_norms or norms
        for i, (now, start) in enumerate(zip(norms, run.start_norms, strict=True)):
            if now < COLLAPSE * start and run.step % COLLAPSE_EVERY == 0:
                log.warning("step %d: mean |h| of set %d fell from %.2f to %.2f: it may leak", run.step, i, start, now)
        return norms

    def _result(self, seconds: float) -> FitResult:
        run, steps = self._ready(), self.folder.steps()
        recent = steps[-20:]
        norms = zip(recent[-1]["h_norms"], run.start_norms, strict=True)
        return FitResult(
            steps=run.step,
            loss=float(np.mean([r["loss"] for r in recent])),
            accuracy=float(np.mean([r["accuracy"] for r in recent])),
            seconds=seconds,
            bytes_up=sum(r["bytes_up"] for r in steps),
            bytes_down=sum(r["bytes_down"] for r in steps),
            retries=sum(r["retries"] for r in steps),
            adapter_sha256=sha256(run.thetas),
            norm_ratio=min(now / start for now, start in norms),
        )

    # Parts.

    def _ready(self) -> Run:
        if self._run is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return self._run

    def _open(self, mine: Dataset, data_sha256: str) -> Run:
        """Start, or continue where the folder stands."""
        about = About(self.model, self.settings, mine.label_names, data_sha256)
        if self.folder.read_json("run.json") is not None:
            run = self._run or restore_run(self.folder, self.clients)
            check_same(run, about)
            run.rejoin(mine)
        else:
            run = start_run(about, self.folder, self.clients, mine)
        self._run = run
        return run

    def _frozen_activations(self, mine: Dataset, batches: Batches, steps: int) -> F32:
        """The bare backbone's activations [N, H] of the rows that will be used.

        Others stay zero. Asked for once, and kept.
        """
        path = self.folder.path / "frozen.npy"
        if path.exists():
            return np.asarray(np.load(path), dtype=np.float32)
        rows = np.unique(np.concatenate([batches.rows(step) for step in range(min(steps, batches.per_epoch))]))
        cache = np.zeros((len(mine), self._ready().hidden), np.float32)
        cache[rows] = self.activations([mine.texts[int(row)] for row in rows])[0][0]
        np.save(path, cache)
        return cache

    def _attack_activations(self, data: Dataset) -> dict[str, dict[str, float]]:
        some = data.take(attacks.sample_rows(len(data)))
        activations, base = self.activations(some.texts, base=True)
        frozen = self._ready().frozen
        return attacks.activation_attacks(activations, None if frozen else base, some.labels, some.classes)

    def _sent_steps(self) -> list[attacks.SentStep]:
        """What the hosts were sent at the last steps, with the labels, which are kept beside it in the run folder."""
        steps = []
        for arrays in self.folder.sent():
            hosts: list[dict[tuple[int, int], F32]] = [{} for _ in self.clients]
            for name in arrays.keys() - {"labels"}:
                host, i, j = (int(part) for part in name.split("."))
                hosts[host][(i, j)] = arrays[name]
            steps.append(attacks.SentStep(tuple(hosts), arrays["labels"]))
        return steps


def connect(hosts: Sequence[str | Client], api_keys: Sequence[str] | str | None) -> list[Client]:
    """Clients for the hosts.

    None means the one of BLINDTUNE_BASE_URL. One key may serve all, or each host has its own.
    """
    keys: list[str | None] = [api_keys] if isinstance(api_keys, str) else list(api_keys or ())
    keys = keys or [None]
    wanted: list[str | Client | None] = list(hosts) or [None]
    if len(keys) == 1:
        keys = keys * len(wanted)
    if len(keys) != len(wanted):
        raise RunError(f"{len(keys)} keys for {len(wanted)} hosts")
    return [h if isinstance(h, Client) else Client(h, key) for h, key in zip(wanted, keys, strict=True)]


def _postfix(recent: Sequence[dict[str, Any]]) -> str:
    loss, accuracy = (float(np.mean([r[key] for r in recent])) for key in ("loss", "accuracy"))
    norms = "/".join(f"{norm:.1f}" for norm in recent[-1]["h_norms"])
    return f"loss {loss:.3f}, accuracy {accuracy:.3f}, |h| {norms}"
