"""Jobs, one after another: from a file of rows to a model that answers.

Owns: the states of a job, and what its events say. Must never: lose one: what was under way when the process ended is
taken up again by the next.
"""

from __future__ import annotations

import hmac
import json
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import BlindtuneError
from ..training.auto import AutoTuner
from ..training.protection import MEANING, Protection
from ..training.run_folder import RunFolder
from ..training.setting_rules import USUAL
from ..training.trainer import Tuner
from .errors import Refused
from .examples import Example, dataset, lead_of, read_examples
from .store import Store, file_fields

log = logging.getLogger("blindtune")

SEEDS = 2**31
"""How many there are."""
OVER = ("succeeded", "failed", "cancelled")
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_mean_token_accuracy")


@dataclass(frozen=True)
class Hosts:
    """Where models are trained, and how weak a protection may be tried where side stays below `wanted`."""

    model: str
    urls: Sequence[str]
    keys: Sequence[str] | None = None
    accept: Literal["blind", "bounded", "hurdle"] = "blind"
    wanted: float | None = None
    features: Path | None = None

    def tuner(self, run: Path, settings: Mapping[str, Any]) -> Tuner:
        """A run of a job. Side alone where nothing weaker is accepted: auto would hold rows out to compare by."""
        how: dict[str, Any] = {"run": run, "progress": False, "features": self.features, "api_keys": self.keys}
        if self.accept == "blind":
            return Tuner(self.model, self.urls, method="side", **how, **settings)
        return Tuner(self.model, self.urls, method="auto", accept=self.accept, wanted=self.wanted, **how, **settings)

    def load(self, run: Path) -> Tuner:
        """A run that is done, to predict with."""
        return Tuner.load(run, self.urls, api_keys=self.keys, progress=False, features=self.features)


