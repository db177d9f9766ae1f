"""From which probability on a label is said: the choice by its rules, what goes by it, and what a host sees of it."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, Dataset, RunError, Tuner
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.private.thresholds import RESOLUTION, Demand, Threshold, ThresholdError, choose, columns
from blindtune.training.run_status import RunStatus

SIDE: dict[str, Any] = {"method": "side", "epochs": 1, "networks": 1}
METHODS: dict[str, dict[str, Any]] = {
    "side": SIDE,
    "p3eft": {"method": "p3eft", "steps": 4, "batch_size": 16},
    "auto": SIDE | {"method": "auto"},
}


# The choice.


def one(scores: Any, truth: Any, **demand: float) -> Threshold:
    """The threshold of the second of two labels."""
    p = np.asarray(scores, dtype=np.float32)
    yes = np.asarray(truth)
    return choose(np.stack([1 - p, p], axis=1), np.stack([1 - yes, yes], axis=1), {1: "yes"}, Demand(**demand))[0]


def rates(scores: Any, truth: Any, value: float) -> tuple[float, float, float]:
    """Precision, recall and F1 from this threshold on, counted."""
    said = np.asarray(scores, np.float32).astype(np.float64) >= value
    hits = int((said & (np.asarray(truth) == 1)).sum())
    total = int(np.sum(truth))
    return hits / max(1, said.sum()), hits / total, 2 * hits / (said.sum() + total)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_would_be_better(seed: int) -> None:
    """Against every place between two rows, with rows that have the same probability."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 40)
    truth[0] = 1
    scores = np.round(np.clip(rng.normal(0.3 + 0.2 * truth, 0.25), 0.1, 1), 1 if seed % 2 else 3).astype(np.float32)
    known = np.unique(scores).astype(np.float64)
    every = [rates(scores, truth, v) for v in [*(known - 1e-4), *((known[1:] + known[:-1]) / 2)]]
    f1 = one(scores, truth)
    assert f1.f1 == pytest.approx(max(f for *_, f in every))
    for least in (0.5, 0.9, 1.0):
        found = one(scores, truth, recall=least)
        assert found.recall >= least and found.chosen_for == f"recall >= {least:g}"
        best = max((p, r) for p, r, _ in every if r >= least)
        assert (found.precision, found.recall) == pytest.approx(best)
    least = sorted(p for p, *_ in every)[len(every) // 2]
    found = one(scores, truth, precision=least)
    assert (found.recall, found.precision) == pytest.approx(max((r, p) for p, r, _ in every if p >= least - 1e-9))
    for chosen in (f1, found):
        counted = rates(scores, truth, chosen.value)
        assert (chosen.precision, chosen.recall, chosen.f1) == pytest.approx(counted)
        assert (chosen.rows, chosen.positive_rows) == (40, truth.sum())
        assert np.abs(scores - chosen.value).min() > 1e-4, "no row stands at the threshold itself"


def test_where_it_stands_and_what_decides_between_equals() -> None:
    found = one([0.9, 0.6, 0.2], [1, 1, 0])
    assert found.value == pytest.approx(0.4) and found.f1 == 1.0
    assert one([0.9, 0.6, 0.2], [1, 0, 1], recall=1.0).value == pytest.approx(0.1), "below all rows"
    # Both of these F1 are 2/3: of one row that is right, and of all four with two right.
    assert one([0.9, 0.8, 0.7, 0.6], [1, 0, 0, 1]).recall == 1.0
    assert one([0.9, 0.8, 0.7], [1, 1, 0], precision=0.5).precision == 1.0
    together = one([0.5, 0.5 + RESOLUTION / 2, 0.1], [1, 0, 0])
    assert together.precision == 0.5, "rows that a host's rounding could exchange are said together"


def test_what_cannot_be_chosen_is_said() -> None:
    with pytest.raises(ThresholdError, match=r"no threshold for yes has precision >= 0\.9 on these 3 rows"):
        one([0.9, 0.6, 0.2], [0, 1, 0], precision=0.9)
    with pytest.raises(ThresholdError, match=r"the highest is 0\.500, with recall 1\.000"):
        one([0.9, 0.6, 0.2], [0, 1, 0], precision=0.9)
    with pytest.raises(ThresholdError, match="none of the 2 rows has the label yes"):
        one([0.9, 0.1], [0, 0])
    with pytest.raises(ThresholdError, match="demand one of them"):
        Demand(recall=0.9, precision=0.9)
    with pytest.raises(ThresholdError, match="recall 95: a share above 0, and 1 at most"):
        Demand(recall=95)


@pytest.mark.parametrize(
    ("task", "names", "positive", "says"),
    [
        ("classification", ("a", "b", "c"), "a", "the run knows 3 labels: a threshold is for one of two"),
        ("regression", ("below", "above"), None, "of task regression: only labels with probabilities"),
        ("tokens", ("A", "B"), None, "of task tokens"),
        ("classification", ("home", "readmit"), None, "say which label is the positive one: home or readmit"),
        ("classification", ("home", "readmit"), "Readmitt", "no label 'Readmitt'; did you mean readmit?"),
        ("multilabel", ("a", "b"), "zzz", "there is no label 'zzz'; there are a, b"),
    ],
)
def test_a_choice_that_makes_no_sense_is_named(task: str, names: tuple[str, ...], positive: Any, says: str) -> None:
    with pytest.raises(ThresholdError, match=says.replace("?", r"\?")):
        columns(task, names, positive)


# In use.


def trained(host: FakeHost, run: Path | None = None, **settings: Any) -> Tuner:
    tuner = Tuner("toy", [Client(host.url, "key")], run=run, progress=False, **(settings or SIDE))
    tuner.fit(sentiment(80))
    return tuner


def by_hand(tuner: Tuner, texts: Any, value: float) -> list[str]:
    return ["positive" if p >= value else "negative" for p in tuner.predict_proba(texts)[:, 1]]


@pytest.mark.parametrize("method", METHODS)
def test_predictions_and_reports_go_by_it_wherever_the_run_goes(
    fake_host: FakeHost, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    tuner, dev, test = trained(fake_host, tmp_path / "run", **METHODS[method]), sentiment(60, 1), sentiment(50, 2)
    before = tuner.predict(test.texts)
    found = tuner.choose_thresholds(dev, positive="negative", recall=1.0)
    chosen = found.of_labels[0]
    assert chosen.recall == 1.0 and "too good" in str(found)
    said = ["negative" if p >= chosen.value else "positive" for p in tuner.predict_proba(test.texts)[:, 0]]
    assert tuner.predict(test.texts) == said == tuner.predict_with_proba(test.texts)[0]
    report, right = tuner.report(test), [test.label_names[k] for k in test.labels]
    assert report.confusion is not None and report.confusion[0, 0] == sum(
        a == b == "negative" for a, b in zip(said, right, strict=True)
    )
    assert report.scores["accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(said, right, strict=True)]))
    assert "too good" in str(tuner.report(dev)) and "too good" not in str(report) and "is said from" in str(report)
    tuner.save(tmp_path / "copy")
    tuner.export(tmp_path / "out")
    client = Client(fake_host.url, "key")
    others = [Tuner.load(tmp_path / "run", [client]), Tuner.load(tmp_path / "copy", [client])]
    for other in [*others, pickle.loads(pickle.dumps(tuner)), load_export(tmp_path / "out", client)]:
        assert other.thresholds == found and other.predict(test.texts) == said
    assert "negative is said from" in str(RunStatus.of(tmp_path / "run"))
    tuner.clear_thresholds()
    assert tuner.thresholds is None and tuner.predict(test.texts) == before
    assert RunStatus.of(tmp_path / "run").thresholds == ()


def test_in_the_open_part_of_an_export_nothing_is_said_of_it(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner = trained(fake_host)
    tuner.choose_thresholds(sentiment(60, 1), positive="negative")
    tuner.export(tmp_path / "out", "correct horse")
    assert not any(b"negative" in file.read_bytes() for file in (tmp_path / "out").iterdir())


def test_training_on_drops_it_and_says_so(
    fake_host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A threshold says nothing of a model that it was not chosen for."""
    settings = METHODS["p3eft"]
    tuner = trained(fake_host, tmp_path / "run", **settings)
    tuner.choose_thresholds(sentiment(60, 1), positive="positive")
    old = (tmp_path / "run" / "thresholds.json").read_bytes()
    same = trained(fake_host, tmp_path / "run", **settings)
    assert same.thresholds is not None and not caplog.records, "nothing was trained"
    with caplog.at_level(logging.WARNING):
        longer = trained(fake_host, tmp_path / "run", **(settings | {"steps": 8}))
    assert "the threshold of positive was chosen for another state of the run, and is dropped" in caplog.text
    assert longer.thresholds is None
    (tmp_path / "run" / "thresholds.json").write_bytes(old)
    for ask in (lambda: longer.predict(["a"]), lambda: longer.export(tmp_path / "out"), lambda: longer.thresholds):
        with pytest.raises(RunError, match="was chosen before the run was trained further: choose it again, or clear"):
            ask()
    longer.clear_thresholds()
    assert longer.predict(["good"])


def test_several_labels_have_one_each(fake_host: FakeHost) -> None:
    def rows(count: int, seed: int) -> Dataset:
        texts = sentiment(count, seed).texts
        sets = [[word for word in ("good", "bad", "film") if word in str(text).split()] for text in texts]
        return Dataset.from_lists(texts, sets, ("good", "bad", "film"), task="multilabel")

    tuner = Tuner("toy", [Client(fake_host.url, "key")], progress=False, **SIDE)
    tuner.fit(rows(80, 0))
    dev, test = rows(60, 1), rows(40, 2)
    first = tuner.choose_thresholds(dev, recall=1.0)
    assert [one.label for one in first.of_labels] == ["good", "bad", "film"]
    second = tuner.choose_thresholds(dev, positive="bad")
    assert [one.chosen_for for one in second.of_labels] == ["recall >= 1", "best F1", "recall >= 1"]
    least, likely = [one.value for one in second.of_labels], tuner.predict_proba(test.texts)
    said = [[name for name, p, t in zip(test.label_names, row, least, strict=True) if p >= t] for row in likely]
    assert tuner.predict(test.texts) == said
    truth = np.asarray(test.sets)
    hits = sum(truth[k, 0] == 1 and "good" in one for k, one in enumerate(said))
    assert tuner.report(test).labels[0].recall == pytest.approx(hits / truth[:, 0].sum())


# What a host sees.


@pytest.mark.parametrize("method", METHODS)
def test_a_host_is_asked_what_an_evaluation_asks_whatever_the_labels_are(
    fake_host: FakeHost, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the choice fails by the labels: none has the label, or no threshold is good enough."""
    run, dev = tmp_path / "run", sentiment(60, 1)
    likely = trained(fake_host, run, **METHODS[method]).predict_proba(dev.texts)[:, 1]
    unlikely = np.zeros(60)
    unlikely[np.argsort(likely)[:10]] = 1

    def asked(labels: Any, how: str, **more: Any) -> list[Any]:
        monkeypatch.setenv("BLINDTUNE_FEATURES", str(tmp_path / f"features{len(list(tmp_path.iterdir()))}"))
        first = len(fake_host.seen)
        with Tuner.load(run, [Client(fake_host.url, "key")]) as tuner:
            rows = Dataset(dev.texts, np.asarray(labels, dtype=np.int64), dev.label_names)
            if how == "evaluate":
                tuner.evaluate(rows)
            elif more.pop("fails", False):
                with pytest.raises(ThresholdError):
                    tuner.choose_thresholds(rows, positive="positive", **more)
            else:
                tuner.choose_thresholds(rows, positive="positive", **more)
            tuner.clear_thresholds()
        return [(verb, path.replace("job-", ""), body) for verb, path, body in fake_host.seen[first:]]

    expected = [body for *_, body in asked(dev.labels, "evaluate")]
    assert any(expected)
    none, odd = np.zeros(60), np.arange(60) % 2
    for labels, more in ((dev.labels, {}), (odd, {"recall": 0.9}), (none, {"fails": True})):
        assert [body for *_, body in asked(labels, "choose", **more)] == expected
    assert [body for *_, body in asked(unlikely, "choose", precision=1.0, fails=True)] == expected


def test_rows_of_the_training_are_refused(fake_host: FakeHost) -> None:
    tuner = trained(fake_host)
    with pytest.raises(ThresholdError, match="the run was trained on these rows"):
        tuner.choose_thresholds(sentiment(80), positive="positive")
    assert tuner.thresholds is None


def test_wrong_use_is_said_before_a_host_is_asked(fake_host: FakeHost) -> None:
    tuner, dev = trained(fake_host), sentiment(30, 1)
    three = Dataset(dev.texts, dev.labels, ("a", "b", "c"))
    asked = len(fake_host.seen)
    for data, positive, says in (
        (dev, "positiv", "did you mean positive"),
        (dev, None, "say which label is the positive one"),
        (three, "positive", "the run knows 2 labels and the data 3"),
        (Dataset(dev.texts, dev.labels, ("no", "yes")), "positive", "the rows have the labels no, yes, the run neg"),
        (Dataset.from_lists(dev.texts, dev.labels.tolist(), task="regression"), "positive", "with task="),
    ):
        with pytest.raises(RunError, match=says):
            tuner.choose_thresholds(data, positive=positive)
    with pytest.raises(ThresholdError, match=r"recall 1\.5"):
        tuner.choose_thresholds(dev, positive="positive", recall=1.5)
    assert len(fake_host.seen) == asked


# From a shell.


def test_from_a_shell(fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(fake_host, tmp_path / "run")
    data, run = sentiment(60, 1), str(tmp_path / "run")
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (tmp_path / "dev.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    host, dev = ["--host", fake_host.url, "--api-key", "k"], ["--data", str(tmp_path / "dev.tsv")]
    choose = ["threshold", run, *dev, "--positive", "positive", *host]
    assert main([*choose, "--recall", "0.95"]) == 0
    said = capsys.readouterr().out
    assert "positive is said from probability" in said and "(recall >= 0.95): precision" in said
    assert "on 60 rows, " in said and "too good" in said
    assert main(["predict", "--run", run, "--text", "good film", *host]) == 0
    captured = capsys.readouterr()
    assert "positive is said from" in captured.err and f"blindtune threshold {run} --clear" in captured.err
    assert captured.out.count("\n") == 1
    assert main(["status", run]) == 0 and "positive is said from" in capsys.readouterr().out
    assert main(["threshold", run, "--json", *host]) == 0
    (kept,) = json.loads(capsys.readouterr().out)["thresholds"]
    assert kept["label"] == "positive" and kept["recall"] >= 0.95
    assert main([*choose, "--f1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["thresholds"][0]["chosen_for"] == "best F1"
    assert main(["threshold", run, "--clear", *host]) == 0 and "no threshold" in capsys.readouterr().out
    assert main(["predict", "--run", run, "--text", "good film", *host]) == 0 and not capsys.readouterr().err
    for words, says in (
        (["--clear", "--recall", "0.5"], "--clear and --recall: one of them"),
        (["--recall", "0.5"], "--recall: pass --data too"),
        ([*dev, "--f1", "--precision", "0.5"], "--f1 and a demand"),
        ([*dev, "--positive", "posetive"], "did you mean positive?"),
        ([*dev, "--positive", "positive", "--recall", "95"], "a share above 0"),
    ):
        assert main(["threshold", run, *words, *host]) == 2
        assert says in capsys.readouterr().err
