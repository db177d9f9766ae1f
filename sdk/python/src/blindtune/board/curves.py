"""The charts of a run: what is drawn against the step, or the epoch of networks at home.

Owns: which records become which lines, and their words. Must never: smooth a line without the one it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..plots.training import SCORES, SMOOTHED, smoothed

Records = Sequence[Mapping[str, Any]]
MOST_POINTS = 1000
"""Of longer runs every second step is drawn, or every third, and so on, and always the last."""
MEAN = f"mean of {SMOOTHED} steps"
ORDER = ("loss", "accuracy", "leak", "dev", "dev_loss", "weight", "seconds", "norms")
"""Of the charts on the page."""


def training_charts(steps: Records, dev: Records) -> list[dict[str, Any]]:
    """Loss, scores, seconds and the length of activations."""
    if not steps:
        return []
    by_epoch = "epoch" in steps[0]
    found = [_loss_by_epoch(steps) if by_epoch else _loss_by_step(steps)]
    if not by_epoch and _known(steps, "accuracy"):
        lines = [_line("each batch", steps, "accuracy"), _smooth(MEAN, steps, "accuracy")]
        found.append(_chart("accuracy", "Accuracy on the rows trained on", "step", _at(steps), lines))
    found += _dev_charts(dev, "epoch" if by_epoch else "step")
    if _known(steps, "seconds"):
        lines = [_line("seconds", steps, "seconds")]
        found.append(_chart("seconds", "Seconds a step", "step", _at(steps), lines) | {"unit": "seconds"})
    if _known(steps, "h_norms"):
        sets = range(max(len(one.get("h_norms") or ()) for one in steps))
        lines = [{"label": f"set {k}", "values": [_item(one.get("h_norms"), k) for one in steps]} for k in sets]
        found.append(_chart("norms", "Length of the activations, mean |h| of a batch", "step", _at(steps), lines))
    return [_thinned(chart) for chart in found]


def leak_charts(audits: Records, limit: float | None) -> list[dict[str, Any]]:
    """What was found while training, tier by tier, with the limit; and the weight of the penalty that it steers."""
    if not audits:
        return []
    tiers = sorted({tier for one in audits for tier in one["tiers"]})
    lines: list[dict[str, Any]] = [
        {"label": f"tier {tier}", "values": [one["tiers"].get(tier) for one in audits]} for tier in tiers
    ]
    if limit is not None:
        lines.append({"label": "limit", "values": [limit] * len(audits), "limit": True})
    found = [_chart("leak", "Leak while training, and the limit", "step", _at(audits), lines)]
    if _known(audits, "weight"):
        lines = [_line("weight", audits, "weight")]
        found.append(_chart("weight", "Weight of the penalty on leaks", "step", _at(audits), lines))
    return [_thinned(chart) for chart in found]


def in_order(charts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the page shows them."""
    return sorted(charts, key=lambda chart: ORDER.index(chart["key"]))


def _loss_by_step(steps: Records) -> dict[str, Any]:
    key = "task_loss" if "task_loss" in steps[0] else "loss"
    lines = [_line("each batch", steps, key), _smooth(MEAN, steps, key)]
    if key != "loss" and any(one["loss"] != one.get(key) for one in steps):
        lines.append(_smooth("with the penalty on leaks", steps, "loss"))
    return _chart("loss", "Loss at home, mean of a row", "step", _at(steps), lines)


def _loss_by_epoch(steps: Records) -> dict[str, Any]:
    networks = sorted({one["network"] for one in steps})
    epochs = sorted({one["epoch"] for one in steps})
    lines = []
    for network in networks:
        mine = {one["epoch"]: one for one in steps if one["network"] == network}
        whose = f"network {network + 1}, " if len(networks) > 1 else ""
        for key, words in (("loss", "trained rows"), ("held_out_loss", "rows held out")):
            values = [mine.get(epoch, {}).get(key) for epoch in epochs]
            if any(value is not None for value in values):
                lines.append({"label": f"{whose}{words}", "values": values, "dashed": key != "loss"})
    return _chart("loss", "Loss at home, mean of a row", "epoch", epochs, lines)


def _dev_charts(dev: Records, at: str) -> list[dict[str, Any]]:
    """Scores that run from 0 to 1, and the loss, which does not."""
    names = [name for name in SCORES if _known(dev, name)][:3]
    found = []
    for key, title, wanted in (
        ("dev", "Scores on the dev rows", names),
        ("dev_loss", "Loss on the dev rows", ["loss"] if _known(dev, "loss") else []),
    ):
        places = sorted({one[at] for one in dev if at in one})
        lines = [line for name in wanted for line in _by_network(dev, name, at, places)]
        if lines and len(places) > 1:
            found.append(_chart(key, title, at, places, lines))
    return found


def _by_network(dev: Records, name: str, at: str, places: Sequence[Any]) -> list[dict[str, Any]]:
    networks = list(dict.fromkeys(one.get("network") for one in dev))
    found = []
    for network in networks:
        mine = {one[at]: one.get(name) for one in dev if one.get("network") == network and at in one}
        whose = "" if network is None or len(networks) == 1 else f", network {network + 1}"
        found.append({"label": f"{name}{whose}", "values": [mine.get(place) for place in places]})
    return found


def _chart(key: str, title: str, x_label: str, x: Sequence[Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {"key": key, "title": title, "x_label": x_label, "x": list(x), "lines": lines, "unit": "number"}


def _thinned(chart: dict[str, Any]) -> dict[str, Any]:
    """At most so many points, and how many steps lie between two."""
    count = len(chart["x"])
    every = -(-count // MOST_POINTS)
    if every < 2:
        return chart | {"every": 1}
    rows = [*range(0, count - 1, every), count - 1]
    lines = [line | {"values": [line["values"][k] for k in rows]} for line in chart["lines"]]
    return chart | {"x": [chart["x"][k] for k in rows], "lines": lines, "every": every}


def _line(label: str, records: Records, key: str) -> dict[str, Any]:
    return {"label": label, "values": [one.get(key) for one in records]}


def _smooth(label: str, records: Records, key: str) -> dict[str, Any]:
    values = np.array([np.nan if one.get(key) is None else float(one[key]) for one in records])
    return {"label": label, "values": smoothed(values).tolist()}


def _at(records: Records) -> list[Any]:
    return [one["step"] for one in records]


def _item(values: Sequence[Any] | None, place: int) -> Any:
    return values[place] if values is not None and place < len(values) else None


def _known(records: Records, key: str) -> bool:
    return any(one.get(key) is not None for one in records)
