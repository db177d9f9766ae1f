"""`frontier.json` and `frontier.csv`: the same points for programs and for spreadsheets.

Owns: the columns. Must never: differ from each other; both are made from one `Report`.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..training.protection import strength
from ..training.run_folder import RunFolder
from .formal import label_bound
from .point import TIERS, LeftOut, Point, Report

KINDS = ("activations", "shifts", "differences", "gradients")
PLAIN = (
    "name",
    "seed",
    "method",
    "protection",
    "hosts",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "loss",
    "steps",
    "seconds",
    "bytes_up",
    "bytes_down",
    "norm_ratio",
)
OF_TIER = ("score", "low", "high", "attack", "control", "excess", "oracle")
OF_SHARES = ("step_mu", "row_mu", "row_accuracy", "signal")
COLUMNS = (
    *PLAIN,
    *(f"tier{tier}_{name}" for tier in TIERS for name in OF_TIER),
    *(f"leak_{kind}" for kind in KINDS),
    "formal_label_epsilon",
    "formal_accuracy_bound",
    *(f"formal_share_{name}" for name in OF_SHARES),
    "settings",
    "status",
    "reason",
)


def write_tables(report: Report, folder: Path) -> None:
    """Both files, each replaced at once."""
    out = RunFolder(folder)
    out.write("frontier.json", report.to_json().encode())
    out.write("frontier.csv", to_csv(report).encode())


def to_csv(report: Report) -> str:
    """One line per point and seed, by class of protection, those left out last; what was not measured is empty."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    ordered = sorted(report.points, key=lambda point: strength(point.protection))
    writer.writerows([*map(_measured, ordered), *map(_left_out, report.left_out)])
    return file.getvalue()


def _measured(point: Point) -> dict[str, Any]:
    line: dict[str, Any] = {name: getattr(point, name) for name in PLAIN}
    for tier, leak in point.tiers.items():
        line |= {f"tier{tier}_{name}": getattr(leak, name) for name in OF_TIER if tier in TIERS}
    line |= {f"leak_{kind}": point.kinds.get(kind) for kind in KINDS}
    bound = label_bound(point.settings, point.classes)
    if bound is not None:
        line |= {"formal_label_epsilon": bound.epsilon, "formal_accuracy_bound": bound.accuracy}
    shares = (point.evidence.get("share_bound") or {}).items()
    line |= {f"formal_share_{name}": value for name, value in shares if name in OF_SHARES}
    return line | {"settings": json.dumps(dict(point.settings), sort_keys=True), "status": "measured"}


def _left_out(entry: LeftOut) -> dict[str, Any]:
    line = {"name": entry.name, "seed": entry.seed, "status": entry.status, "reason": entry.reason}
    return line | {"settings": json.dumps(dict(entry.settings), sort_keys=True)}
