"""The result of a demo run: `report.json`, the table, and the verdict.

Owns: the report's schema and how it is judged. Must never: hold a text, a label or a gradient; it may be shown around.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from methods import KINDS, MethodReport, Outcome
from plan import METHODS, Bars, Plan

HEADINGS = ("method", "hosts", "steps", "accuracy", *KINDS, "seconds", "MB up", "MB down")
NEVER_SENT = "-"


class DemoReport(TypedDict):
    """`report.json`, field by field. `data` is `made-up`, or the folder's name."""

    model: str
    seed: int
    data: str
    methods: dict[str, MethodReport]


def make_report(plan: Plan, outcomes: Mapping[str, Outcome]) -> DemoReport:
    """The report of a finished run."""
    data = "made-up" if plan.data is None else plan.data.name
    methods = {method: outcomes[method].report for method in METHODS}
    return {"model": plan.model, "seed": plan.seed, "data": data, "methods": methods}


def write_report(report: DemoReport, path: Path) -> None:
    """As readable JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def table(methods: Mapping[str, MethodReport]) -> str:
    """The methods side by side; the four columns after the accuracy are leaks."""
    rows = [HEADINGS, *(_cells(name, report) for name, report in methods.items())]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]
    lines = [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    left = sum(widths[:4]) + 8
    brace = " " * left + " how well the host guesses the labels ".center(sum(widths[4:8]) + 6, "-")
    return "\n".join([brace, lines[0], "-" * len(lines[0]), *lines[1:]])


def failures(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Which bars were missed, in words; empty when the demo shows what it promises."""
    bars, reports = plan.bars, {name: outcome.report for name, outcome in outcomes.items()}
    return [*_accuracy_failures(bars, reports), *_leak_failures(bars, reports), *_norm_failures(bars, outcomes)]


def _cells(name: str, report: MethodReport) -> Sequence[str]:
    leaks = [
        report["leak"]["activations"],
        report["leak"]["shifts"],
        report["leak"]["differences"],
        report["leak"]["gradients"],
    ]
    numbers = [f"{report['accuracy']:.3f}", *(NEVER_SENT if leak is None else f"{leak:.2f}" for leak in leaks)]
    megabytes = [f"{report['bytes_up'] / 1e6:.1f}", f"{report['bytes_down'] / 1e6:.1f}"]
    return (name, str(report["hosts"]), str(report["steps"]), *numbers, f"{report['seconds']:.0f}", *megabytes)


def _accuracy_failures(bars: Bars, reports: Mapping[str, MethodReport]) -> list[str]:
    frozen, lora, p3eft = (reports[name]["accuracy"] for name in METHODS)
    found = []
    if bars.lora_over_frozen is not None and lora < frozen + bars.lora_over_frozen:
        found.append(f"lora's accuracy {lora:.3f} is not {bars.lora_over_frozen:.2f} above frozen's {frozen:.3f}")
    if bars.lora_accuracy is not None and lora < bars.lora_accuracy:
        found.append(f"lora's accuracy {lora:.3f} is below {bars.lora_accuracy} (the figure expected on SST-2)")
    if p3eft < lora - bars.p3eft_below_lora:
        found.append(f"p3eft's accuracy {p3eft:.3f} is more than {bars.p3eft_below_lora:.3f} below lora's {lora:.3f}")
    return found


def _leak_failures(bars: Bars, reports: Mapping[str, MethodReport]) -> list[str]:
    found = []
    clear, hidden = reports["lora"]["leak"], reports["p3eft"]["leak"]
    if clear["gradients"] is None or clear["gradients"] < bars.lora_gradients:
        found.append(
            f"lora's gradients leak {clear['gradients']}, yet should give the labels away ({bars.lora_gradients})"
        )
    limits = (
        ("gradients", hidden["gradients"], bars.p3eft_gradients),
        ("activations", hidden["activations"], bars.p3eft_activations),
        ("shifts", hidden["shifts"], bars.p3eft_shifts),
        ("differences", hidden["differences"], bars.p3eft_differences),
    )
    for kind, value, limit in limits:
        if limit is not None and (value is None or value > limit):
            found.append(f"p3eft's {kind} leak {value}, the limit is {limit}")
    return found


def _norm_failures(bars: Bars, outcomes: Mapping[str, Outcome]) -> list[str]:
    ratio = outcomes["p3eft"].norm_ratio
    if bars.norm_ratio is None or ratio >= bars.norm_ratio:
        return []
    return [f"p3eft's smallest activations fell to {ratio:.2f} of the backbone's, the limit is {bars.norm_ratio}"]
