"""The plots of a frontier as inline SVG, readable in print, without colour, and by a screen reader.

Owns: everything drawn. Must never: compute a number; it draws what `summary` says. matplotlib is the extra `plot`.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from ..extras import need
from .point import TIERS
from .summary import Row, pareto
from .words import TIER_NAMES

MARKS = {"frozen": "s", "lora": "o", "p3eft": "D", "side": "P", "dc": "^", "pslf": "v"}
COLOURS = {
    "frozen": "#4d4d4d",
    "lora": "#d55e00",
    "p3eft": "#0072b2",
    "side": "#e69f00",
    "dc": "#009e73",
    "pslf": "#aa4499",
}
"""Okabe and Ito's, told apart by colour-blind readers; the shapes tell the methods apart without any colour."""
DASHES = ("-", "--", "-.", ":")
TIER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#4d4d4d")
STYLE: dict[str, Any] = {
    "font.size": 11,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "svg.hashsalt": "blindtune",
}


def require_matplotlib() -> ModuleType:
    """pyplot, drawing into memory; `MissingExtraError` names the extra where it is missing."""
    need("matplotlib", "plot", "the report of a frontier").use("Agg")
    return need("matplotlib.pyplot", "plot", "the report of a frontier")


def accuracy_against_leak(rows: Sequence[Row], limit: float) -> str:
    """One panel per tier: leak to the right, accuracy upwards, intervals as bars, numbers as in the table."""
    plt = require_matplotlib()
    tiers = [tier for tier in TIERS if any(row.tier(tier) for row in rows)] or [0]
    with plt.rc_context(STYLE):
        columns = min(3, len(tiers))
        lines = -(-len(tiers) // columns)
        figure, grid = plt.subplots(lines, columns, figsize=(4.3 * columns, 3.9 * lines), squeeze=False, sharey=True)
        places = list(grid.flat)
        front = {row.name for row in pareto(rows)}
        for axes, tier in zip(places, tiers, strict=False):
            _panel(axes, rows, tier, front)
            axes.axvline(limit, color="black", linestyle="--", linewidth=1)
        for axes in places[len(tiers) :]:
            axes.set_axis_off()
        for line in grid:
            line[0].set_ylabel("accuracy")
        _legend(plt, figure, rows)
        figure.tight_layout(rect=(0, 0.08 / lines, 1, 1))
        text = f"{len(rows)} settings in {len(tiers)} panels, one per tier; every number is in the table of points."
        return _svg(plt, figure, "accuracy", "Accuracy against leak, tier by tier", text)


def _panel(axes: Any, rows: Sequence[Row], tier: int, front: set[str]) -> None:
    chance = rows[0].first.chance if rows else 0.5
    for number, row in enumerate(rows, start=1):
        leak, span = row.tier(tier), row.tier_range(tier)
        if leak is None or span is None:
            continue
        low, high = row.accuracy_range
        x = [[max(0.0, leak.score - span[0])], [max(0.0, span[1] - leak.score)]]
        y = [[max(0.0, row.accuracy - low)], [max(0.0, high - row.accuracy)]]
        colour = COLOURS.get(row.method, "#000000")
        axes.errorbar(leak.score, row.accuracy, xerr=x, yerr=y, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.7)
        face = colour if row.name in front else "white"
        mark = MARKS.get(row.method, "x")
        axes.plot(leak.score, row.accuracy, mark, color=colour, markerfacecolor=face, markersize=7, zorder=3)
        offset = (6, 5) if number % 2 else (-12, -11)
        axes.annotate(str(number), (leak.score, row.accuracy), offset, textcoords="offset points", fontsize=9)
    axes.set_xlim(chance - 0.03, 1.03)
    axes.set_title(f"Tier {tier}: {TIER_NAMES[tier]}", fontsize=11)
    axes.set_xlabel("leak, worst seed (left is better)")


def _legend(plt: ModuleType, figure: Any, rows: Sequence[Row]) -> None:
    handles = [
        plt.Line2D([], [], linestyle="", marker=MARKS.get(m, "x"), color=COLOURS.get(m, "#000000"), label=f"{c}: {m}")
        for c, m in dict.fromkeys((row.protection, row.method) for row in rows)
    ]
    handles.append(plt.Line2D([], [], color="black", linestyle="--", linewidth=1, label="limit"))
    handles.append(plt.Line2D([], [], linestyle="", marker="o", color="black", label="filled: on the front"))
    figure.legend(handles=handles, loc="lower center", ncols=min(5, len(handles)), frameon=False, fontsize=10)


def leak_over_training(rows: Sequence[Row]) -> str | None:
    """Leak by step, one panel per setting that was audited while it trained; None where none was."""
    watched = [row for row in rows if any(point.history for point in row.points)]
    if not watched:
        return None
    plt = require_matplotlib()
    with plt.rc_context(STYLE):
        columns = min(3, len(watched))
        lines = -(-len(watched) // columns)
        figure, grid = plt.subplots(lines, columns, figsize=(4.3 * columns, 3.0 * lines), squeeze=False, sharey=True)
        places = list(grid.flat)
        for axes, row in zip(places, watched, strict=False):
            _watch(axes, row)
        for line in grid:
            line[0].set_ylabel("leak")
        for axes in places[len(watched) :]:
            axes.set_axis_off()
        figure.tight_layout()
        text = f"{len(watched)} settings audited while training; lines are tiers, one for each seed."
        return _svg(plt, figure, "training", "Leak over training", text)


def _watch(axes: Any, row: Row) -> None:
    named: set[int] = set()
    for point in row.points:
        for tier in TIERS:
            found = [(entry["step"], leak) for entry in point.history if (leak := tier_of(entry, tier)) is not None]
            if not found:
                continue
            label = None if tier in named else f"tier {tier}"
            named.add(tier)
            style = {"linestyle": DASHES[tier % len(DASHES)], "color": TIER_COLOURS[tier], "marker": "."}
            axes.plot(*zip(*found, strict=True), label=label, **style)
    axes.set_ylim(row.first.chance - 0.03, 1.03)
    axes.set_title(_shown(row.name), fontsize=10)
    axes.set_xlabel("step")
    if named:
        axes.legend(frameon=False, fontsize=9)


def tier_of(entry: Mapping[str, Any], tier: int) -> float | None:
    """The leak of one audit in this tier, whether its JSON has it by number or by text."""
    tiers = entry.get("tiers") or {}
    value = tiers.get(str(tier), tiers.get(tier))
    return None if value is None else float(value)


def time_and_bytes(rows: Sequence[Row]) -> str:
    """Seconds and megabytes of each setting as bars, side by side."""
    plt = require_matplotlib()
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 1.2 + 0.38 * len(rows)), sharey=True)
        places = list(range(len(rows)))
        left.barh(places, [row.seconds for row in rows], color=[COLOURS.get(row.method, "#000000") for row in rows])
        left.set_xlabel("seconds of training")
        up, down = ([row.megabytes[k] for row in rows] for k in range(2))
        right.barh([p - 0.2 for p in places], up, 0.38, color="#0072b2", label="sent")
        right.barh(
            [p + 0.2 for p in places], down, 0.38, color="#ffffff", edgecolor="#0072b2", hatch="///", label="received"
        )
        right.set_xlabel("megabytes")
        right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        left.set_yticks(places, [f"{row.protection} {k}. {_shown(row.name)}" for k, row in enumerate(rows, start=1)])
        left.invert_yaxis()
        figure.tight_layout()
        text = "Seconds of training, megabytes sent and received for every setting; every number is in the table."
        return _svg(plt, figure, "cost", "Time and bytes", text)


def _shown(name: str) -> str:
    """A name as plain text for matplotlib, which reads dollars as mathematics."""
    return name.replace("$", r"\$")


def _svg(plt: ModuleType, figure: Any, prefix: str, title: str, description: str) -> str:
    """SVG to put into a page: no header, no metadata, ids of its own, a title and a description."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = file.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'(xlink:href="#|url\(#)([^")]+)', rf"\g<1>{prefix}-\2", body)
    named = f'<title id="{prefix}-title">{html.escape(title)}</title>'
    named += f'<desc id="{prefix}-desc">{html.escape(description)}</desc>'
    opening = body[: body.index(">") + 1]
    marked = f'{opening[:-1]} role="img" aria-labelledby="{prefix}-title {prefix}-desc">{named}'
    return marked + body[len(opening) :]
