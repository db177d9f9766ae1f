"""How sure a run is: the fit of one temperature, what goes by it, and what a host sees of it."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import same_secret, sentiment
from fake_host import FakeHost
from scipy.special import expit, softmax

from blindtune import Client, Dataset, RunError, Tuner
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.private.temperature import HIGHEST, LOWEST, Temperature, TemperatureError, fit
from blindtune.training.run_status import RunStatus

SIDE: dict[str, Any] = {"method": "side", "epochs": 1, "networks": 1}
METHODS: dict[str, dict[str, Any]] = {
    "side": SIDE,
    "p3eft": {"method": "p3eft", "steps": 4, "batch_size": 16},
    "auto": SIDE | {"method": "auto"},
}


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    """One for all: it takes a while to close."""
    host = FakeHost()
    yield host
    host.close()


# The fit.


def drawn(task: str, seed: int, rows: int = 400) -> tuple[Any, Any]:
    """Outputs whose probabilities are those that labels were drawn by, and the labels [N, C] of 0 and 1."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0, 2, (rows, 3)).astype(np.float32)
    if task == "multilabel":
        return outputs, (rng.random(outputs.shape) < expit(outputs)).astype(np.float32)
    classes = [rng.choice(3, p=row) for row in softmax(outputs.astype(np.float64), axis=1)]
    return outputs, np.eye(3)[classes]


def by_hand(task: str, outputs: Any, truth: Any) -> float:
    exact = outputs.astype(np.float64)
    if task == "classification":
        return float(-np.log(np.maximum((softmax(exact, axis=1) * truth).sum(axis=1), 1e-300)).mean())
    return float(-np.log(np.maximum(expit(np.where(truth > 0.5, exact, -exact)), 1e-300)).mean())


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_the_factor_that_outputs_were_scaled_by_is_found(task: str, scale: float) -> None:
    """In the mean over draws, within four standard errors of it; and no other temperature has a lower loss."""
    found = []
    for seed in range(12):
        outputs, truth = drawn(task, seed)
        scaled = np.asarray(outputs * scale, np.float32)
        one = fit(task, scaled, truth)
        found.append(np.log(one.value))
        assert one.loss_before == pytest.approx(by_hand(task, scaled, truth), rel=1e-6)
        assert one.loss_after == pytest.approx(by_hand(task, scaled / one.value, truth), rel=1e-6)
        others = [by_hand(task, scaled / other, truth) for other in np.geomspace(LOWEST, HIGHEST, 40)]
        assert one.loss_after <= min([*others, one.loss_before]) + 1e-9
        assert one.rows == 400 and not one.limit
        if scale == 4.0:
            assert one.value > 2 and one.ece_after < one.ece_before and "probabilities are less sure" in str(one)
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - np.log(scale)) < 4 * error


def test_a_temperature_at_a_bound_is_said_and_one_that_changes_nothing_is_one() -> None:
    truth = np.eye(3)[np.arange(30) % 3]
    right = fit("classification", np.asarray(truth, np.float32), truth)
    assert right.value == pytest.approx(LOWEST, rel=1e-3) and "0.05 is the lowest that is tried" in str(right)
    wrong = fit("classification", np.asarray(-truth, np.float32), truth)
    assert wrong.value == pytest.approx(HIGHEST, rel=1e-3) and "20 is the highest that is tried" in str(wrong)
    same = fit("classification", np.zeros((30, 3), np.float32), truth)
    assert same.value == 1.0 and same.loss_after == same.loss_before and "as they are" in str(same)
    outputs, one_label = drawn("classification", 0)[0], np.eye(3)[np.zeros(400, int)]
    assert fit("classification", outputs, one_label).loss_after <= by_hand("classification", outputs, one_label) + 1e-9


