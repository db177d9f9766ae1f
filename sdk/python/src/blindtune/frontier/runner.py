"""Runs a grid under a time budget, and continues it.

Owns: the order, the budget, the folder. Must never: drop a point without naming it, or repeat a finished one.

    OUT/plan.json                what is tried on which data; another plan is refused
    OUT/points/KEY/result.json   one finished point: its `Point`, and the seconds that its audit took
    OUT/points/KEY/run/          its run folder: killed in the middle, training continues from there
    OUT/frontier.{json,csv,html} the report; JSON and CSV are written anew after every point

The budget is for one call. The same command again continues what was interrupted and adds what had been left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..audit import Effort
from ..errors import ApiConnectionError, ApiError, AuthenticationError, RunError
from ..training.run_folder import RunFolder
from ..training.settings import Settings, SettingsError
from .estimate import Estimator, Measured, clock, units
from .grid import GridPoint
from .measure import BudgetSpent, Outcome, Rows, Where, measure
from .point import LeftOut, Point, Report
from .summary import default_limit
from .tables import write_tables
from .versions import without_credentials


@dataclass(frozen=True)
class Plan:
    """One call: what to try, on which data, where, for how long. `limit` None is 0.60, for more classes alike."""

    where: Where
    rows: Rows
    grid: tuple[GridPoint, ...]
    seeds: tuple[int, ...]
    budget_s: float
    out: Path
    limit: float | None = None
    progress: bool = True
    command: str = "blindtune train --data TRAIN --dev DEV"
    effort: Effort = field(default_factory=Effort)
    """Of each point's audit."""


@dataclass
class Frontier:
    """The state of a call. `points` are those of this and of earlier calls."""

    plan: Plan
    points: dict[str, Point] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    estimator: Estimator = field(default_factory=Estimator)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.folder = RunFolder(self.plan.out)

    def todo(self) -> list[tuple[GridPoint, int]]:
        """Every point of the grid at the first seed, then at the second, and so on."""
        return [(point, seed) for seed in self.plan.seeds for point in self.plan.grid]

    def left_s(self) -> float:
        """What is left of the budget."""
        return self.plan.budget_s - (time.monotonic() - self.started)

    def report(self) -> Report:
        """What is known now, in the grid's order; a point that is neither measured nor refused yet is named too."""
        points, left_out = [], []
        for point, seed in self.todo():
            key = point.key(seed)
            if key in self.points:
                points.append(self.points[key])
            else:
                pending = LeftOut(point.name, seed, "not reached", "this call has not come to it", dict(point.settings))
                left_out.append(self.left_out.get(key, pending))
        return Report(self.about(), tuple(points), tuple(left_out))

    def about(self) -> dict[str, Any]:
        """On what, and how. Nothing here identifies a row."""
        plan, train = self.plan, self.plan.rows.train
        limit = plan.limit if plan.limit is not None else default_limit(train.classes)
        data = {"classes": train.classes, "rows_train": len(train), "rows_dev": len(plan.rows.dev), "limit": limit}
        hosts = [without_credentials(url) for url in plan.where.hosts]
        how = {"seeds": list(plan.seeds), "budget_s": plan.budget_s, "grid": [point.name for point in plan.grid]}
        how["effort"] = _plain(plan.effort)
        return {"model": plan.where.model, "hosts": hosts, "command": plan.command} | data | how


def run_frontier(plan: Plan) -> Report:
    """Run what fits the budget; the report of all points known. Raises when no host answers, or a key is refused."""
    frontier = Frontier(plan)
    _check_plan(frontier)
    _read_finished(frontier)
    todo = [(point, seed) for point, seed in frontier.todo() if point.key(seed) not in frontier.points]
    _say(plan, f"{len(frontier.points)} points are finished, {len(todo)} to do in {clock(plan.budget_s)}")
    _announce(frontier, todo)
    for number, (point, seed) in enumerate(todo, start=1):
        _one(frontier, point, seed, f"[{number}/{len(todo)}] {point.name}, seed {seed}")
        write_tables(frontier.report(), plan.out)
    report = frontier.report()
    write_tables(report, plan.out)
    return report


def _check_plan(frontier: Frontier) -> None:
    """A folder holds points of one model and one pair of data files; the hash stays in this folder."""
    plan = frontier.plan
    data = {"train_sha256": plan.rows.train.sha256(), "dev_sha256": plan.rows.dev.sha256()}
    now = {"model": plan.where.model, "effort": _plain(plan.effort)} | data
    was = frontier.folder.read_json("plan.json")
    if was is not None:
        was = {"effort": _plain(Effort())} | was  # what there was before there was a choice
    if was is not None and was != now:
        changed = ", ".join(name.removesuffix("_sha256") for name in now if was.get(name) != now[name])
        raise RunError(f"{plan.out}: this folder's points have another {changed}; use another folder")
    frontier.folder.write_json("plan.json", now)


def _plain(effort: Effort) -> dict[str, Any]:
    """As JSON gives it back."""
    return dict(json.loads(json.dumps(asdict(effort))))


