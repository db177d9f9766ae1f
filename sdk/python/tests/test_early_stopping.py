"""Dev rows while a run trains: what is kept, when it stops, and that blind methods show neither to a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import BlindtuneError, Client, Dataset, RunError, SettingsError, Tuner
from blindtune.cli import main
from blindtune.private.secret import SecretStream
from blindtune.private.selection import Selection
from blindtune.training.callbacks import Callback
from blindtune.training.run_folder import RunFolder
from blindtune.training.run_status import RunStatus
from blindtune.training.stepping import Stepping

SMALL: dict[str, Any] = {"batch_size": 16, "lr": 0.02, "progress": False, "save_every": 7}
WATCHED: dict[str, Any] = SMALL | {"method": "lora", "steps": 60, "eval_every": 5, "patience": 2}


def tuner(host: FakeHost, folder: Path, **settings: Any) -> Tuner:
    """On a run folder with a fixed secret, so that runs can be compared."""
    if not (folder / "secret").exists():
        RunFolder(folder).write("secret", SecretStream(b"same secret").secret.hex().encode())
    return Tuner("toy", [Client(host.url, "key")], run=folder, **settings)


def noisy(count: int, seed: int) -> Dataset:
    """Rows whose labels are drawn, so that what is learned of other rows soon makes these worse."""
    data = sentiment(count, seed)
    return Dataset(data.texts, np.random.default_rng(seed).integers(0, 2, count), data.label_names)


def forwards(host: FakeHost) -> int:
    return sum("/forward?" in path for _, path, _ in host.seen)


@pytest.mark.parametrize(
    ("metric", "scores", "best", "over_after"),
    [
        ("loss", [0.9, 0.5, 0.6, 0.5, 0.4], 2, 4),
        ("accuracy", [0.5, 0.7, 0.7, 0.6, 0.9], 2, 4),
        ("accuracy", [float("nan"), 0.1, 0.2, 0.3, 0.4], 5, None),
    ],
)
def test_the_best_is_chosen_until_patience_is_exhausted(
    metric: str, scores: list[float], best: int, over_after: int | None
) -> None:
    selection, over = Selection(1, metric, 2), None
    for step, score in enumerate(scores, 1):
        if selection.due(step):
            selection.add(step, {metric: score})
        over = over or (step if selection.over else None)
    assert (selection.best_step, over) == (best, over_after)


def test_evaluations_are_due_every_so_often_and_at_the_end() -> None:
    selection = Selection(4, "loss")
    assert [step for step in range(10) if selection.due(step, step == 9)] == [4, 8, 9]


@pytest.mark.parametrize("method", ["lora", "p3eft"])
def test_training_stops_and_the_best_state_predicts_and_is_left_on_the_host(
    fake_host: FakeHost, tmp_path: Path, method: str
) -> None:
    train, dev = noisy(64, 1), noisy(200, 2)
    mine = tuner(fake_host, tmp_path, **WATCHED | {"method": method})
    result = mine.fit(train, dev)
    found = mine.folder.evaluations()
    losses = {record["step"]: record["scores"]["loss"] for record in found}
    assert result.stopped and result.steps == len(found) * 5 < 60
    assert result.best_step == min(losses, key=lambda step: losses[step]) == result.steps - 10
    assert result.dev_scores is not None and result.dev_scores["loss"] == losses[result.best_step]
    assert mine.evaluate(dev)["loss"] == pytest.approx(losses[result.best_step], rel=1e-5)
    mine.complete()
    (job,) = fake_host.jobs.values()
    np.testing.assert_array_equal(job["theta"][0], mine._ready().thetas[0])
    said = str(RunStatus.of(tmp_path))
    assert f"best on the dev rows after step {result.best_step} (loss " in said and "until patience ended it" in said
    again = Tuner.load(tmp_path, [Client(fake_host.url, "key")], progress=False)
    assert again.evaluate(dev)["loss"] == pytest.approx(losses[result.best_step], rel=1e-5)
    learned = "\n".join(mine.audit(dev, quick=True).exposure)
    assert "their labels decide it (the best of 12 evaluations, so at most 3.6 bits)" in learned


def test_a_stopped_run_stays_so_and_goes_on_with_more_patience(fake_host: FakeHost, tmp_path: Path) -> None:
    train, dev = noisy(64, 1), noisy(200, 2)
    first = tuner(fake_host, tmp_path, **WATCHED).fit(train, dev)
    before = forwards(fake_host)
    again = tuner(fake_host, tmp_path, **WATCHED).fit(train, dev)
    assert (again.steps, again.best_step, again.stopped) == (first.steps, first.best_step, True)
    assert again.adapter_sha256 == first.adapter_sha256 and forwards(fake_host) == before
    more = tuner(fake_host, tmp_path, **WATCHED | {"patience": 4}).fit(train, dev)
    assert more.steps == first.steps + 10 and more.best_step == first.best_step
    straight = tuner(fake_host, tmp_path / "straight", **WATCHED | {"patience": 4}).fit(train, dev)
    assert straight.adapter_sha256 == more.adapter_sha256


@pytest.mark.parametrize("broken_at", [7, 10, 14])
def test_a_killed_run_comes_to_the_same_best(
    fake_host: FakeHost, tmp_path: Path, broken_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a step, and between an evaluation's line in dev.jsonl and the saved state."""
    train, dev = sentiment(64), sentiment(100, 2)
    settings = WATCHED | {"steps": 20, "save_every": 5}
    expected = tuner(fake_host, tmp_path / "straight", **settings).fit(train, dev)

    class Killed(BaseException):
        pass

    step, record = Stepping._step, RunFolder.record_evaluation

    def stepped(self: Stepping, *given: Any) -> Any:
        if self.run.step == broken_at:
            raise Killed
        return step(self, *given)

    def recorded(self: RunFolder, found: Any) -> None:
        record(self, found)
        if found["step"] == broken_at:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Stepping, "_step", stepped)
        patched.setattr(RunFolder, "record_evaluation", recorded)
        with pytest.raises(Killed):
            tuner(fake_host, tmp_path / "run", **settings).fit(train, dev)
    found = tuner(fake_host, tmp_path / "run", **settings).fit(train, dev)
    assert (found.best_step, found.adapter_sha256) == (expected.best_step, expected.adapter_sha256)
    both = [RunFolder(tmp_path / name).evaluations() for name in ("straight", "run")]
    assert both[0] == both[1] and [record["step"] for record in both[0]] == [5, 10, 15, 20]