def test_what_cannot_be_fitted_is_said() -> None:
    outputs, truth = drawn("classification", 0, 29)
    with pytest.raises(TemperatureError, match="29 rows: a temperature is fitted on 30 or more"):
        fit("classification", outputs, truth)
    for task in ("regression", "tokens"):
        with pytest.raises(TemperatureError, match=f"of task {task}: only labels with probabilities"):
            fit(task, *drawn("classification", 0))
    outputs, truth = drawn("classification", 0)
    outputs[0, 0] = np.nan
    with pytest.raises(TemperatureError, match="no finite numbers"):
        fit("classification", outputs, truth)


def test_outputs_that_differ_in_their_last_bit_stay_in_order() -> None:
    near = np.nextafter(np.float32(1), np.float32(2))
    scaled = Temperature(19.7, "classification", 30, 1, 1, 0, 0).scaled(np.array([[1, near]], np.float32))
    assert scaled[0, 1] > scaled[0, 0]


# In use.


def trained(host: FakeHost, run: Path | None = None, data: Dataset | None = None, **settings: Any) -> Tuner:
    """In a folder always under the same secret: how far from 1 a temperature is follows from it."""
    if run is not None:
        same_secret(run)
    tuner = Tuner("toy", [Client(host.url, "key")], run=run, progress=False, **(settings or SIDE))
    tuner.fit(sentiment(80) if data is None else data)
    return tuner


