"""The short form of `make science`: a few steps of three methods against real hosts, and what is made of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import science
from blindtune import Dataset
from blindtune.frontier import LeftOut, Report, Rows

sys.path.insert(0, str(science.ROOT / "examples/demo"))
from corpus import LABEL_NAMES, make_corpus


def notes(rows: int, seed: int) -> Dataset:
    """Made-up notes of the demo, so that it runs where SST-2 is not."""
    found = make_corpus(seed, rows, 1).train
    return Dataset(tuple(n.text for n in found), np.array([n.label for n in found], np.int64), LABEL_NAMES)


def test_the_table_has_what_matters_first_and_every_line_once() -> None:
    """A budget that ends early still shows plain LoRA beside the default."""
    lines = science.rows()
    assert [row.name for row in lines[:2]] == ["lora", "p3eft, automatic weight"]
    assert len({(row.name, row.seed) for row in lines}) == len(lines)
    for row in lines:
        plan = science.plan(row, science.Where("m", ("http://127.0.0.1:1",) * row.hosts), None, Path(), 1.0)
        plan.grid[0].resolve(row.seed)  # no line has settings that the trainer refuses


def test_published_rows_penalize_the_activations_alone_on_three_seeds() -> None:
    """As the reference does; what is added to the published setting is said after its name."""
    published = [row for row in science.rows() if "as published" in row.name]
    for name in ("p3eft as published", "dc as published", "p3eft as published, constant weight 0.3"):
        assert [row.seed for row in published if row.name == name] == [0, 1, 2]
    for row in published:
        settings = (
            science.plan(row, science.Where("m", ("h",) * row.hosts), None, Path(), 1.0).grid[0].resolve(row.seed)
        )
        dc = settings.method == "dc"
        assert (settings.shift_dc_weight if dc else settings.shift_weight) == 0.0
        assert settings.difference_weight == (0.3 if row.name.endswith("+ difference") else 0.0)


def test_a_run_is_one_line_of_the_results() -> None:
    """The file has what the report has, and a run that is measured again changes one line of it."""
    report = Report.read(science.RESULTS)
    text = science.compact(report)
    assert json.loads(text) == report.to_dict()
    lines = [json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith('{"name":')]
    assert lines == [*report.to_dict()["points"], *report.to_dict()["left_out"]]
    empty = science.compact(Report({}, ()))
    assert json.loads(empty) == Report({}, ()).to_dict()


def test_lines_that_were_not_measured_again_stay_in_the_file() -> None:
    """A line measured again takes the place of what the file had of it; one that the table lost is not missed."""
    measured = Report.read(science.RESULTS)
    done = {(point.name, point.seed) for point in measured.points}
    first, second = (LeftOut(name, 7, "over budget", "no time") for name in ("lora", "pslf"))
    table = [*science.rows(), science.lora("", 7), science.Row("pslf", {}, 7)]
    gone = LeftOut("of a table before", 0, "over budget", "no time")
    before = Report(measured.about, measured.points, (first, second, gone))
    assert not {(entry.name, entry.seed) for entry in before.left_out} & done
    again = tuple(replace(point, accuracy=0.5) for point in before.points if point.name == "lora")
    late = replace(before.points[0], name=first.name, seed=first.seed, accuracy=0.5)
    found = science.kept(Report(before.about, (*again, late)), before, table)
    assert {(p.name, p.seed) for p in found.points} == {*done, (late.name, late.seed)}
    assert all((point.accuracy == 0.5) == (point.name == "lora") for point in found.points)
    assert found.left_out == (second,)
    assert [(p.name, p.seed) for p in found.points][:2] == [("lora", 0), ("lora", 1)]


@pytest.mark.skipif(not science.BINARY.is_file(), reason="no host program: make build")
def test_the_short_form_measures_attacks_and_continues(tmp_path: Path) -> None:
    """Points come out in the table's order; the gradient in clear gives labels away; a second call repeats nothing."""
    data, lines = Rows(notes(600, 1), notes(200, 2)), science.short_rows()
    report = science.run(lines, data, tmp_path, 3600.0)
    assert [point.name for point in report.points] == [row.name for row in lines] and not report.left_out
    frozen, lora, ours = report.points
    assert 2 not in frozen.tiers and lora.kinds["gradients"] is not None
    assert lora.kinds["gradients"] > 0.9
    assert {0, 1, 2, 4} <= ours.tiers.keys() and ours.history, "it looked while it trained"
    assert all(0.5 <= leak.score <= 1.0 for point in report.points for leak in point.tiers.values())
    assert Report.from_dict(report.to_dict()) == report
    again = science.run(lines, data, tmp_path, 3600.0)
    assert again.points == report.points, "each point has the time at which it was measured"
