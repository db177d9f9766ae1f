"""The bench's arithmetic, and its short form from end to end against a real host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soak
from bench import Options, Outcome, run_short, write
from cases import CASE_OF_JOBS, CASES, fill, like_sst2, make_batch, of_length
from hosts import _cpu_of_tree
from sides import Sample, difference
from table import Measured, Ratio, Spread, compare, render


def sample(wall: float, host: float, client: float = 0.0) -> Sample:
    """A step of ours."""
    return Sample(wall, {"host": host, "client": client}, {})


def test_a_goal_is_reached_only_by_wall_and_all_cpu() -> None:
    """The client's CPU time counts as ours."""
    theirs = [Sample(1.0, {"peer": 1.0}, {})] * 3
    differs = {"a": {"h": 0.0, "G": 1e-6}, "b": {"h": 0.0, "G": 0.0}}

    def verdict(ours: Sample) -> str:
        return compare(("case", "title"), ("a", "b"), Measured({"a": [ours] * 3, "b": theirs}, differs), 0.5).verdict

    assert verdict(sample(0.5, 0.4, 0.1)) == "reached"
    assert verdict(sample(0.6, 0.4)) == "MISSED (wall)"
    assert verdict(sample(0.5, 0.4, 0.2)) == "MISSED (CPU)"


def test_ratios_are_of_medians_and_of_the_rounds() -> None:
    """Both are kept, with the spread."""
    ratio = Ratio.of([1.0, 2.0, 9.0], [2.0, 2.0, 3.0])
    assert ratio.of_medians == 1.0
    assert ratio.by_round == Spread(1.0, 0.5, 3.0)


def test_differences_are_relative_and_a_missing_tensor_is_infinite() -> None:
    """So that a side that answers nothing never agrees."""
    reference = {"G.0.0": np.array([2.0, -4.0], np.float32), "h.0": np.zeros(1, np.float32)}
    assert difference({"G.0.0": np.array([2.0, -3.0], np.float32)}, reference, "G") == 0.25
    assert difference({}, reference, "G") == float("inf")
    assert difference({"G.0.0": np.zeros(3, np.float32)}, reference, "G") == float("inf")


def test_a_batch_depends_on_its_turn_alone() -> None:
    """Both sides, and the next run, get the same."""
    first, again, other = (make_batch(like_sst2(99), 8, (2, 1), (5, 3), turn) for turn in (1, 1, 2))
    assert first.ids == again.ids != other.ids
    assert all(np.array_equal(a, b) for a, b in zip(first.tensors().values(), again.tensors().values(), strict=True))
    assert first.tensors().keys() == {"input_ids", "lengths", "theta.0", "theta.1", "s.0.0", "s.1.0"}
    assert first.tokens == first.lengths.sum() == len(first.input_ids)


def test_lengths_are_those_of_sst2() -> None:
    """The list keeps the mean; fixed lengths leave no padding."""
    drawn = like_sst2(30522)(np.random.default_rng(0), 4000)
    assert 12.8 < np.mean([len(row) for row in drawn]) < 13.8
    assert fill(of_length(7, 30)(np.random.default_rng(0), 4)) == 1.0


def test_every_comparison_names_two_sides_of_its_case() -> None:
    """A misspelt side would silently drop its row."""
    for case in CASES:
        names = {side.name for side in case.sides}
        assert {name for one in case.comparisons for name in (one.ours, one.theirs)} <= names


def test_cpu_time_counts_children() -> None:
    """Postgres is a child of the host."""
    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seconds = _cpu_of_tree(os.getpid())
        child.communicate(b"\n")
    assert seconds[child.pid] >= 0.15


def test_the_hosts_ways_of_taking_a_step_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retained and recomputed bits are equal, stacked jobs get theirs to rounding; the timing is not looked at."""
    monkeypatch.setenv("SHORT", "1")
    monkeypatch.setenv("BENCH_OUT", str(tmp_path))
    monkeypatch.delenv("CASES", raising=False)
    options = Options.read()
    outcome, _ = run_short(options)
    assert outcome.not_run == {}
    rows = {(row.case, row.ours): row for row in outcome.rows}
    stateless = rows["retained-n2m2", "retained"].differs_theirs
    assert stateless == {"h": 0.0, "G": 0.0}
    assert max(rows["jobs-8", "together"].differs.values()) <= CASE_OF_JOBS.tolerance < 1e-4
    private = [fact.value for fact in outcome.facts if "second host: private" in fact.name]
    assert private == [0.0]
    record = json.loads(write(options, outcome, {}, "short").read_text())
    assert len(record["cases"]["retained-n2m2"]["rounds"]["stateless"]) == options.rounds
    assert outcome.rows[0].title in render(outcome.rows, outcome.facts, outcome.not_run)
    assert isinstance(outcome, Outcome)


def test_memory_stays_flat_over_a_short_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make soak`, with few steps, of which the second hundred brings nothing new.

    Over 17 runs it grew by -1 MiB on average, with a deviation of 6; a host that leaves one graph a step, by 1,120.
    """
    monkeypatch.setenv("BENCH_OUT", str(tmp_path))
    found = soak.run(200, tmp_path, batches=25)
    assert found["steps"] == 200 and found["grown_mib"] <= 40
    assert json.loads((tmp_path / "soak.json").read_text()) == found
