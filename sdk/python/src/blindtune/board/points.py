"""Leak against accuracy: audited runs, and the settings that frontiers measured, on the same data.

Owns: which run is a point, and of which data. Must never: compare points of different data, or put a run on the front
that was not attacked in tiers 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..frontier.point import Point, Report, TierLeak, finite
from ..frontier.summary import Row, pareto, summarize
from ..frontier.words import in_short, train_command
from ..training.run_folder import RunFolder
from ..training.settings import Settings
from .folders import FRONTIER, Found
from .runs import Folders

ACCURACY = "accuracy"


def compared(found: Sequence[Found], folders: Folders) -> dict[str, Any]:
    """Groups of points by data, each with its front; what is left out, and why."""
    groups: dict[str, dict[str, Any]] = {}
    left_out: list[dict[str, str]] = []
    inside = [one.path for one in found if one.kind == "frontier"]
    for one in found:
        try:
            if one.kind == "frontier":
                _add_frontier(groups, one, left_out)
            elif one.kind == "run" and not any(one.path.is_relative_to(path) for path in inside):
                _add_run(groups, one, folders, left_out)
        except Exception as error:  # a damaged folder may raise anything, and the others are to be seen
            left_out.append({"name": one.name, "why": f"cannot be read: {error}"})
    for group in groups.values():
        front = {row.name for row in pareto(group.pop("rows"))}
        for point in group["points"]:
            point["front"] = point["name"] in front
    body: dict[str, Any] = finite({"groups": list(groups.values()), "left_out": left_out})
    return body


def _add_frontier(groups: dict[str, dict[str, Any]], found: Found, left_out: list[dict[str, str]]) -> None:
    report = Report.read(found.path / FRONTIER)
    data = (RunFolder(found.path).read_json("plan.json") or {}).get("train_sha256", found.name)
    group = _group(groups, str(report.about.get("model")), str(data))
    rows = summarize(report.points)
    group["words"] += [{"name": found.name, "lines": in_short(report, rows)}]
    for row in rows:
        renamed = _renamed(row, f"{found.name}: {row.name}")
        more = {"run": None, "command": train_command(row, report.about), "limit": report.about.get("limit")}
        _add(group, renamed, "frontier", more | {"protection": row.protection}, left_out)
    left_out += [{"name": f"{found.name}: {one.name}", "why": f"{one.status}: {one.reason}"} for one in report.left_out]


def _add_run(groups: dict[str, dict[str, Any]], found: Found, folders: Folders, left_out: list[dict[str, str]]) -> None:
    run = folders.run(found)
    if run["state"] in ("damaged", "empty"):
        return
    folder = RunFolder(found.path)
    report, about = folder.read_json("report.json") or {}, folder.about() or {}
    why = _why_not(report)
    if why:
        left_out.append({"name": found.name, "why": why})
        return
    (row,) = summarize([_point(found.name, report, about)])
    group = _group(groups, str(about["model"]), str(about["data_sha256"]))
    more = {"run": found.name, "command": run["command"], "limit": run["leak"]["limit"]}
    _add(group, row, "run", more | {"protection": run["protection"]}, left_out)


def _why_not(report: dict[str, Any]) -> str:
    if not report.get("leak"):
        return "not audited: blindtune audit attacks what its hosts saw"
    if ACCURACY not in (report.get("dev") or {}):
        return "no accuracy on other rows than those it was trained on: train with --dev"
    return ""


def _point(name: str, report: dict[str, Any], about: dict[str, Any]) -> Point:
    """A run as a frontier has it."""
    dev, leak, fit = report["dev"], report["leak"], report.get("fit") or {}
    hosts = max(1, len(about["hosts"]))
    settings = Settings.from_dict(about["settings"]).resolve(hosts).to_dict()
    settings |= {"method": report.get("method", settings["method"])}
    return Point(
        name=name,
        seed=int(settings["seed"]),
        settings=settings,
        hosts=hosts,
        classes=int(leak["classes"]),
        rows_train=int(report.get("rows") or 0),
        rows_dev=int(dev["rows"]),
        accuracy=float(dev[ACCURACY]),
        accuracy_low=float(dev[ACCURACY]),
        accuracy_high=float(dev[ACCURACY]),
        loss=float(dev.get("loss", 0.0)),
        steps=int(report.get("steps", 0)),
        seconds=float(fit.get("seconds", 0.0)),
        bytes_up=int(report.get("bytes_up", 0)),
        bytes_down=int(report.get("bytes_down", 0)),
        tiers={int(tier): TierLeak(float(score)) for tier, score in leak["tiers"].items()},
    )


def _renamed(row: Row, name: str) -> Row:
    return Row(name, row.points)


def _group(groups: dict[str, dict[str, Any]], model: str, data: str) -> dict[str, Any]:
    new: dict[str, Any] = {"name": f"{model}, data {data[:8]}", "guessing": 0.5, "points": [], "words": [], "rows": []}
    return groups.setdefault(f"{model} {data}", new)


def _add(group: dict[str, Any], row: Row, kind: str, more: dict[str, Any], left_out: list[dict[str, str]]) -> None:
    leak = row.worst()
    if leak is None:
        left_out.append({"name": row.name, "why": "not attacked in both tier 0 and tier 1"})
        return
    group["rows"].append(row)
    group["guessing"] = 1 / row.first.classes
    low, high = row.accuracy_range
    group["points"].append(
        {
            "name": row.name,
            "kind": kind,
            "method": row.method,
            "accuracy": row.accuracy,
            "low": low,
            "high": high,
            "leak": leak,
            "hosts": row.first.hosts,
            "seeds": len(row.points),
            "megabytes": row.megabytes[0],
            **more,
        }
    )
