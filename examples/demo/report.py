"""The result of a demo run: `report.json`, the table, and the verdict.

Owns: the report's schema and how it is judged. Must never: hold a text, a label or a gradient; it may be shown around.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from methods import KINDS, Findings, MethodReport
from plan import METHODS, Bars, Plan

HEADINGS = ("method", "protection", "hosts", "steps", "accuracy", *KINDS, "worst", "seconds", "MB up", "MB down")
LEAKS = (*KINDS, "worst")
NEVER_SENT = "-"


class Bar(TypedDict):
    """One promise: what was measured, and the limit that it is held to."""

    promise: str
    value: float
    limit: float
    reached: bool


class DemoReport(TypedDict):
    """`report.json`, field by field. `data` is `made-up`, or the folder's name; without bars nothing is promised."""

    model: str
    seed: int
    data: str
    secret: str
    methods: dict[str, MethodReport]
    side_transcript: str
    same_under_other_labels: bool
    bars: list[Bar]


def make_report(plan: Plan, findings: Findings) -> DemoReport:
    """The report of a finished run."""
    methods = {method: findings.outcomes[method].report for method in METHODS}
    return {
        "model": plan.model,
        "seed": plan.seed,
        "data": "made-up" if plan.data is None else plan.data.name,
        "secret": "fixed by the seed" if plan.data is None else "random",
        "methods": methods,
        "side_transcript": findings.outcomes["side"].transcript,
        "same_under_other_labels": findings.same_transcript,
        "bars": [] if plan.bars is None else judge(plan.bars, methods, findings.same_transcript),
    }


def write_report(report: DemoReport, path: Path) -> None:
    """As readable JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def judge(bars: Bars, methods: Mapping[str, MethodReport], same_transcript: bool) -> list[Bar]:
    """Every promise, and whether it is kept."""
    frozen, lora = methods["frozen"]["accuracy"], methods["lora"]["accuracy"]
    return [
        _at_least("lora's accuracy is well above frozen's", lora, frozen + bars.lora_over_frozen),
        _at_least("lora's gradients give the labels away", _gradients(methods["lora"]), bars.lora_gradients),
        *judge_p3eft(bars, lora, methods["p3eft"]),
        _at_least("side's accuracy is close to lora's", methods["side"]["accuracy"], lora - bars.side_below_lora),
        _at_least("side's host is sent the same bytes under other labels", float(same_transcript), 1.0),
    ]


def judge_p3eft(bars: Bars, lora_accuracy: float, p3eft: MethodReport) -> list[Bar]:
    """The promises about P3EFT."""
    close = "p3eft's accuracy is close to lora's"
    return [
        _at_least(close, p3eft["accuracy"], lora_accuracy - bars.p3eft_below_lora),
        _at_most("p3eft's gradients give little away", _gradients(p3eft), bars.p3eft_gradients),
    ]


def describe(bar: Bar) -> str:
    """One line for people."""
    verdict = "yes" if bar["reached"] else "NO"
    return f"{verdict:>3}  {bar['promise']}: {bar['value']:.3f}, the limit is {bar['limit']:.3f}"


def table(methods: Mapping[str, MethodReport]) -> str:
    """The methods side by side; the five columns after the accuracy are leaks."""
    rows = [HEADINGS, *(_cells(name, report) for name, report in methods.items())]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]
    lines = [
        "  ".join(
            cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    left, last = sum(widths[:5]) + 10, 5 + len(LEAKS)
    brace = " " * left + " how well the host guesses the labels ".center(
        sum(widths[5:last]) + 2 * (len(LEAKS) - 1), "-"
    )
    return "\n".join([brace, lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(name: str, report: MethodReport) -> Sequence[str]:
    leak = report["leak"]
    leaks = [leak["activations"], leak["shifts"], leak["differences"], leak["gradients"], leak["worst"]]
    numbers = [f"{report['accuracy']:.3f}", *(NEVER_SENT if value is None else f"{value:.2f}" for value in leaks)]
    megabytes = [f"{report['bytes_up'] / 1e6:.1f}", f"{report['bytes_down'] / 1e6:.1f}"]
    return (
        name,
        report["protection"],
        str(report["hosts"]),
        str(report["steps"]),
        *numbers,
        f"{report['seconds']:.0f}",
        *megabytes,
    )


def _gradients(report: MethodReport) -> float:
    leak = report["leak"]["gradients"]
    if leak is None:
        raise ValueError("the gradients of a method that sends some were not attacked")
    return leak


def _at_least(promise: str, value: float, limit: float) -> Bar:
    return {"promise": promise, "value": value, "limit": round(limit, 4), "reached": value >= limit}


def _at_most(promise: str, value: float, limit: float) -> Bar:
    return {"promise": promise, "value": value, "limit": round(limit, 4), "reached": value <= limit}
