"""The picture of a demo run: what the host saw, coloured by the labels it did not see.

Owns: `leak.png`. Must never: compute a number of the report; it draws what it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from methods import DOTS, MethodReport, Outcome, Seen
from plan import METHODS

F64 = npt.NDArray[np.float64]

NAMES = {"frozen": "Frozen backbone", "lora": "Plain LoRA", "p3eft": "P3EFT, two hosts", "side": "Side network (blind)"}
TICKS = {"frozen": "Frozen\nbackbone", "lora": "Plain\nLoRA", "p3eft": "P3EFT,\ntwo hosts", "side": "Side\n(blind)"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, told apart by colour-blind readers as well."""
BARS = (
    ("accuracy on new rows", "#4d4d4d"),
    ("leak of activations and shifts, the authors' attacks", "#9ecae1"),
    ("leak of gradients", "#d62728"),
)
TAIL = 1.0
"""Percent of points at each end that may fall outside the axes' reach."""


def draw(outcomes: Mapping[str, Outcome], label_names: tuple[str, ...], path: Path) -> None:
    """Write the picture as PNG."""
    plt.rcParams.update({"font.size": 12, "font.family": "DejaVu Sans"})
    figure = plt.figure(figsize=(20, 9), layout="constrained")
    grid = figure.add_gridspec(2, len(METHODS) + 1, width_ratios=(*[1.0] * len(METHODS), 1.6))
    for column, method in enumerate(METHODS):
        outcome = outcomes[method]
        top, bottom = (figure.add_subplot(grid[row, column]) for row in range(2))
        leak = outcome.report["leak"]
        _scatter(top, outcome.activations, leak["activations"])
        _scatter(bottom, outcome.gradients, leak["gradients"])
        top.set_title(f"{NAMES[method]}\naccuracy {outcome.report['accuracy']:.1%}", fontweight="bold")
        if column == 0:
            top.set_ylabel("activations the host computes", fontsize=13)
            bottom.set_ylabel("gradients the host is sent", fontsize=13)
    _bars(figure.add_subplot(grid[:, len(METHODS)]), outcomes)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=COLOURS[k % len(COLOURS)]) for k in range(len(label_names))
    ]
    titles = [f"label: {name}" for name in label_names]
    figure.legend(handles, titles, loc="outside lower left", ncols=min(6, len(titles)), frameon=False, fontsize=13)
    figure.suptitle(_message(outcomes), fontsize=19, fontweight="bold")
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)


def principal_plane(x: npt.NDArray[Any]) -> F64:
    """Coordinates [N, 2] of x [N, H] along its first two principal components."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, :-3:-1])


def _message(outcomes: Mapping[str, Outcome]) -> str:
    """What the numbers say, and no more."""
    lora, p3eft, side = (outcomes[method].report for method in ("lora", "p3eft", "side"))
    in_clear, split = lora["leak"]["gradients"], p3eft["leak"]["gradients"]
    return (
        f"Fine-tuning in the open gives the host the labels (leak {_number(in_clear)}).\n"
        f"Split over two hosts, gradients leak {_number(split)} (0.50 is guessing), "
        f"at {p3eft['accuracy']:.1%} accuracy instead of {lora['accuracy']:.1%};\n"
        f"the best of all attacks without a label still reads {_number(p3eft['leak']['worst'])}. "
        f"A side network at home is at {side['accuracy']:.1%},\n"
        f"and nothing that its host receives depends on a label."
    )


def _scatter(axes: Any, seen: Seen | None, leak: float | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if seen is None:
        axes.text(
            0.5, 0.5, "none:\nwhat is trained\nis at home", ha="center", va="center", fontsize=14, color="#555555"
        )
        return
    plane = principal_plane(seen.rows)
    shown = np.random.Generator(np.random.PCG64(0)).permutation(len(plane))[:DOTS]
    colours = [COLOURS[int(label) % len(COLOURS)] for label in seen.labels[shown]]
    axes.scatter(plane[shown, 0], plane[shown, 1], s=13, c=colours, alpha=0.6, linewidths=0)
    _fit(axes.set_xlim, plane[:, 0])
    _fit(axes.set_ylim, plane[:, 1])
    axes.set_xlabel(f"leak {_number(leak)}", fontsize=13)


def _fit(set_limits: Any, values: F64) -> None:
    """Show all but the farthest points, which would press the others together."""
    low, high = np.percentile(values, [TAIL, 100.0 - TAIL])
    margin = 0.15 * (high - low) or 1.0
    set_limits(low - margin, high + margin)


def _bars(axes: Any, outcomes: Mapping[str, Outcome]) -> None:
    places, width = np.arange(len(METHODS)), 0.27
    columns = zip(*(_heights(outcomes[method].report) for method in METHODS), strict=True)
    for k, ((name, colour), heights) in enumerate(zip(BARS, columns, strict=True)):
        at = places + (k - 1) * width
        axes.bar(at, [h or 0.0 for h in heights], width * 0.92, label=name, color=colour)
        for x, height in zip(at, heights, strict=True):
            text = "none\nsent" if height is None else f"{height:.2f}"
            axes.text(x, (height or 0.0) + 0.01, text, ha="center", va="bottom", fontsize=12)
    axes.axhline(0.5, color="black", linestyle="--", linewidth=1.2, label="0.50: guessing")
    axes.set_xticks(places, [TICKS[method] for method in METHODS], fontsize=13)
    axes.set_ylim(0.0, 1.28)
    axes.set_yticks(np.arange(0.0, 1.01, 0.25))
    axes.set_title("Accuracy against leak", fontweight="bold")
    axes.legend(loc="upper left", frameon=False, ncols=1, fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)


def _heights(report: MethodReport) -> tuple[float, float | None, float | None]:
    """Accuracy; the worst leak of what the host computes itself; the leak of what it is sent."""
    leak = report["leak"]
    views = [view for view in (leak["activations"], leak["shifts"], leak["differences"]) if view is not None]
    return report["accuracy"], max(views, default=None), leak["gradients"]


def _number(leak: float | None) -> str:
    return "-" if leak is None else f"{leak:.2f}"
