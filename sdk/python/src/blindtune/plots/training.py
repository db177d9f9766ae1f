"""How a run trained: its loss, and scores on other rows, by step or by epoch.

Owns: which of a run's records are drawn. Must never: smooth a line without the one it was made of behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import AnyArray
from ..errors import RunError
from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, canvas

if TYPE_CHECKING:
    from .picture import Picture

Records = Sequence[Mapping[str, Any]]
SMOOTHED = 20
"""Steps in a moving mean, as many as `FitResult.loss` is the mean of."""
SCORES = ("accuracy", "f1_macro", "f1_micro", "f1", "auc", "spearman")
"""What is drawn of the scores on other rows, the first three that are there."""


def training_plot(steps: Records, dev: Records = ()) -> Picture:
    """Loss by epoch of networks that learn at home, by step otherwise; below it scores on `dev`, where there are."""
    if not steps:
        raise RunError("plot: this result has no records of its steps; plot what fit gave back")
    scores = [name for name in SCORES if _known(dev, name)][:3]
    with canvas(5.2 if scores else 3.2, "plot() of a fit") as picture:
        count = 2 if scores else 1
        places = picture.subplots(count, 1, sharex=True, squeeze=False, height_ratios=[3, 2][:count])[:, 0]
        by_epoch = "epoch" in steps[0]
        (_epochs if by_epoch else _steps)(places[0], steps)
        at = "epoch" if by_epoch else "step"
        for mine, first in _by_network(dev, "loss"):
            label = "dev set" if first else None
            places[0].plot(*_line(mine, "loss", at), color=ORANGE, marker="o", markersize=3, label=label)
        places[0].set_ylabel("mean loss of a row")
        places[0].set_title("Training at home" if by_epoch else "Training")
        for name, colour, mark in zip(scores, (GREEN, PURPLE, GREY), "osD", strict=False):
            for mine, first in _by_network(dev, name):
                label = name if first else None
                places[1].plot(*_line(mine, name, at), color=colour, marker=mark, markersize=3, label=label)
        if scores:
            places[1].set_ylabel("score on the dev set")
        for axes in places:
            axes.grid(visible=True)
            axes.legend()
        places[-1].set_xlabel("epoch (passes over the rows)" if by_epoch else "step (batches)")
        places[-1].xaxis.get_major_locator().set_params(integer=True)
    return picture


def _epochs(axes: Any, records: Records) -> None:
    """Each network's lines, and a ring at the epoch that it keeps."""
    networks = sorted({record["network"] for record in records})
    for number, network in enumerate(networks):
        mine = [record for record in records if record["network"] == network]
        named: dict[str, Any] = {"alpha": 1.0 if len(networks) == 1 else 0.6}
        first = number == 0
        axes.plot(*_line(mine, "loss", "epoch"), color=BLUE, label="trained rows" if first else None, **named)
        held = [record for record in mine if record.get("held_out_loss") is not None]
        if held:
            label = "rows held out (averaged weights)" if first else None
            axes.plot(*_line(held, "held_out_loss", "epoch"), color=ORANGE, linestyle="--", label=label, **named)
            best = min(held, key=lambda record: record["held_out_loss"])
            ring = {"markerfacecolor": "white", "markeredgewidth": 1.5, "zorder": 3, "clip_on": False}
            label = "epoch that is kept" if first else None
            axes.plot(best["epoch"], best["held_out_loss"], "o", color=ORANGE, label=label, **ring)
    axes.set_ylim(bottom=0)


def _by_network(records: Records, key: str) -> list[tuple[list[Mapping[str, Any]], bool]]:
    """Those that have a value, network by network, and whether it is the first; of other methods all."""
    networks = list(dict.fromkeys(record.get("network") for record in records if record.get(key) is not None))
    return [([r for r in records if r.get("network") == one], one == networks[0]) for one in networks]


def _steps(axes: Any, records: Records) -> None:
    """The loss on the labels, pale as it was and smoothed; with the penalty, where there is one."""
    key = "task_loss" if "task_loss" in records[0] else "loss"
    steps, losses = _line(records, key)
    axes.plot(steps, losses, color=BLUE, alpha=0.3, linewidth=1, label="each batch")
    axes.plot(steps, smoothed(losses), color=BLUE, label=f"mean of {SMOOTHED} steps")
    whole = _line(records, "loss")[1]
    if not np.allclose(whole, losses):
        label = "with the penalty on leaks"
        axes.plot(steps, smoothed(whole), color=GREY, linestyle=":", label=label)
    axes.set_ylim(bottom=min(0.0, float(np.nanmin(whole))))


def _line(records: Records, key: str, at: str = "step") -> tuple[AnyArray, AnyArray]:
    """Where a value is known, and the value there."""
    known = [record for record in records if record.get(key) is not None]
    return np.array([record[at] for record in known]), np.array([float(record[key]) for record in known])


def smoothed(values: AnyArray) -> AnyArray:
    """The mean of each value and those before it, `SMOOTHED` at most."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - SMOOTHED)
    smooth: AnyArray = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth


def _known(records: Records, key: str) -> bool:
    return any(record.get(key) is not None for record in records)
