"""What `.plot()` draws is what was found: fits, audits and evaluations; and drawing changes nothing of matplotlib."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, FitResult, LeakReport, RunError, Tuner
from blindtune.audit.evidence import Channel, Evidence, Verdict
from blindtune.audit.report import Finding
from blindtune.extras import MissingExtraError
from blindtune.private.evaluation import EvaluationReport, LabelScores, report_classes, report_sets

NAMES = ("fee", "card $5", "login")


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    """The lines of a plot with a name, by it."""
    named = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in named}


def test_a_fit_at_home_is_drawn_by_epoch_with_the_one_it_keeps(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner = Tuner("toy", [Client(fake_host.url, "key")], method="side", epochs=6, run=tmp_path / "run", progress=False)
    result = tuner.fit(sentiment(200))
    axes = result.plot().axes[0]
    first = [record for record in tuner.folder.steps() if record["network"] == 0]
    held = [record["held_out_loss"] for record in first]
    drawn = lines(axes)
    assert drawn["trained rows"] == ([1, 2, 3, 4, 5, 6], [record["loss"] for record in first])
    assert drawn["rows held out (averaged weights)"][1] == held
    assert drawn["epoch that is kept"] == ([1 + int(np.argmin(held))], [min(held)])
    assert axes.get_xlabel() == "epoch (passes over the rows)" and axes.get_ylabel() == "mean loss of a row"
    assert "history" not in result.to_dict() and FitResult(**json.loads(json.dumps(result.to_dict()))) == result


def test_a_fit_with_hosts_is_drawn_by_step_with_its_dev_set(fake_host: FakeHost, tmp_path: Path) -> None:
    settings = {"steps": 25, "batch_size": 32, "adapter_sets": 2, "progress": False}
    tuner = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path / "run", **settings)
    tuner.fit(sentiment(100))
    scores_at = {10: {"accuracy": 0.6, "loss": 0.7}, 20: {"accuracy": 0.8, "loss": 0.5}}
    dev = [{"step": step, "scores": scores} for step, scores in scores_at.items()]
    (tmp_path / "run" / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in dev))
    result = tuner.fit(sentiment(100))  # over already: the records are read
    losses, scores = result.plot().axes
    steps = tuner.folder.steps()
    drawn = lines(losses)
    assert drawn["each batch"] == ([*range(1, 26)], [record["task_loss"] for record in steps])
    assert drawn["mean of 20 steps"][1][-1] == pytest.approx(np.mean([record["task_loss"] for record in steps[-20:]]))
    assert "with the penalty on leaks" in drawn and drawn["dev set"] == ([10, 20], [0.7, 0.5])
    assert lines(scores) == {"accuracy": ([10, 20], [0.6, 0.8])}
    assert scores.get_xlabel() == "step (batches)" and scores.get_ylabel() == "score on the dev set"


def test_dev_rows_of_a_fit_at_home_are_drawn_network_by_network(fake_host: FakeHost, tmp_path: Path) -> None:
    how: dict[str, Any] = {"method": "side", "epochs": 3, "networks": 2, "batch_size": 16, "eval_every": 6}
    tuner = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path / "run", progress=False, **how)
    axes = tuner.fit(sentiment(64), sentiment(40, 1)).plot().axes[0]
    drawn = [line for line in axes.get_lines() if line.get_marker() == "o"]
    losses = [record["scores"]["loss"] for record in tuner.folder.evaluations()]
    assert [list(line.get_xdata()) for line in drawn] == [[1.5, 3.0], [1.5, 3.0]]
    assert [list(line.get_ydata()) for line in drawn] == [losses[:2], losses[2:]]


def test_a_result_without_records_says_so() -> None:
    with pytest.raises(RunError, match="no records of its steps"):
        FitResult(1, 0.5, 0.5, 1.0, 0, 0, 0, "", 1.0).plot()


def audit(channels: tuple[Channel, ...] = ()) -> LeakReport:
    def finding(tier: int, score: float, picked: bool = False) -> Finding:
        spread = (score - 0.05, score + 0.05)
        return Finding(tier, "activations", f"a{score}", score, None, None, *spread, 0.52, None, picked, "none")

    found = [finding(0, 0.3), finding(0, 0.55), finding(1, 0.7), finding(1, 0.9, picked=True), finding(4, 0.8)]
    gates = (("tier0", 0.55, True), ("tier1", 0.7, False), ("control", 0.5, True))
    verdicts = tuple(Verdict(name, 0.6, value, passed) for name, value, passed in gates)
    report = LeakReport.of(found, classes=2, rows=100)
    return LeakReport(**{**vars(report), "evidence": Evidence(verdicts=verdicts, channels=channels)})


def test_an_audit_shows_each_tier_its_interval_chance_and_the_limit() -> None:
    picture = audit().plot()
    axes = picture.axes[0]
    drawn = lines(axes)
    assert drawn["guessing (0.50)"][0] == [0.5, 0.5]
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_label() == "limit"] == [0.6, 0.6]
    assert drawn["best attack, within the limit"] == ([0.55], [0]), "the worst of the tier"
    assert drawn["best attack, above the limit"] == ([0.7], [1])
    assert drawn["best attack, no limit set"] == ([0.8], [2]), "not shown as if it were within one"
    assert drawn["upper bound, chosen with labels"] == ([0.9], [1])
    spans = [list(line.get_xdata()) for line in axes.get_lines() if list(line.get_ydata()) == [1, 1]]
    assert spans == [pytest.approx([0.65, 0.75])]
    assert [label.get_text().split(":")[0] for label in axes.get_yticklabels()] == ["tier 0", "tier 1", "tier 4"]
    assert "100 rows" in picture.get_suptitle() and axes.get_title(loc="left") == ""


def test_no_limit_is_drawn_for_a_blind_run() -> None:
    axes = audit((Channel("file order", "same for any labels", "tested"),)).plot().axes[0]
    assert not any("limit" in name for name in lines(axes)), "what is read there, the texts tell anybody"
    assert axes.get_title(loc="left").startswith("Blind: ")


def test_an_evaluation_shows_every_count_of_its_confusion_matrix() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 0]]
    axes = report_classes(labels, probabilities, 0.3, NAMES).plot().axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(written) == 9 and written[(1, 0)] == "1", "one true fee was taken for a card"
    assert [written[(k, k)] for k in range(3)] == ["2", "2", "0"], "a class without rows is there"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(NAMES), "a dollar is no mathematics"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("guessed", "true")


def test_several_labels_for_a_row_are_drawn_label_by_label() -> None:
    truth = np.array([[1, 0, 1], [0, 1, 0]])
    axes = report_sets(truth, truth.astype(np.float32) * 0.8, 0.3, NAMES).plot().axes[0]
    assert lines(axes)["recall"] == ([1.0, 1.0, 1.0], [0, 1, 2])
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{name} (1 rows)" for name in NAMES]
    with pytest.raises(RunError, match="a regression has no labels"):
        EvaluationReport("regression", {"rows": 2.0}).plot()


def test_many_classes_are_drawn_without_numbers() -> None:
    names = [f"class {k}" for k in range(20)]
    report = EvaluationReport(
        "classification",
        {"rows": 20.0, "accuracy": 1.0, "f1_macro": 1.0},
        tuple(LabelScores(name, 1.0, 1.0, 1.0, 1) for name in names),
        np.eye(20, dtype=np.int64),
    )
    assert not report.plot().axes[0].texts


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'blindtune\[plot\]'"):
        audit().plot()


def test_a_picture_shows_itself_in_a_notebook_and_needs_no_pyplot() -> None:
    code = (
        "import sys, matplotlib\n"
        "settings = lambda: {k: dict.__getitem__(matplotlib.rcParams, k) for k in matplotlib.rcParams}\n"
        "before = settings()\n"
        "from blindtune.plots.scores import confusion_plot\n"
        "import numpy as np\n"
        "picture = confusion_plot(np.eye(2), ['a', 'b'])\n"
        "one, two = picture._repr_png_(), picture._repr_png_()\n"
        "assert one == two and one[:4] == b'\\x89PNG' and len(one) < 20_000\n"
        "assert isinstance(picture, matplotlib.figure.Figure)\n"
        "assert 'matplotlib.pyplot' not in sys.modules and settings() == before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
