"""A run folder as the page shows it: a row of the list, and everything about one run.

Owns: what is read of a folder, and that a file is read again only when it changed. Must never: ask a host, or let one
damaged folder hide the others.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..errors import RunError
from ..frontier.point import Point, finite
from ..frontier.words import setting_words
from ..training.auto_decision import DECISION
from ..training.card_facts import EVALUATION
from ..training.folder_lock import LOCK, holder
from ..training.protection import MEANING, protection_of
from ..training.run_folder import ABOUT, RunFolder
from ..training.run_status import STEPWISE, RunStatus
from ..training.settings import SETTING_TYPES, Settings
from ..training.verdict import Judgement, limit_of
from .curves import in_order, leak_charts, training_charts
from .folders import Found, point_of

T = TypeVar("T")
HEADLINES = ("accuracy", "spearman", "f1_micro")
"""What a run is told by, in this order, and F1 beside it."""
NOT_READ = (LOCK, "sent.jsonl")
"""Files that neither the list nor a run's first page reads."""
EACH_STEP = ("steps.jsonl", "audits.jsonl")
EMPTY = "no run here yet: run.json is missing. The training has not come to its first step, or never will"


class Folders:
    """What was read of each folder, kept until one of its files changes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Path], tuple[Any, Any]] = {}

    def row(self, found: Found) -> dict[str, Any]:
        """A line of the list. Whatever is wrong with a folder is said in its line."""
        if found.kind == "empty":
            return _troubled(found, "empty", EMPTY)
        try:
            status = self._status(found.path)
            return self._read("row", found.path, lambda: _row(found, status)) | _state(status)
        except Exception as error:  # a damaged file may raise anything, and the other runs are to be seen
            return _troubled(found, "damaged", _wrong(found.path, error))

    def run(self, found: Found) -> dict[str, Any]:
        """Everything about one run."""
        row = self.row(found)
        if row["state"] in ("empty", "damaged"):
            return row
        try:
            status = self._status(found.path)
            return row | self._read("run", found.path, lambda: _details(found, status))
        except Exception as error:
            return _troubled(found, "damaged", _wrong(found.path, error))

    def _status(self, place: Path) -> RunStatus:
        """It reads the adapters, which are large: not again for each step."""
        return self._read("status", place, lambda: RunStatus.of(place), besides=EACH_STEP)

    def _read(self, what: str, place: Path, read: Callable[[], T], besides: Collection[str] = ()) -> T:
        mark = _fingerprint(place, {*NOT_READ, *besides})
        known = self._kept.get((what, place))
        if known is not None and known[0] == mark:
            value: T = known[1]
            return value
        value = read()
        self._kept[what, place] = (mark, value)
        return value


def _fingerprint(place: Path, without: Collection[str]) -> Any:
    """Changes when a file of the folder does; of method auto also when one of a candidate's does."""
    inside = [one for one in place.iterdir() if one.is_dir() and (one / ABOUT).exists()]
    marks, point = [], point_of(place)
    files = [one for folder in (place, *inside) for one in folder.iterdir() if one.name not in without]
    for file in [*files, *([point] if point else [])]:
        if not file.is_file():
            continue
        try:
            known = file.stat()
        except OSError:  # replaced meanwhile
            continue
        marks.append((str(file), known.st_mtime_ns, known.st_size))
    return tuple(sorted(marks))


def _wrong(place: Path, error: Exception) -> str:
    """What is wrong with a folder, and with which of its files where that can be told."""
    folder = RunFolder(place)
    for name in (ABOUT, "report.json", DECISION, EVALUATION):
        try:
            folder.read_json(name)
        except (ValueError, RunError):
            return f"{name} is damaged: it is not a JSON object"
        except OSError as failed:
            return f"{name} cannot be read: {failed.strerror}"
    if isinstance(error, RunError):
        return str(error)
    return f"the run folder is damaged: {type(error).__name__}: {error}"


def _troubled(found: Found, state: str, words: str) -> dict[str, Any]:
    return {"id": found.name, "folder": str(found.path), "state": state, "state_words": words}


@dataclass(frozen=True)
class _Run:
    """The files of a run, read."""

    folder: RunFolder
    own: RunFolder
    """The folder of the model that predicts: of method auto the chosen candidate's."""
    about: Mapping[str, Any]
    settings: Settings
    report: Mapping[str, Any]

    @classmethod
    def read(cls, place: Path) -> _Run:
        folder = RunFolder(place)
        about = folder.about()
        if about is None:
            raise RunError(f"{place}: no run here (run.json is missing)")
        settings = Settings.from_dict(about["settings"]).resolve(len(about["hosts"]))
        return cls(folder, _own(folder), about, settings, folder.read_json("report.json") or _of_frontier(place))

    @property
    def classes(self) -> int:
        """As attacks count them: two sides of anything but classes."""
        return max(2, len(self.label_names)) if self.task == "classification" else 2

    @property
    def task(self) -> str:
        """What is learned; a run that has not come so far learns classes."""
        return str(self.own_about.get("task") or "classification")

    @property
    def label_names(self) -> list[str]:
        """None where method auto has not begun with a candidate."""
        return list(self.own_about.get("label_names", ()))

    @cached_property
    def own_about(self) -> Mapping[str, Any]:
        """`run.json` of the model that predicts."""
        return self.own.about() or {}

    @property
    def limit(self) -> float:
        return limit_of(self.settings.max_leak, self.classes)

    def judgement(self) -> Judgement | None:
        """By the last audit; None where there was none."""
        return Judgement.of(self.report, self.settings) if self.report.get("leak") else None


