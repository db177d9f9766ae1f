"""docs/privacy.md: current, and every number on it comes from the results."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from frontier_points import leak, point, report

from blindtune.frontier.point import Point, Report

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "privacy_page.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("privacy_page", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(shift: float = 0.0, **more: Any) -> Report:
    """Points of every kind; `shift` moves every measured number."""

    def tiers(*scores: float) -> dict[int, Any]:
        values = {"control": 0.512 + shift, "excess": 0.014 + shift, "oracle": 0.7 + shift}
        return {tier: leak(score + shift, **values) for tier, score in enumerate(scores)}

    def one(name: str, accuracy: float, scores: tuple[float, ...], **extra: Any) -> Point:
        cost: dict[str, Any] = {"seconds": 111.4 + 1000 * shift, "norm_ratio": 0.83 + shift}
        cost |= {"bytes_up": int(2.22e6 * (1 + 9 * shift)), "bytes_down": int(3.33e6 * (1 + 8 * shift))}
        made = point(name, 0, accuracy=accuracy + shift, tiers=tiers(*scores), **{**cost, **more}, **extra)
        return replace(made, accuracy_low=0.81 + shift, accuracy_high=0.88 + shift)

    points = [
        one("frozen", 0.747, (0.522,), method="frozen"),
        one("lora", 0.857, (0.97, 0.96, 0.99, 0.98, 0.94), method="lora"),
        one("p3eft", 0.849, (0.543, 0.561, 0.517, 0.971, 0.77)),
        one("p3eft, label epsilon 2", 0.822, (0.531, 0.551, 0.515, 0.93, 0.76), extra={"label_epsilon": 2.0}),
    ]
    return report(points, left_out=[("dc", 0, "over budget", "takes about 9 min")])


def test_the_committed_page_is_what_the_results_say(script: ModuleType) -> None:
    if not script.RESULTS.exists():
        pytest.skip("benches/results/science.json is not there; make science writes it")
    assert script.main(["--check"]) == 0


def test_every_measured_number_moves_with_the_results(script: ModuleType) -> None:
    before, after = (re.findall(r"\d+(?:\.\d+)+", script.page(results(shift))) for shift in (0.0, 0.013))
    assert len(before) == len(after) > 100
    constant = {"0.50", "1.00", "0.60", "2.0", "7.39", "88.1", "0.1.0", "2.2.6"}
    """Guessing, all, the limit; the setting and the two numbers of the proof; versions."""
    assert {one for one, other in zip(before, after, strict=True) if one == other} <= constant


def test_the_words_hold_no_measured_number() -> None:
    without_formats = re.sub(r":[+]?\.\d[f%]|\{1:\.2f\}", "", SCRIPT.read_text(encoding="utf-8"))
    assert not re.findall(r"\d\.\d|\d %", without_formats.replace("95 %", ""))


def test_it_says_what_fails_as_plainly_as_what_works(script: ModuleType) -> None:
    text = script.page(results())
    short = text.split("## What leaves")[0]
    assert "“p3eft” (hurdle): accuracy 0.849" in short and "It does not stop** tier 3 (0.97), tier 4 (0.77)" in short
    fails = text.split("## What fails")[1].split("## What to choose")[0]
    assert "lora: leaks more than 0.60 in tier 0 0.97" in fails and "dc, seed 0: over budget" in fails
    choose = text.split("## What to choose")[1].split("## What it costs")[0]
    assert re.search(r"inverts updates and knows a few labels \| none of those measured", choose)
    formal = text.split("## What a formal cap adds")[1].split("## What fails")[0]
    assert "| p3eft, label epsilon 2 | bounded | 7.39 | 88.1% | 0.822 | 0.93 |" in formal


def test_tables_are_in_the_order_of_the_classes_and_name_them(script: ModuleType) -> None:
    text = script.page(results())
    tier0 = text.split("### Tier 0")[1].split("### Tier 1")[0]
    classes = [line.split(" | ")[1] for line in tier0.splitlines() if line.startswith("| ") and "0." in line]
    assert classes == ["blind", "bounded", "hurdle", "open"]
    four = text.split("## Four classes")[1].split("## What leaves")[0]
    assert [line.split(" | ")[0] for line in four.splitlines() if line.startswith("| **")] == [
        f"| **{name}**" for name in classes
    ]


def test_tables_are_whole_and_names_cannot_break_them(script: ModuleType) -> None:
    evil = point("a | b <img src=x>\n# c", 0, tiers={0: leak(0.5), 1: leak(0.5)})
    text = script.page(report([evil]))
    assert "<img" not in text and "\n# c" not in text
    widths: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            widths = []
            continue
        widths.append(len(re.split(r"(?<!\\)\|", line)))
        assert len(set(widths)) == 1, line


def test_check_tells_a_stale_page(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "science.json").write_text(results().to_json(), encoding="utf-8")
    where = ["--results", str(tmp_path / "science.json"), "--page", str(tmp_path / "docs" / "privacy.md")]
    assert script.main([*where, "--check"]) == 1
    assert script.main(where) == 0 and script.main([*where, "--check"]) == 0
    (tmp_path / "science.json").write_text(results(shift=0.01).to_json(), encoding="utf-8")
    assert script.main([*where, "--check"]) == 1
    assert "not what the results say" in capsys.readouterr().out