def noisy(count: int, seed: int) -> Dataset:
    """Rows of which every fourth has the other label, so that no run is as sure as it may be."""
    data = sentiment(count, seed)
    return Dataset(data.texts, np.where(np.arange(count) % 4, data.labels, 1 - data.labels), data.label_names)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_and_reports_go_by_it_wherever_the_run_goes(
    host: FakeHost, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    tuner, dev, test = trained(host, tmp_path / "run", **METHODS[method]), noisy(60, 1), sentiment(50, 2)
    before, said, old = tuner.predict_proba(test.texts).astype(np.float64), tuner.predict(test.texts), tuner.report(dev)
    found = tuner.calibrate(dev)
    odds, value = np.log(before[:, 1] / before[:, 0]), found.value
    assert abs(np.log(value)) > 0.01, "it changes something"
    probabilities = tuner.predict_proba(test.texts)
    assert probabilities.dtype == np.float32 and probabilities[:, 1] == pytest.approx(expit(odds / value), abs=1e-5)
    assert tuner.predict(test.texts) == said, "the same answers"
    new = tuner.report(dev)
    assert new.scores["accuracy"] == old.scores["accuracy"]
    for name, a, b in (("loss", found.loss_before, found.loss_after), ("ece", found.ece_before, found.ece_after)):
        assert (old.scores[name], new.scores[name]) == pytest.approx((a, b), abs=1e-5)
    assert found.loss_after <= found.loss_before
    assert Temperature.NOTE in str(new) and Temperature.NOTE not in str(tuner.report(test))
    assert found.line() in str(tuner.report(test)) and "calibrated_by" in new.to_dict() and not old.calibrated_by
    assert tuner.calibrate(dev) == found, "of the model's outputs, not of those that were calibrated before"
    tuner.save(tmp_path / "copy")
    tuner.export(tmp_path / "out")
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert [f.name for f in files if b"temperature" in f.read_bytes()] == ["private.safetensors"], "it is of labels"
    client = Client(host.url, "key")
    others = [Tuner.load(tmp_path / "run", [client]), Tuner.load(tmp_path / "copy", [client])]
    for other in [*others, pickle.loads(pickle.dumps(tuner)), load_export(tmp_path / "out", client)]:
        assert other.temperature == found
        assert other.predict_proba(test.texts) == pytest.approx(probabilities, abs=1e-5)
    assert found.line() in str(RunStatus.of(tmp_path / "run"))
    tuner.clear_temperature()
    assert tuner.temperature is None and tuner.predict_proba(test.texts) == pytest.approx(before, abs=1e-5)
    assert RunStatus.of(tmp_path / "run").temperature is None


def test_several_labels_share_one(host: FakeHost) -> None:
    def rows(count: int, seed: int) -> Dataset:
        texts, rng = sentiment(count, seed).texts, np.random.default_rng(seed)
        sets = [[w for w in ("good", "bad") if (w in str(text).split()) != (rng.random() < 0.2)] for text in texts]
        return Dataset.from_lists(texts, sets, ("good", "bad"), task="multilabel")

    tuner, dev, test = trained(host, data=rows(80, 0)), rows(60, 1), sentiment(40, 2).texts
    before, said, loss = tuner.predict_proba(test).astype(np.float64), tuner.predict(test), tuner.report(dev)
    found = tuner.calibrate(dev)
    assert found.task == "multilabel" and found.value != 1
    scaled = expit(np.log(before / (1 - before)) / found.value)
    assert tuner.predict_proba(test) == pytest.approx(scaled, abs=1e-5) and tuner.predict(test) == said
    report = tuner.report(dev)
    assert (loss.scores["loss"], report.scores["loss"]) == pytest.approx(
        (found.loss_before, found.loss_after), abs=1e-5
    )


def test_thresholds_are_for_the_probabilities_they_were_chosen_for(
    host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    tuner, dev, test = trained(host), noisy(60, 1), sentiment(50, 2)

    def dropped(change: Any) -> None:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            change()
        assert "the threshold of positive was chosen for other probabilities, and is dropped" in caplog.text
        assert tuner.thresholds is None

    tuner.choose_thresholds(dev, positive="positive", recall=0.9)
    dropped(lambda: tuner.calibrate(dev))
    chosen = tuner.choose_thresholds(dev, positive="positive", recall=0.9).of_labels[0]
    likely = tuner.predict_proba(dev.texts)[dev.labels == 1, 1]
    assert np.mean(likely >= chosen.value) == pytest.approx(chosen.recall), "of probabilities that are calibrated"
    said = ["positive" if p >= chosen.value else "negative" for p in tuner.predict_proba(test.texts)[:, 1]]
    assert tuner.predict(test.texts) == said
    report = tuner.report(test)
    assert report.decided_by and report.calibrated_by
    dropped(tuner.clear_temperature)
    tuner.choose_thresholds(dev, positive="positive")
    tuner.clear_temperature()
    assert tuner.thresholds is not None, "there was none to clear"


def test_training_on_drops_it_and_says_so(host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings, run = METHODS["p3eft"], tmp_path / "run"
    found = trained(host, run, **settings).calibrate(noisy(60, 1))
    old = (run / "temperature.json").read_bytes()
    assert trained(host, run, **settings).temperature == found and not caplog.records, "nothing was trained"
    with caplog.at_level(logging.WARNING):
        longer = trained(host, run, **(settings | {"steps": 8}))
    assert f"the temperature {found.value:.4g} was chosen for another state of the run, and is dropped" in caplog.text
    assert longer.temperature is None
    (run / "temperature.json").write_bytes(old)
    asks = (lambda: longer.predict_proba(["a"]), lambda: longer.export(tmp_path / "out"), lambda: longer.temperature)
    for ask in asks:
        with pytest.raises(RunError, match=r"the temperature in .* was chosen before the run was trained further"):
            ask()
    longer.clear_temperature()
    assert longer.predict(["good"])


def test_a_card_names_it(host: FakeHost, tmp_path: Path) -> None:
    tuner, dev, test = trained(host, tmp_path / "run"), noisy(60, 1), sentiment(50, 2)
    before = tuner.report(test)
    assert "Calibrated" not in tuner.card(before) and "another temperature" not in tuner.card(before)
    found = tuner.calibrate(dev)
    assert f"Calibrated: {found.line()}." in tuner.card()
    assert "Measured under another temperature" in tuner.card(before)
    now = tuner.card(tuner.report(test))
    assert "another temperature" not in now and "too good" not in now
    assert f"The temperature was {found.NOTE}." in tuner.card(tuner.report(dev))


# What a host sees.


@pytest.mark.parametrize("settings", [SIDE, {"method": "frozen", "steps": 4, "batch_size": 16}])
def test_a_host_is_asked_what_an_evaluation_asks_whatever_the_labels_are(
    host: FakeHost, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = tmp_path / "run", sentiment(80)
    trained(host, run, **settings).close()

    def asked(labels: Any, fails: bool = False, how: str = "calibrate") -> list[bytes]:
        monkeypatch.setenv("BLINDTUNE_FEATURES", str(tmp_path / f"features{len(list(tmp_path.iterdir()))}"))
        first = len(host.seen)
        with Tuner.load(run, [Client(host.url, "key")]) as tuner:
            rows = Dataset(data.texts, np.asarray(labels, dtype=np.int64), data.label_names)
            if fails:
                with pytest.raises(TemperatureError, match="the run was trained on these rows"):
                    tuner.calibrate(rows)
            else:
                getattr(tuner, how)(rows)
            tuner.clear_temperature()
        return [body for _, _, body in host.seen[first:]]

    expected = asked(data.labels, how="evaluate")
    assert any(expected)
    assert asked(np.arange(80) % 2) == asked(np.zeros(80)) == asked(data.labels, fails=True) == expected


def test_wrong_use_is_said_before_a_host_is_asked(host: FakeHost) -> None:
    tuner, dev = trained(host), sentiment(40, 1)
    values = Dataset.from_lists(dev.texts, dev.labels.tolist(), task="regression")
    of_values = trained(host, data=values)
    asked = len(host.seen)
    for one, data, says in (
        (tuner, sentiment(29, 1), "29 rows: a temperature is fitted on 30 or more"),
        (tuner, Dataset(dev.texts, dev.labels, ("a", "b", "c")), "the run knows 2 labels and the data 3"),
        (tuner, Dataset(dev.texts, dev.labels, ("no", "yes")), "the rows have the labels no, yes, the run neg"),
        (tuner, values, "with task="),
        (of_values, values, "the run is of task regression: only labels with probabilities"),
    ):
        with pytest.raises(RunError, match=says):
            one.calibrate(data)
    assert len(host.seen) == asked and tuner.temperature is None


# From a shell.


def test_from_a_shell(host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(host, tmp_path / "run")
    data, run = noisy(60, 1), str(tmp_path / "run")
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (tmp_path / "dev.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    where, dev = ["--host", host.url, "--api-key", "k"], ["--data", str(tmp_path / "dev.tsv")]

    def said(*words: str) -> str:
        assert main([*words]) == 0
        return capsys.readouterr().out

    assert "no temperature" in said("calibrate", run, *where)
    first = said("calibrate", run, *dev, *where)
    assert first.startswith("temperature ") and "on 60 rows loss" in first and Temperature.NOTE in first
    assert "expected calibration error" in first and said("calibrate", run, *where) == first
    kept = json.loads(said("calibrate", run, "--json", *where))
    assert kept["rows"] == 60 and kept["loss_after"] <= kept["loss_before"]
    line = f"probabilities are of outputs divided by the temperature {kept['value']:.4g}, fitted on 60 rows"
    assert line in said("status", run) and line in said("card", run)
    assert json.loads(said("status", run, "--json"))["temperature"] == line
    predict = ["predict", "--run", run, "--text", "good film", *where]
    assert main(predict) == 0 and "temperature" not in capsys.readouterr().err
    assert main([*predict, "--verbose"]) == 0 and line in capsys.readouterr().err
    assert "no temperature" in said("calibrate", run, "--clear", *where)
    assert json.loads(said("calibrate", run, "--json", *where)) is None
    assert main(["calibrate", run, "--clear", *dev, *where]) == 2
    assert "--clear and --data: one of them" in capsys.readouterr().err