def test_other_dev_rows_are_refused_in_the_same_folder(fake_host: FakeHost, tmp_path: Path) -> None:
    settings = WATCHED | {"steps": 10}
    tuner(fake_host, tmp_path, **settings).fit(sentiment(64), sentiment(50, 2))
    with pytest.raises(RunError, match="was evaluated on other dev rows; use another folder"):
        tuner(fake_host, tmp_path, **settings).fit(sentiment(64), sentiment(50, 3))


def test_without_eval_every_dev_rows_choose_nothing(fake_host: FakeHost, tmp_path: Path) -> None:
    train, dev = sentiment(64), sentiment(50, 2)
    mine = tuner(fake_host, tmp_path / "a", **SMALL, method="lora", steps=6)
    result = mine.fit(train, dev)
    assert result.best_step is None and result.dev_scores is not None and result.dev_scores["rows"] == 50
    alone = tuner(fake_host, tmp_path / "b", **SMALL, method="lora", steps=6).fit(train)
    assert alone.adapter_sha256 == result.adapter_sha256 and alone.dev_scores is None
    assert [record["step"] for record in mine.folder.evaluations()] == [6]
    assert "best" not in str(RunStatus.of(tmp_path / "a"))


@pytest.mark.parametrize(
    ("settings", "dev", "message"),
    [
        ({"eval_every": 5}, None, "eval_every needs dev rows"),
        ({"eval_every": 5, "metric": "spearman"}, sentiment(50, 2), "metric spearman is not among the scores"),
        ({"eval_every": 5}, Dataset(("a", "b"), np.array([0, 1]), ("x", "y")), "dev has other labels than the data"),
        ({}, Dataset.from_lists(["a", "b"], [0.5, 1.5], task="regression"), "read the data with task"),
        ({"patience": 2}, sentiment(50, 2), "patience needs eval_every"),
        ({"metric": "auc"}, sentiment(50, 2), "metric needs eval_every"),
        ({"eval_every": 5, "label_epsilon": 2.0}, sentiment(50, 2), "the bound would not hold for the labels"),
        ({"eval_every": 5, "method": "auto"}, sentiment(50, 2), "eval_every is not for method auto"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused_before_anything_is_sent(
    fake_host: FakeHost, tmp_path: Path, settings: dict[str, Any], dev: Dataset | None, message: str
) -> None:
    with pytest.raises((RunError, SettingsError), match=message):
        tuner(fake_host, tmp_path, **SMALL | {"method": "lora", "steps": 5} | settings).fit(sentiment(64), dev)
    assert fake_host.seen == []


@pytest.mark.parametrize("method", ["frozen", "side"])
def test_blind_methods_work_to_the_end_and_keep_what_was_best_when_patience_ended(
    fake_host: FakeHost, tmp_path: Path, method: str
) -> None:
    long = {"steps": 80} if method == "frozen" else {"epochs": 20, "networks": 2}
    settings = SMALL | long | {"method": method, "eval_every": 5, "patience": 1, "lr": 0.05, "save_every": 10}
    train, dev = noisy(64, 1), noisy(200, 2)
    mine = tuner(fake_host, tmp_path, **settings)
    result = mine.fit(train, dev)
    assert not result.stopped and result.steps == (80 if method == "frozen" else 160)
    by_network: dict[Any, list[dict[str, Any]]] = {}
    for record in mine.folder.evaluations():
        by_network.setdefault(record.get("network"), []).append(record)
    assert len(by_network) == (1 if method == "frozen" else 2)
    for records in by_network.values():
        assert [record["best"] for record in records] == [True] * (len(records) - 1) + [False]
        assert len(records) < 16, "patience ended the evaluations"
    assert result.dev_scores is not None and mine.evaluate(dev)["loss"] == pytest.approx(
        result.dev_scores["loss"], rel=1e-5
    )
    if method == "frozen":
        assert result.best_step == mine.folder.evaluations()[-2]["step"]
    assert "on the dev rows after step" in str(RunStatus.of(tmp_path))


class Told(Callback):
    """Keeps what it was told, and fails where it is asked to."""

    def __init__(self, fails_at: int = -1) -> None:
        self.steps: list[int] = []
        self.evaluations: list[dict[str, Any]] = []
        self.ends: list[Any] = []
        self.fails_at = fails_at

    def on_step(self, record: Any) -> None:
        self.steps.append(record["step"])
        if record["step"] == self.fails_at:
            raise ValueError("no space on the board")

    def on_evaluation(self, record: Any) -> None:
        self.evaluations.append(dict(record))

    def on_end(self, result: Any) -> None:
        self.ends.append(result)


def test_callbacks_are_told_of_steps_evaluations_and_the_end(fake_host: FakeHost, tmp_path: Path) -> None:
    told = Told()
    mine = tuner(fake_host, tmp_path, **SMALL, method="lora", steps=6, eval_every=2)
    result = mine.fit(sentiment(64), sentiment(50, 2), callbacks=[told])
    assert told.steps == [1, 2, 3, 4, 5, 6] and told.ends == [result]
    assert told.evaluations == mine.folder.evaluations() and len(told.evaluations) == 3


def test_a_callback_that_fails_ends_the_run_after_a_whole_step_by_name(fake_host: FakeHost, tmp_path: Path) -> None:
    settings = SMALL | {"method": "lora", "steps": 12, "save_every": 100}
    expected = tuner(fake_host, tmp_path / "straight", **settings).fit(sentiment(64))
    told = Told(fails_at=8)
    with pytest.raises(BlindtuneError, match=r"callback Told failed in on_step \(ValueError: no space on the board\)"):
        tuner(fake_host, tmp_path / "run", **settings).fit(sentiment(64), callbacks=[told])
    assert told.ends == [None] and RunStatus.of(tmp_path / "run").step == 8
    later = Told()
    again = tuner(fake_host, tmp_path / "run", **settings).fit(sentiment(64), callbacks=[later])
    assert again.adapter_sha256 == expected.adapter_sha256 and later.steps == [9, 10, 11, 12]


def test_method_auto_takes_no_callbacks(fake_host: FakeHost, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="method auto trains several runs"):
        tuner(fake_host, tmp_path, method="auto", progress=False).fit(sentiment(64), callbacks=[Told()])
    assert fake_host.seen == []


def test_the_shell_tells_the_best_step(fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in (("train", noisy(64, 1)), ("dev", noisy(200, 2))):
        lines = [f"{t}\t{data.label_names[y]}" for t, y in zip(data.texts, data.labels, strict=True)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    run, files = tmp_path / "run", ["--data", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv")]
    RunFolder(run).write("secret", SecretStream(b"same secret").secret.hex().encode())
    how = ["--method", "lora", "--steps", "60", "--batch-size", "16", "--lr", "0.02", "--effort", "quick"]
    how += ["--eval-every", "5", "--patience", "2", "--host", fake_host.url, "--api-key", "k"]
    assert main(["train", *files, "--model", "toy", "--run", str(run), *how]) == 0
    fit = json.loads((run / "report.json").read_text())["fit"]
    said = f"the state after step {fit['best_step']} was the best on the dev rows"
    assert f"{said}, and is kept; patience ended the training" in capsys.readouterr().out
    assert main(["status", str(run)]) == 0
    assert f"best on the dev rows after step {fit['best_step']}" in capsys.readouterr().out