class Jobs:
    """The jobs of a store, worked off by one thread."""

    def __init__(self, store: Store, hosts: Hosts) -> None:
        self.store, self.hosts = store, hosts
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="gateway jobs", daemon=True)

    def start(self) -> None:
        """Begin, with what was left of before."""
        for job in reversed(self.store.all("job")):
            if job["status"] not in OVER:
                self._queue.put(job["id"])
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Take no more; what is under way is taken up at the next start."""
        self._queue.put(None)
        self._thread.join(patience_s)

    def submit(self, job: str) -> None:
        """One more."""
        self._queue.put(job)

    def draw_seed(self) -> int:
        """For a job that names none, as OpenAI has it: the job's `seed` says which."""
        drawn = RunFolder(self.store.folder).secret().uniform(1, "gateway", "seed", len(self.store.all("job")))
        return int(drawn[0] * SEEDS)

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            try:
                self._run(name)
            except (BlindtuneError, Refused, ValueError, OSError) as error:
                self._fail(name, str(error))
            except Exception:
                log.exception("job %s", name)
                self._fail(name, "The gateway failed; its log says why.")

    def _fail(self, name: str, reason: str) -> None:
        error = {"code": "training_failed", "message": reason, "param": None}
        ended = {"status": "failed", "error": error, "finished_at": int(time.time())}
        with self.store.at_once():
            if self.store.change("job", name, ended, unless=OVER):
                self.store.tell(name, f"The job failed: {reason}", "error")

    def _run(self, name: str) -> None:
        job = self.store.get("job", name)
        if job is None or not self.store.change("job", name, {"status": "running"}, unless=OVER):
            return
        self.store.tell(name, "Fine-tuning job started")
        rows = read_examples(self.store.file(job["training_file"]).read_bytes())
        data = dataset(rows)
        self._draw(job, rows)
        with self.hosts.tuner(self.store.run(name), settings_of(job["hyperparameters"])) as tuner:
            tuner.fit(data)
            scores = {"train": tuner.evaluate(data)}
            if job["validation_file"] is not None:
                fresh = read_examples(self.store.file(job["validation_file"]).read_bytes())
                scores["valid"] = tuner.evaluate(dataset(fresh, data.label_names))
            tuner.complete()
            self._tell_epochs(name, tuner)
            self._succeed(job, tuner, scores, rows)

    def _draw(self, job: Mapping[str, Any], rows: Sequence[Example]) -> None:
        """The run's secret from the job's seed, where nothing but an order and networks at home follow from it.

        It follows from this gateway's own secret too, so that no host can try seeds; and from the texts, so that what
        a host knows of one file's order tells nothing of another's. Weaker methods hide gradients by draws, and a
        draw that two runs use hides nothing: their secrets are fresh.
        """
        folder = RunFolder(self.store.run(job["id"]))
        if self.hosts.accept != "blind":
            said = f"seed {job['seed']} is not used with --accept {self.hosts.accept}: draws that hide gradients are "
            self.store.tell(job["id"], said + "made anew in each run")
        elif not (folder.path / "secret").exists():
            named = json.dumps([job["seed"], [row.text for row in rows]]).encode()
            own = RunFolder(self.store.folder).secret().secret
            folder.write("secret", hmac.new(own, named, "sha256").hexdigest().encode())

    def _tell_epochs(self, name: str, tuner: Tuner) -> None:
        if isinstance(tuner, AutoTuner):
            tried = [(f"{one.method}: ", RunFolder(tuner.folder.path / one.method)) for one in tuner.decision.tried]
        else:
            tried = [("", tuner.folder)]
        for method, folder in tried:
            for step in folder.steps():
                losses = {"train_loss": step.get("loss"), "valid_loss": step.get("held_out_loss")}
                known = {key: value for key, value in losses.items() if value is not None}
                said = ", ".join(f"{key.replace('_', 'ing ', 1)}={value:.4f}" for key, value in known.items())
                self.store.tell(
                    name, f"{method}Step {step['step']}: {said}", "metrics", {"step": step["step"], **known}
                )
        for sentence in tuner.decision.sentences() if isinstance(tuner, AutoTuner) else ():
            self.store.tell(name, sentence)

    def _succeed(
        self, job: Mapping[str, Any], tuner: Tuner, scores: Mapping[str, Mapping[str, float]], rows: Sequence[Example]
    ) -> None:
        name, found = job["id"], table(tuner, scores)
        result = self.store.add("file", file_fields("step_metrics.csv", "fine-tune-results", len(found)))
        self.store.write_file(result["id"], found)
        model = f"ft:{job['model']}:gateway:{job['user_provided_suffix'] or ''}:{name.removeprefix('ftjob-')[:12]}"
        ended: dict[str, Any] = {"status": "succeeded", "finished_at": int(time.time()), "fine_tuned_model": model}
        ended |= {"result_files": [result["id"]], "trained_tokens": None, "label_names": list(tuner.label_names)}
        kind: Protection = tuner.summary()["protection"]
        with self.store.at_once():  # who sees the job succeeded reads how it ended
            if not self.store.change("job", name, ended | {"completion_lead": lead_of(rows)}, unless=OVER):
                return
            for part, found_scores in scores.items():
                said = ", ".join(f"{key} {found_scores[key]:.4f}" for key in ("loss", "accuracy", "f1_macro"))
                where = {"train": f"the {len(rows)} training rows", "valid": "the validation file"}[part]
                self.store.tell(name, f"On {where}: {said}", "metrics", found_scores)
            self.store.tell(name, f"Protection of the labels: {kind}: {MEANING[kind]}")
            self.store.tell(name, f"New fine-tuned model created: {model}")
            self.store.tell(name, "The job has successfully completed")


def settings_of(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's hyperparameters as settings; `auto` is what is usual here."""
    given = {name: value for name, value in hyperparameters.items() if value not in (None, "auto")}
    found: dict[str, Any] = {}
    if "n_epochs" in given:
        found["epochs"] = float(given["n_epochs"])
    if "batch_size" in given:
        found["batch_size"] = int(given["batch_size"])
    if "learning_rate_multiplier" in given:
        found["lr"] = USUAL["attentive"].lr * float(given["learning_rate_multiplier"])
    return found


def table(tuner: Tuner, scores: Mapping[str, Mapping[str, float]]) -> bytes:
    """The result file: a line for each epoch of each network, and at the end, under the last step, the scores.

    Of method auto the epochs of what was chosen. An answer is one label, so that the mean token accuracy, which scripts
    for OpenAI read, is the accuracy.
    """
    chosen = tuner.chosen if isinstance(tuner, AutoTuner) else tuner
    steps = chosen.folder.steps()
    lines = [",".join(COLUMNS)]
    for step in steps:
        lines.append(f"{step['step']},{step.get('loss', '')},,{step.get('held_out_loss') or ''},,")
    train, valid = scores["train"], scores.get("valid", {})
    right = valid.get("accuracy", "")
    end = [steps[-1]["step"], train["loss"], train["accuracy"], valid.get("loss", ""), right, right]
    lines.append(",".join(map(str, end)))
    return ("\n".join(lines) + "\n").encode()
