"""The state of a run folder, read and told.

Owns: what is said of a folder. Must never: ask a host, make a folder, or wait for one that is in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client import normalize_url
from ..client.connection import shown_host
from ..errors import RunError
from .auto_decision import DECISION
from .folder_lock import Holder, holder
from .run_folder import RunFolder
from .temperature import kept as kept_temperature
from .thresholds import kept as kept_thresholds

STEPWISE = ("p3eft", "lora", "frozen", "dc", "pslf")


@dataclass(frozen=True)
class RunStatus:
    """What a run folder holds. `print` it, or read its fields."""

    folder: Path
    method: str
    model: str
    step: int
    """Steps that are saved; of method side those of its networks."""
    steps: int | None
    """Of the plan; None where there is none."""
    finished: bool
    """Whether the training is done."""
    hosts: tuple[str, ...]
    jobs: tuple[str, ...]
    """The run's jobs, one on each host; none where a method needs none."""
    models: tuple[str, ...]
    """Fine-tuned models that its jobs became."""
    locked_by: Holder | None
    """The process that trains in it now."""
    stopped: bool = False
    """Whether `patience` ended the training before its last step."""
    best: tuple[dict[str, Any], ...] = ()
    """The best evaluation on dev rows, a line of `dev.jsonl`; of method side one for each network."""
    thresholds: tuple[str, ...] = ()
    """From which probability on labels are said, in words, where that was chosen."""
    temperature: str | None = None
    """What outputs are divided by before they become probabilities, in words, where that was fitted."""

    @classmethod
    def of(cls, folder: str | Path) -> RunStatus:
        """Read a folder; one without a run is refused."""
        place = Path(folder)
        kept = RunFolder(place) if place.is_dir() else None
        about = None if kept is None else kept.about()
        if kept is None or about is None:
            raise RunError(f"{place}: no run here (run.json is missing)")
        settings, hosts = about["settings"], about["hosts"]
        method, steps = settings["method"], _planned(about)
        step, finished = _progress(kept, method, steps)
        own = _predicting(kept, method)
        thresholds, temperature = (None, None) if own is None else (kept_thresholds(own), kept_temperature(own))
        return cls(
            folder=place,
            method=method,
            model=about["model"],
            step=step,
            steps=steps,
            finished=finished,
            hosts=tuple(_shown(host["url"]) for host in hosts),
            jobs=tuple(host["job_id"] for host in hosts if "job_id" in host),
            models=tuple(host["fine_tuned_model"] for host in hosts if "fine_tuned_model" in host),
            locked_by=holder(place),
            stopped=_stopped(kept),
            best=_best(kept),
            thresholds=() if thresholds is None else tuple(map(str, thresholds.of_labels)),
            temperature=None if temperature is None else temperature.line(),
        )

    @property
    def completed(self) -> bool:
        """Whether its jobs became models. A run that needs no job has none to complete."""
        return bool(self.models)

    def __str__(self) -> str:
        unit = "steps" if self.method in STEPWISE else "epochs"
        if self.steps is None:
            far = f"{self.step} steps"
        else:
            far = f"{self.step} of {self.steps} {unit}" if unit == "steps" else f"{self.steps} {unit}"
        lines = [f"{self.folder}: method {self.method} on {self.model}, {far}, {self.state}"]
        if self.jobs:
            pairs = zip(self.jobs, self.hosts, strict=False)
            lines += [f"  job {job} on {host}" for job, host in pairs]
        else:
            lines += [f"  host {host}" for host in self.hosts]
        for record in self.best:
            score = f"{record['metric']} {record['scores'][record['metric']]:.4g}"
            whose = f"network {record['network'] + 1}: " if "network" in record else ""
            lines.append(f"  {whose}best on the dev rows after step {record['step']} ({score})")
        lines += [f"  {one}" for one in (*self.thresholds, self.temperature) if one]
        if self.locked_by is not None:
            lines.append(f"  process {self.locked_by.pid} works in it since {self.locked_by.since}")
        return "\n".join(lines)

    @property
    def state(self) -> str:
        """In words: under way, interrupted, or trained and what became of it."""
        if not self.finished:
            return "under way" if self.locked_by is not None else "interrupted; the same command continues it"
        if self.completed:
            return f"{self._trained} and completed as {', '.join(self.models)}"
        return f"{self._trained}; its jobs are not completed" if self.jobs else self._trained

    @property
    def _trained(self) -> str:
        return "trained until patience ended it" if self.stopped else "trained"


def _planned(about: Mapping[str, Any]) -> int | None:
    settings = about["settings"]
    if settings["method"] in STEPWISE:
        plan = about.get("plan")
        return int(plan["steps"]) if plan else settings["steps"]
    return None if settings["epochs"] is None else max(1, round(settings["epochs"]))


def _progress(kept: RunFolder, method: str, steps: int | None) -> tuple[int, bool]:
    """Steps that are saved, and whether those are all."""
    if method == "auto":
        decision = kept.read_json(DECISION) or {}
        return 0, bool(decision.get("finished"))
    saved = kept.load_state()
    if saved is None:
        return 0, False
    if method not in STEPWISE:
        return int(saved[1]["steps"]), True
    step = int(saved[1]["step"])
    return step, _stopped(kept) or (steps is not None and step >= steps)


def _stopped(kept: RunFolder) -> bool:
    saved = kept.load_state()
    return saved is not None and bool(saved[1].get("stopped"))


def _best(kept: RunFolder) -> tuple[dict[str, Any], ...]:
    """The newest that was better than all before it, of each network."""
    found = {record.get("network"): record for record in kept.evaluations() if record.get("best")}
    return tuple(found.values())


def _predicting(kept: RunFolder, method: str) -> RunFolder | None:
    """The folder of the model that predicts: of method auto that of the chosen candidate, where it is there."""
    chosen = (kept.read_json(DECISION) or {}).get("chosen") if method == "auto" else None
    if chosen is None:
        return kept
    return RunFolder(kept.path / chosen) if (kept.path / chosen).is_dir() else None


def _shown(url: str) -> str:
    """Without a password, as messages have it."""
    return shown_host(normalize_url(url))