def _read_finished(frontier: Frontier) -> None:
    for point, seed in frontier.todo():
        key = point.key(seed)
        body = _folder(frontier, key).read_json("result.json") if _place(frontier, key).exists() else None
        if body is None:
            continue
        frontier.points[key] = Point.from_dict(body["point"])
        _learn(frontier, point, seed, float(body["rest_s"]), frontier.points[key].seconds)


def _announce(frontier: Frontier, todo: Sequence[tuple[GridPoint, int]]) -> None:
    """What the budget will hold, as far as can be known."""
    left, fits = frontier.plan.budget_s, 0
    for point, seed in todo:
        settings = _resolved(point, seed)
        wanted = frontier.estimator.seconds(point, settings, len(frontier.plan.rows.train)) if settings else 0.0
        if wanted is None:
            _say(frontier.plan, "how many fit is known after the first point")
            return
        if settings and wanted <= left:
            left, fits = left - wanted, fits + 1
    if todo:
        _say(frontier.plan, f"about {fits} of {len(todo)} fit the budget")


class _NotMeasured(Exception):
    """Why a point is left out."""

    def __init__(self, status: str, reason: str, estimate_s: float | None = None) -> None:
        super().__init__(f"{status}, {reason}")
        self.status, self.reason, self.estimate_s = status, reason, estimate_s


def _one(frontier: Frontier, point: GridPoint, seed: int, title: str) -> None:
    """Measure a point, or name it as left out with the reason."""
    try:
        outcome = _measure_within_budget(frontier, point, seed, title)
    except _NotMeasured as why:
        left_out = LeftOut(point.name, seed, why.status, why.reason, dict(point.settings), why.estimate_s)
        frontier.left_out[point.key(seed)] = left_out
        _say(frontier.plan, f"{title}: {why}")
        return
    _keep(frontier, point, seed, outcome)
    _say(frontier.plan, f"{title}: {_in_short(outcome.point)}")


def _measure_within_budget(frontier: Frontier, point: GridPoint, seed: int, title: str) -> Outcome:
    plan, run = frontier.plan, _place(frontier, point.key(seed)) / "run"
    if point.hosts > len(plan.where.hosts):
        raise _NotMeasured("refused", f"needs {point.hosts} hosts, {len(plan.where.hosts)} given")
    try:
        settings = point.resolve(seed)
    except SettingsError as error:
        raise _NotMeasured("refused", str(error)) from error
    left, done = frontier.left_s(), _steps_done(run)
    estimate = frontier.estimator.seconds(point, settings, len(plan.rows.train), done)
    if left <= 0 or (estimate is not None and estimate > left):
        reason = f"takes about {clock(estimate)}, {clock(max(left, 0.0))} of the budget are left"
        raise _NotMeasured("over budget", reason, estimate)
    expected = "not known how long" if estimate is None else f"about {clock(estimate)}"
    _say(plan, f"{title}: {expected}, {clock(left)} of the budget left")
    until = time.monotonic() + left
    try:
        how = {"deadline": until, "progress": plan.progress, "effort": plan.effort}
        return measure(point, seed, plan.where, plan.rows, run, **how)
    except BudgetSpent as error:
        reason = f"the budget ran out after {_steps_done(run)} steps; the same command continues it"
        raise _NotMeasured("unfinished", reason, estimate) from error
    except (ApiConnectionError, AuthenticationError):
        raise  # no other point would fare better
    except (RunError, SettingsError, ApiError) as error:
        raise _NotMeasured("failed", str(error)) from error


def _keep(frontier: Frontier, point: GridPoint, seed: int, outcome: Outcome) -> None:
    key = point.key(seed)
    body = {"point": outcome.point.to_dict(), "rest_s": outcome.rest_s}
    _folder(frontier, key).write_json("result.json", body)
    frontier.points[key] = outcome.point
    _learn(frontier, point, seed, outcome.rest_s, outcome.point.seconds)


def _learn(frontier: Frontier, point: GridPoint, seed: int, rest_s: float, training_s: float) -> None:
    settings = _resolved(point, seed)
    if settings is not None:
        passes = units(settings, point.hosts, len(frontier.plan.rows.train))
        frontier.estimator.add(Measured(point.name, settings.method, passes, training_s, rest_s))


def _resolved(point: GridPoint, seed: int) -> Settings | None:
    try:
        return point.resolve(seed)
    except SettingsError:
        return None


def _steps_done(run: Path) -> int:
    return len(RunFolder(run).steps()) if run.exists() else 0


def _place(frontier: Frontier, key: str) -> Path:
    return frontier.plan.out / "points" / key


def _folder(frontier: Frontier, key: str) -> RunFolder:
    return RunFolder(_place(frontier, key))


def _in_short(point: Point) -> str:
    tiers = ", ".join(f"tier {tier} {leak.score:.2f}" for tier, leak in sorted(point.tiers.items()))
    return f"accuracy {point.accuracy:.3f}, {tiers or 'no leak measured'}, {clock(point.seconds)}"


def _say(plan: Plan, text: str) -> None:
    if plan.progress:
        print(text, file=sys.stderr, flush=True)