def _of_frontier(place: Path) -> dict[str, Any]:
    """What a frontier measured of its run, in the form of a report."""
    result = point_of(place)
    if result is None:
        return {}
    point = Point.from_dict((RunFolder(place.parent).read_json(result.name) or {})["point"])
    tiers = {str(tier): asdict(leak) for tier, leak in point.tiers.items()}
    leak = {"classes": point.classes, "tiers": {tier: one["score"] for tier, one in tiers.items()}}
    found = [{"tier": int(tier), "picked_with_labels": False, "kind": "", **one} for tier, one in tiers.items()]
    oracle = {tier: one["oracle"] for tier, one in tiers.items()}
    dev = {"accuracy": point.accuracy, "loss": point.loss, "rows": point.rows_dev}
    body: dict[str, Any] = {"protection": point.protection, "hosts": [None] * point.hosts, "dev": dev}
    return body | {"leak": leak | {"findings": found, "oracle": oracle}, "rows": point.rows_train}


def _own(folder: RunFolder) -> RunFolder:
    """Of method auto the chosen candidate's; before the choice that of the candidate which was begun last."""
    chosen = (folder.read_json(DECISION) or {}).get("chosen")
    inside = {place.parent.name: place for place in folder.path.glob(f"*/{ABOUT}")}
    if not inside:
        return folder
    newest = max(inside.values(), key=lambda place: place.stat().st_mtime)
    return RunFolder(inside.get(str(chosen), newest).parent)


def _row(found: Found, status: RunStatus) -> dict[str, Any]:
    run = _Run.read(found.path)
    steps = run.own.steps()
    name = run.report.get("protection") or protection_of(run.about["settings"])
    files = [one for one in found.path.iterdir() if one.is_file() and one.name != LOCK]
    body = {
        "id": found.name,
        "folder": str(found.path),
        "model": status.model,
        "method": status.method,
        "task": run.task,
        "protection": name,
        "protection_means": MEANING[name],
        "unit": "steps" if status.method in STEPWISE else "epochs",
        "steps": _done(steps, status),
        "planned": status.steps,
        "score": _score(run),
        "leak": _leak(run),
        "hosts": list(status.hosts),
        "changed_at": max((one.stat().st_mtime for one in files), default=None),
        **_traffic(run, steps),
    }
    plain: dict[str, Any] = finite(body)
    return plain


def _done(steps: Sequence[Mapping[str, Any]], status: RunStatus) -> int:
    """As far as the records go, which are a few steps before the saved state; of networks the epochs of the last."""
    if steps and "epoch" in steps[-1]:
        return int(steps[-1]["epoch"])
    return int(steps[-1]["step"]) if steps else status.step


