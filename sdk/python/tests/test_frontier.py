"""The frontier on toy hosts: it measures, keeps to its budget, survives kill -9, and reports the same everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import sentiment
from fake_host import FakeHost
from frontier_points import EVIL, Page, leak, point, report

from blindtune import DataError, RunError, SettingsError
from blindtune.audit import Effort
from blindtune.cli import main
from blindtune.cli.app import commands
from blindtune.cli.setting_options import AllSettings, given_settings
from blindtune.frontier import Plan, Rows, Where, make_grid, run_frontier
from blindtune.frontier.estimate import Estimator, Measured, parse_budget, units
from blindtune.frontier.grid import GridPoint
from blindtune.frontier.measure import accuracy_interval, tier_leaks
from blindtune.frontier.point import Point, Report
from blindtune.frontier.summary import best_by_class, costs, default_limit, failures, pareto, recommend, summarize
from blindtune.frontier.words import in_short, train_command
from blindtune.training.settings import Settings

BASE: dict[str, Any] = {"steps": 30, "batch_size": 32, "ramp_steps": 15, "lr": 0.02, "save_every": 5}


def grid_file(folder: Path, points: list[dict[str, Any]], **base: Any) -> Path:
    path = folder / "grid.json"
    path.write_text(json.dumps({"base": {**BASE, **base}, "points": points}))
    return path


def table(folder: Path, name: str, count: int, seed: int) -> Path:
    data = sentiment(count, seed)
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (folder / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder / name


def arguments(host: FakeHost, folder: Path, grid: Path, *more: str) -> list[str]:
    data = ["--data", str(table(folder, "train.tsv", 200, 0)), "--dev", str(table(folder, "dev.tsv", 120, 1))]
    where = ["--model", "toy", "--host", host.url, "--api-key", "k", "--out", str(folder / "out")]
    return ["frontier", *data, *where, "--grid", str(grid), "--quiet", "--effort", "quick", *more]


def plan(host: FakeHost, out: Path, grid: tuple[GridPoint, ...], budget_s: float = 600.0) -> Plan:
    rows = Rows(sentiment(200), sentiment(120, seed=1))
    return Plan(
        Where("toy", (host.url,), ("k",)), rows, grid, (0,), budget_s, out, progress=False, effort=Effort.quick()
    )


SIDE = {"name": "side", "settings": {"method": "side", "epochs": 2, "networks": 1, "lr": 0.01, "batch_size": 32}}
FROZEN = {"name": "frozen", "settings": {"method": "frozen"}}
LORA = {"name": "lora", "settings": {"method": "lora"}}
P3EFT = {"name": "p3eft", "settings": {}}


# End to end.


def test_the_command_measures_a_grid_and_reports_it_thrice(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = grid_file(tmp_path, [FROZEN, LORA, {"name": EVIL, "settings": {}}, {**P3EFT, "hosts": 2}])
    assert main(arguments(fake_host, tmp_path, grid, "--seeds", "0", "1", "--budget", "5m")) == 0
    printed = capsys.readouterr().out
    assert "left out: p3eft, seed 0: refused (needs 2 hosts, 1 given)" in printed
    found = Report.read(tmp_path / "out" / "frontier.json")
    assert [(p.name, p.seed) for p in found.points] == [(n, s) for s in (0, 1) for n in ("frozen", "lora", EVIL)]
    assert [(e.name, e.seed, e.status) for e in found.left_out] == [("p3eft", 0, "refused"), ("p3eft", 1, "refused")]
    lora = next(p for p in found.points if p.name == "lora")
    assert lora.accuracy > 0.8 and lora.steps == 30 and lora.bytes_up > 10_000 and lora.seconds > 0
    assert (lora.kinds["gradients"] or 0.0) > 0.9, "in clear they are the labels, without knowing any"
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "frontier.csv").read_text())))
    measured = {(line["name"], int(line["seed"])): line for line in lines if line["status"] == "measured"}
    assert measured.keys() == {(p.name, p.seed) for p in found.points}
    assert [line["protection"] for line in measured.values()] == ["blind", "blind", "hurdle", "hurdle", "open", "open"]
    for one in found.points:
        line = measured[one.name, one.seed]
        assert float(line["accuracy"]) == one.accuracy and json.loads(line["settings"]) == one.settings
        for tier, known in one.tiers.items():
            assert float(line[f"tier{tier}_score"]) == known.score
    assert 3 in lora.tiers and "updates of the adapters" not in lora.evidence["not_measured"]
    page = Page((tmp_path / "out" / "frontier.html").read_text())
    assert EVIL in page.text and "refused (needs 2 hosts, 1 given)" in page.text
    assert f"{lora.accuracy:.4f}" in page.text


def test_side_is_measured_as_a_blind_point(fake_host: FakeHost, tmp_path: Path) -> None:
    point = GridPoint("side", SIDE["settings"])  # type: ignore[arg-type]
    (found,) = run_frontier(replace(plan(fake_host, tmp_path, (point,)), effort=Effort())).points
    assert found.protection == "blind" and found.accuracy > 0.5 and found.tiers.keys() == {0, 1, 4}
    assert found.evidence["attacks_with_a_dose"] > 5 and "timing" in found.evidence["not_measured"]
    assert failures(summarize([found]), 0.6) == []


def test_rows_come_by_class_of_protection() -> None:
    points = [
        point("lora", 0, method="lora"),
        point("p3eft", 0),
        point("capped", 0, extra={"label_epsilon": 2.0}),
        point("frozen", 0, method="frozen", accuracy=0.7),
        point("side", 0, extra={"method": "side"}, accuracy=0.8),
    ]
    rows = summarize(points)
    assert [row.name for row in rows] == ["frozen", "side", "capped", "p3eft", "lora"]
    assert [row.protection for row in rows] == ["blind", "blind", "bounded", "hurdle", "open"]
    assert [row.name for row in best_by_class(rows)] == ["side", "capped", "p3eft", "lora"]


def test_nothing_of_the_data_is_in_the_report(fake_host: FakeHost, tmp_path: Path) -> None:
    assert main(arguments(fake_host, tmp_path, grid_file(tmp_path, [FROZEN, LORA]), "--budget", "5m")) == 0
    sha256 = json.loads((tmp_path / "out" / "plan.json").read_text())["train_sha256"]
    for name in ("frontier.json", "frontier.csv", "frontier.html"):
        content = (tmp_path / "out" / name).read_text()
        assert sha256 not in content and not any(text in content for text in sentiment(200).texts)


def test_killed_in_the_middle_it_continues_without_repeating(fake_host: FakeHost, tmp_path: Path) -> None:
    grid = grid_file(tmp_path, [LORA, {"name": "p3eft", "settings": {"regularizer": "probe"}}], steps=120, save_every=1)
    words = [sys.executable, "-m", "blindtune.cli", *arguments(fake_host, tmp_path, grid, "--budget", "9m")]
    points = tmp_path / "out" / "points"
    _kill_in_second_point(words, points)
    (finished,) = points.glob("lora*/result.json")
    before, jobs = finished.read_bytes(), len(fake_host.jobs)
    (steps,) = points.glob("p3eft*/run/steps.jsonl")
    done = steps.read_text().count("\n")
    assert 3 <= done < 120 and not list(points.glob("p3eft*/result.json"))
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert finished.read_bytes() == before, "a finished point is not measured again"
    (about,) = points.glob("p3eft*/run/run.json")
    assert json.loads(about.read_text())["hosts"][0]["job_id"] == f"ftjob-{jobs - 1}", "training went on, in its job"
    numbers = [json.loads(line)["step"] for line in steps.read_text().splitlines()]
    assert max(numbers) == 120 and sum(n <= done for n in numbers) <= done + 2, "at most the last steps are repeated"
    found = Report.read(tmp_path / "out" / "frontier.json")
    assert [p.name for p in found.points] == ["lora", "p3eft"] and found.left_out == ()


def _kill_in_second_point(words: list[str], points: Path) -> None:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.read_text().count("\n") >= 3 for path in points.glob("p3eft*/run/steps.jsonl")):
            break
        time.sleep(0.01)
    assert process.poll() is None, f"to be killed while it trains: {process.communicate()[1].decode()}"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def test_the_budget_ends_a_point_and_names_the_rest(fake_host: FakeHost, tmp_path: Path) -> None:
    points = (GridPoint("lora", {**BASE, "method": "lora", "steps": 30_000}), GridPoint("p3eft", {**BASE, "steps": 30}))
    found = run_frontier(plan(fake_host, tmp_path, points, budget_s=2.0))
    assert found.points == ()
    assert [(e.name, e.status) for e in found.left_out] == [("lora", "unfinished"), ("p3eft", "over budget")]
    assert "the same command continues it" in found.left_out[0].reason
    done = int(re.findall(r"after (\d+) steps", found.left_out[0].reason)[0])
    assert 0 < done < 30_000
    again = run_frontier(plan(fake_host, tmp_path, points[1:], budget_s=60.0))
    assert [p.name for p in again.points] == ["p3eft"] and again.left_out == ()


def test_a_point_that_cannot_fit_is_left_out_with_its_estimate(fake_host: FakeHost, tmp_path: Path) -> None:
    short, long = ({**BASE, "method": "lora", "steps": steps} for steps in (40, 4_000_000))
    points = (GridPoint("short", short), GridPoint("long", long), GridPoint("also short", {**short, "lr": 0.01}))
    found = run_frontier(plan(fake_host, tmp_path, points, budget_s=60.0))
    assert [p.name for p in found.points] == ["short", "also short"]
    (left,) = found.left_out
    assert (left.name, left.status) == ("long", "over budget") and left.estimate_s is not None and left.estimate_s > 60


def test_a_folder_keeps_to_its_data(fake_host: FakeHost, tmp_path: Path) -> None:
    points = (GridPoint("frozen", {**BASE, "method": "frozen"}),)
    run_frontier(plan(fake_host, tmp_path, points))
    same = plan(fake_host, tmp_path, points)
    for name, other in {
        "train": replace(same, rows=Rows(sentiment(201), same.rows.dev)),
        "effort": replace(same, effort=Effort()),
    }.items():
        with pytest.raises(RunError, match=f"points have another {name};"):
            run_frontier(other)
    (tmp_path / "plan.json").write_text((tmp_path / "plan.json").read_text().replace('"effort"', '"unknown"'))
    with pytest.raises(RunError, match="points have another effort;"):
        run_frontier(same)


def test_a_point_that_fails_is_named_and_the_others_go_on(fake_host: FakeHost, tmp_path: Path) -> None:
    points = (
        GridPoint("diverges", {**BASE, "method": "lora", "lr": 1e30}),
        GridPoint("frozen", {**BASE, "method": "frozen"}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers overflow: that is the point
        found = run_frontier(plan(fake_host, tmp_path, points))
    assert [p.name for p in found.points] == ["frozen"]
    assert [(e.name, e.status, bool(e.reason)) for e in found.left_out] == [("diverges", "failed", True)]


def test_without_matplotlib_the_extra_is_named_at_once(
    fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(arguments(fake_host, tmp_path, grid_file(tmp_path, [FROZEN]))) == 1
    assert "blindtune[plot]" in capsys.readouterr().err
    assert not fake_host.jobs and not (tmp_path / "out").exists()


# What the numbers say.


def test_a_point_survives_its_json() -> None:
    one = point("p3eft", 1, tiers={0: leak(0.55), 3: leak(0.97)}, history=({"step": 5, "tiers": {"0": 0.6}},))
    assert Point.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    whole = report([one])
    assert Report.from_dict(json.loads(whole.to_json())) == whole
    assert Point.from_dict({**one.to_dict(), "newer": 1}) == one
    with pytest.raises(ValueError, match="JSON"):
        report([point("x", 0, loss=float("nan"))]).to_json()
    with pytest.raises(DataError, match="not a frontier"):
        Report.from_dict({"format": "other", "points": []})


def test_the_worst_seed_counts_and_the_front_has_no_beaten_point() -> None:
    rows = summarize(
        [
            point("good", 0, accuracy=0.85, tiers={0: leak(0.52), 1: leak(0.58)}),
            point("good", 1, accuracy=0.83, tiers={0: leak(0.51), 1: leak(0.59)}),
            point("unlucky", 0, accuracy=0.86, tiers={0: leak(0.52), 1: leak(0.53)}),
            point("unlucky", 1, accuracy=0.86, tiers={0: leak(0.52), 1: leak(0.91)}),
            point("beaten", 0, accuracy=0.80, tiers={0: leak(0.6), 1: leak(0.6)}),
            point("unknown", 0, accuracy=0.99, tiers={0: leak(0.5)}),
            point("frozen", 0, method="frozen", accuracy=0.75, tiers={0: leak(0.52)}),
        ]
    )
    assert [row.name for row in pareto(rows)] == ["frozen", "good", "unlucky"]
    best = recommend(rows, 0.60)
    assert best is not None and best.name == "good" and best.accuracy == pytest.approx(0.84)
    assert best.worst() == 0.59
    assert recommend(rows, 0.51) is None


def test_the_limit_is_the_same_part_of_the_way_for_more_classes() -> None:
    assert default_limit(2) == pytest.approx(0.60)
    assert default_limit(4) == pytest.approx(0.25 + 0.2 * 0.75)


def test_what_fails_is_said() -> None:
    bad = {0: leak(0.55), 1: leak(0.58, oracle=0.9), 2: leak(0.52, control=0.61), 3: leak(0.98), 4: leak(0.8)}
    rows = summarize(
        [
            point("frozen", 0, method="frozen", accuracy=0.75, tiers={0: leak(0.52)}),
            point("p3eft", 0, accuracy=0.70, tiers=bad, norm_ratio=0.3),
            point("half", 0, tiers={0: leak(0.5)}),
        ]
    )
    said = "\n".join(failures(rows, 0.60))
    for words in (
        "p3eft: leaks more than 0.60 in tier 3 0.98 (activations: h0/kmeans), tier 4 0.80",
        "p3eft: the best attack chosen with the labels, an upper bound, finds more: tier 1 up to 0.90",
        "half: not attacked in tier 1, 2, 3, 4",
        "p3eft: activations fell to 0.30",
        "p3eft: the shuffled control is above chance in tier 2",
        "p3eft: accuracy 0.700 is not above the frozen backbone's 0.750",
    ):
        assert words in said
    assert "frozen:" not in said


def test_the_recommendation_says_what_it_does_not_cover() -> None:
    tiers = {0: leak(0.55), 1: leak(0.58), 3: leak(0.98)}
    found = report([point("p3eft", 0, tiers=tiers)])
    said = " ".join(in_short(found, summarize(found.points)))
    assert "“p3eft”" in said and "tier 3 (inverting updates) reads 0.98, not covered" in said
    assert "tier 2 (putting shares together) was not measured" in said and "1 seed;" in said
    leaky = report([point("lora", 0, tiers={0: leak(0.9), 1: leak(0.9)})])
    assert "No point stays at" in in_short(leaky, summarize(leaky.points))[0]


def test_the_command_recommended_trains_at_the_point() -> None:
    settings = Settings(steps=77, adapter_sets=3, lr=0.01, use_rslora=True, target_modules=("query", "value")).resolve(
        2
    )
    one = point("p3eft", 0, hosts=2, settings=settings.to_dict(), tiers={0: leak(0.5), 1: leak(0.5)})
    words = shlex.split(train_command(summarize([one])[0], report([one]).about))
    assert words[:2] == ["blindtune", "train"]
    options = commands().commands["train"].make_context("train", words[2:]).params
    given = given_settings(AllSettings(**{name: options[name] for name in Settings().to_dict()}))
    assert Settings.from_dict(given).resolve(2) == settings
    assert options["host"] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_the_price_is_that_of_two_sets_and_two_shares() -> None:
    lora = point("lora", 0, method="lora", seconds=10.0, bytes_up=100, bytes_down=200)
    two = point("p3eft", 0, seconds=25.0, bytes_up=300, bytes_down=500)
    longer = point("longer", 0, steps=999)
    (cost,) = costs(summarize([lora, two, longer]))
    assert cost.name == "p3eft" and (cost.seconds, cost.bytes_up, cost.bytes_down) == pytest.approx((2.5, 3.0, 2.5))
    assert costs(summarize([two])) == ()


def test_intervals_are_those_of_a_resampled_share() -> None:
    low, high = accuracy_interval(0.85, 872)
    assert 0.822 < low < 0.828 and 0.872 < high < 0.876
    assert accuracy_interval(1.0, 100) == (1.0, 1.0)


def test_a_report_without_tiers_is_read_by_its_kinds() -> None:
    from blindtune import LeakReport

    old = LeakReport(activations=0.6, shifts=0.55, differences=0.9, gradients=None, classes=2, rows=10)
    assert {tier: leak.score for tier, leak in tier_leaks(old).items()} == {0: 0.6, 1: 0.9}


# Grids and budgets.


@pytest.mark.parametrize("which", ["default", "quick"])
@pytest.mark.parametrize("hosts", [1, 2])
def test_built_in_grids_start_with_both_ends_and_have_their_own_names(which: str, hosts: int) -> None:
    grid = make_grid(which, hosts, {"steps": 50})
    assert [one.name for one in grid[:4]] == ["frozen", "side", "lora", "p3eft"]
    names = Counter(one.name for one in grid)
    assert max(names.values()) == 1 and {one.settings.get("steps") for one in grid if one.name != "side"} == {50}
    assert len({one.key(0) for one in grid}) == len(grid) and grid[0].key(0) != grid[0].key(1)
    for one in grid:
        if one.hosts <= hosts:
            one.resolve(0)


@pytest.mark.parametrize("which", ["default", "quick"])
def test_published_points_penalize_the_activations_alone(which: str) -> None:
    published = [one for one in make_grid(which, 1, {}) if "as published" in one.name]
    assert published
    for one in published:
        settings = one.resolve(0)
        dc = settings.method == "dc"
        assert (settings.activation_dc_weight if dc else settings.activation_weight) == 0.3
        assert (settings.shift_dc_weight if dc else settings.shift_weight) == settings.difference_weight == 0.0


def test_bad_grids_end_at_once(tmp_path: Path) -> None:
    for points, message in (
        ([], "no points"),
        ([FROZEN, FROZEN], "two points are called 'frozen'"),
        ([{"name": "x", "settings": {"learning_rate": 1}}], "unknown setting 'learning_rate'"),
        ([{"name": "x", "settings": {"seed": 1}}], "seeds come from --seeds"),
        ([{"settings": {}}], "point 0: needs"),
        (
            [{"name": "a", "method": "lora"}],
            "point 0: there is no 'method', only .*; it is a setting",
        ),
        ([{"name": "a", "setings": {}}], "point 0: there is no 'setings', only name, hosts, settings$"),
        ([{"name": "x", "hosts": 0}], "at least one host"),
    ):
        with pytest.raises(SettingsError, match=message):
            make_grid(str(grid_file(tmp_path, points)), 1, {})
    (tmp_path / "grid.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"grid\.json: not"):
        make_grid(str(tmp_path / "grid.json"), 1, {})


def test_overrides_replace_the_base_and_not_the_points(tmp_path: Path) -> None:
    path = grid_file(tmp_path, [FROZEN, {**LORA, "settings": {"method": "lora", "lr": 0.5}}])
    first, second = make_grid(str(path), 1, {"lr": 0.1, "steps": 7})
    assert (first.settings["lr"], second.settings["lr"], second.settings["steps"]) == (0.1, 0.5, 7)


def test_budgets_are_read() -> None:
    assert [parse_budget(text) for text in ("90s", "60m", "1.5h", "2")] == [90.0, 3600.0, 5400.0, 120.0]
    for text in ("", "m", "-1m", "0", "soon", "nan", "inf"):
        with pytest.raises(ValueError, match="budget"):
            parse_budget(text)


def test_a_side_network_costs_its_host_one_pass_whatever_is_trained_at_home() -> None:
    found = {units(Settings(method="side", epochs=e).resolve(1), 1, 500) for e in (1.0, 20.0)}
    assert found == {500.0} and units(Settings(method="frozen", steps=1000).resolve(1), 1, 500) == 500.0


def test_estimates_come_from_what_was_measured() -> None:
    lora, p3eft = (GridPoint(method, {**BASE, "method": method}) for method in ("lora", "p3eft"))
    known = Estimator()
    assert known.seconds(lora, lora.resolve(0), 200) is None
    known.add(Measured("lora", "lora", units(lora.resolve(0), 1, 200), training_s=10.0, rest_s=2.0))
    assert known.seconds(lora, lora.resolve(1), 200) == 12.0
    assert known.seconds(lora, lora.resolve(1), 200, done=15) == 7.0
    guess = known.seconds(p3eft, p3eft.resolve(0), 200)
    assert guess is not None and guess > 2 * 10.0, "two sets and two shares cost more than one of each"