def _traffic(run: _Run, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bodies of requests and answers. Method side has no step that asks for something: its report says it."""
    known = [one for one in steps if "bytes_up" in one]
    if known:
        return {name: sum(one[name] for one in known) for name in ("bytes_up", "bytes_down")}
    fit = run.report.get("fit") or {}
    return {name: fit.get(name, run.report.get(name)) for name in ("bytes_up", "bytes_down")}


def _state(status: RunStatus) -> dict[str, Any]:
    """Running, finished or paused, by the lock as it is now."""
    now = replace(status, locked_by=holder(status.folder))
    state = "running" if now.locked_by else "finished" if now.finished else "paused"
    words = f"process {now.locked_by.pid} trains, since {now.locked_by.since}" if now.locked_by else now.state
    return {"state": state, "state_words": words}


def _score(run: _Run) -> dict[str, Any] | None:
    """The best that is known, with the rows that it is of."""
    kept = run.folder.read_json(EVALUATION) or {}
    best = [one for one in run.own.evaluations() if one.get("best")] or run.own.evaluations()
    known: list[tuple[str, Mapping[str, Any] | None]] = [
        ("dev rows", run.report.get("dev")),
        ("dev rows", best[-1]["scores"] if best else None),
        ("rows evaluated on", None if kept.get("rows_of_the_training") else (kept.get("report") or {}).get("scores")),
        ("rows trained on", (run.report.get("fit") or None)),
        ("rows trained on, last batch", next(reversed(run.own.steps()), None)),
    ]
    for on, scores in known:
        name = next((one for one in HEADLINES if scores and scores.get(one) is not None), None)
        if scores and name:
            f1 = next((scores[one] for one in ("f1_macro", "f1_micro") if one in scores), None)
            return {"name": name, "value": scores[name], "f1": f1, "on": on, "rows": scores.get("rows")}
    return None


def _leak(run: _Run) -> dict[str, Any]:
    """The worst leak against its limit: of the audit, else of the last check while training."""
    judgement = run.judgement()
    if judgement is not None:
        worst, source = judgement.worst, "audit"
        blind, limit = judgement.protection == "blind", judgement.limit
    else:
        looks = run.own.audits()
        found = {int(tier): score for tier, score in (looks[-1]["tiers"] if looks else {}).items()}
        worst = max(found.items(), key=lambda pair: pair[1]) if found else None
        source = f"check after step {looks[-1]['step']}" if looks else ""
        blind, limit = protection_of(run.about["settings"]) == "blind", run.limit
    enough = True if blind else None if worst is None else worst[1] <= limit
    body: dict[str, Any] = {"worst": worst and worst[1], "tier": worst and worst[0], "limit": None if blind else limit}
    body |= {"enough": enough, "source": source, "guessing": 1 / run.classes}
    return body | {"words": _leak_words(blind, worst, limit)}


def _leak_words(blind: bool, worst: tuple[int, float] | None, limit: float) -> str:
    if blind:
        return "blind: no limit applies"
    if worst is None:
        return "not measured"
    return f"{'within' if worst[1] <= limit else 'over'} the limit {limit:.2f}"


def _details(found: Found, status: RunStatus) -> dict[str, Any]:
    run = _Run.read(found.path)
    steps, judgement = run.own.steps(), run.judgement()
    limit = None if protection_of(run.about["settings"]) == "blind" else run.limit
    body = {
        "charts": in_order([*training_charts(steps, run.own.dev()), *leak_charts(run.own.audits(), limit)]),
        "tiers": _tiers(run, judgement),
        "verdict": [] if judgement is None else judgement.lines(),
        "private_enough": None if judgement is None else judgement.private_enough,
        "decision": (run.report.get("decision") or {}).get("sentences", []),
        "chosen": [one for one in (*status.thresholds, status.temperature) if one],
        "settings": _settings(run.settings),
        "command": _command(run, status.hosts),
        "label_names": run.label_names,
        "rows": run.report.get("rows"),
        "pairs": run.report.get("pairs"),
        "retries": sum(one.get("retries") or 0 for one in steps),
        "truncated": (run.report.get("fit") or {}).get("truncated"),
    }
    plain: dict[str, Any] = finite(body)
    return plain


def _tiers(run: _Run, judgement: Judgement | None) -> list[dict[str, Any]]:
    """Each tier's best attack, with its interval, control and limit."""
    leak = run.report.get("leak")
    if not leak or judgement is None:
        return []
    from ..audit.gates import COUNTED
    from ..audit.report import TIERS

    found = []
    for tier, score in sorted((int(tier), float(value)) for tier, value in leak["tiers"].items()):
        mine = [one for one in leak.get("findings", ()) if one["tier"] == tier and not one["picked_with_labels"]]
        top: Mapping[str, Any] = max(mine, key=lambda one: one["score"], default={})
        limit = judgement.limit if tier in COUNTED and judgement.protection != "blind" else None
        row = {"tier": tier, "name": TIERS.get(tier, ""), "score": score, "limit": limit}
        row |= {name: top.get(name) for name in ("low", "high", "control", "excess")}
        attack = "/".join(part for part in (top.get("kind"), top.get("attack")) if part)
        row |= {"attack": attack, "oracle": leak["oracle"].get(str(tier))}
        found.append(row | {"enough": None if limit is None else score <= limit})
    return found


def _settings(settings: Settings) -> list[dict[str, Any]]:
    """Each with its usual value and what it is."""
    usual = asdict(Settings(method=settings.method))
    return [
        {
            "name": name,
            "value": _shown(value),
            "usual": _shown(usual[name]),
            "changed": value != usual[name],
            "means": SETTING_TYPES[name].help,
        }
        for name, value in asdict(settings).items()
    ]


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "left open"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _command(run: _Run, hosts: Sequence[str]) -> str:
    """The command that makes such a run; a run folder does not keep the name of its table."""
    words = ["blindtune", "train", "--data", "DATA.csv", "--model", str(run.about["model"])]
    words += ["--dev", "DEV.csv"] if run.report.get("dev") or run.own.evaluations() else []
    words += [] if run.task == "classification" else ["--task", run.task]
    words += [word for url in hosts for word in ("--host", url)]
    return shlex.join([*words, "--run", str(run.folder.path), *setting_words(run.settings.to_dict(), len(hosts))])
