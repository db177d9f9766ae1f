"""Several labels for a row: read in every form, learned at home, and answered in their own words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import BAD, FILLER, GOOD
from fake_host import FakeHost
from sklearn.base import clone

from blindtune import Client, DataError, Dataset, RunError, SettingsError, Tuner, read_dataset
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.private.label_sets import LabelSets
from blindtune.sklearn import PrivateClassifier

SMALL = {"method": "side", "epochs": 12, "networks": 2, "batch_size": 32, "lr": 0.01}
SOUND = ["loud", "quiet", "shrill", "soft", "noisy", "tuneful"]
NAMES = ("blame", "praise", "sound")


def reviews(count: int, seed: int = 0) -> Dataset:
    """Each label is there by itself or not; it is its own words that tell."""
    rng = np.random.default_rng(seed)
    has = rng.random((count, 3)) < 0.4
    texts = []
    for row in has:
        words = [rng.choice(part) for part, yes in zip((BAD, GOOD, SOUND), row, strict=True) if yes]
        texts.append(" ".join(rng.permutation([*words, *rng.choice(FILLER, rng.integers(1, 4))])))
    labels = [[name for name, yes in zip(NAMES, row, strict=True) if yes] for row in has]
    return Dataset.from_lists(texts, labels, NAMES, task="multilabel")


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


@pytest.fixture
def tuner(client: Client, tmp_path: Path) -> Tuner:
    tuner = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    tuner.fit(reviews(600))
    return tuner


# Reading.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "text\tlabels\none\tb | a\ntwo\t\nthree\ta|a\n"),
        ("a.csv", "text,label\none,b|a\ntwo,\nthree,a\n"),
        (
            "a.jsonl",
            '{"text": "one", "labels": ["a", "b"]}\n{"text": "two", "labels": []}\n{"text": "three", "labels": "a"}\n',
        ),
    ],
)
def test_forms_agree(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    data = read_dataset(tmp_path / name, task="multilabel")
    assert data.task == "multilabel" and data.label_names == ("a", "b") and data.sets is not None
    assert data.sets.tolist() == [[1, 1], [0, 0], [1, 0]] and data.sets.dtype == np.float32
    assert data.take(np.array([2, 0])).sets.tolist() == [[1, 0], [1, 1]]  # type: ignore[union-attr]


def test_data_frames_and_datasets() -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    columns = {"text": ["one", "two"], "labels": [[1, 0], []]}
    frame = read_dataset(pandas.DataFrame(columns), task="multilabel")
    assert frame.label_names == ("0", "1") and frame.sets.tolist() == [[1, 1], [0, 0]]  # type: ignore[union-attr]
    names = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.Sequence(datasets.ClassLabel(names=["z", "y"]))}
    )
    named = read_dataset(datasets.Dataset.from_dict(columns, features=names), task="multilabel")
    assert named.label_names == ("z", "y") and named.sets.tolist() == [[1, 1], [0, 0]]  # type: ignore[union-attr]


def test_labels_that_attacks_go_by_are_those_of_the_most_even_label() -> None:
    data = Dataset.from_lists(list("abcd"), ["x|y", "x", "x|y", "x"], task="multilabel")
    assert data.labels.tolist() == [1, 0, 1, 0] and data.sides == 2 and data.classes == 2
    other = Dataset.from_lists(list("abcd"), ["x|y", "", "x|y", "x"], task="multilabel")
    turned = Dataset.from_lists(list("abc"), ["x", "y", "y"], ["x", "y"], task="multilabel")
    assert turned.labels.tolist() == [1, 0, 0] and turned.sided_as(data).labels.tolist() == [0, 1, 1]
    assert other.labels.tolist() == data.labels.tolist() and other.sha256() != data.sha256()


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        ([["a"], None], None, "row 2: no `label`; a row without labels has an empty list"),
        ([["a"], float("nan")], None, "row 2: no `label`"),
        ([["a"], 5], None, "row 2: `label` is neither a list of labels nor a string"),
        ([["a"], {"a": 1}], None, "row 2: `label` is neither"),
        ([["a"], [["b"]]], None, "row 2: `label` has a list within its list"),
        ([["a"], ["c"]], ["a", "b"], "row 2: label 'c' is not one of a, b"),
        ([[], []], None, "no row has a label"),
    ],
)
def test_malformed_labels_are_refused_with_their_place(labels: list, names: list | None, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Dataset.from_lists(["one", "two"], labels, names, task="multilabel")


# Learning.


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(6, 3)) * 3, (rng.random((6, 3)) < 0.5).astype(np.float32)
    task, step = LabelSets(3), 1e-5
    gradient = task.loss(outputs, targets)[1]
    direction = rng.normal(size=outputs.shape)
    above, below = (task.loss(outputs + sign * step * direction, targets)[0] for sign in (1, -1))
    assert (above - below) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)
    far = task.loss(np.array([[800.0, -800.0]]), np.array([[0.0, 1.0]]))
    assert far[0] == pytest.approx(800.0) and np.isfinite(far[1]).all()


def test_it_learns_every_label(tuner: Tuner) -> None:
    fresh = reviews(500, seed=1)
    scores = tuner.evaluate(fresh)
    assert {"accuracy", "loss", "f1_micro", "f1_macro", "auc", "ece", "brier"} <= set(scores)
    luck = Tuner("toy", tuner.clients, progress=False, **SMALL)
    data = reviews(600)
    rows = np.random.default_rng(3).permutation(600)
    luck.fit(Dataset(data.texts, data.labels, data.label_names, sets=data.take(rows).sets))
    # Over ten draws 0.937 +- 0.012, and 0.07 +- 0.03 with shuffled labels; the worst label's AUC is 0.972 +- 0.011.
    assert scores["f1_micro"] > 0.85 and luck.evaluate(fresh)["f1_micro"] < 0.3
    assert all(label.auc is not None and label.auc > 0.9 for label in tuner.report(fresh).labels)


def test_answers_are_the_names_from_one_half_on(tuner: Tuner) -> None:
    texts = reviews(60, seed=2).texts
    found, likely = tuner.predict(texts), tuner.predict_proba(texts)
    assert likely.shape == (60, 3) and likely.sum(axis=1).max() > 1.5
    assert found == [[name for name, p in zip(NAMES, row, strict=True) if p >= 0.5] for row in likely]
    assert [] in found and any(len(names) > 1 for names in found)


def test_a_saved_loaded_or_exported_run_answers_the_same(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    texts = reviews(40, seed=2).texts
    tuner.save(tmp_path / "copy")
    tuner.export(tmp_path / "out")
    for again in (Tuner.load(tmp_path / "copy", [client], progress=False), load_export(tmp_path / "out", client)):
        assert again.task == "multilabel"
        np.testing.assert_array_equal(again.predict_proba(texts), tuner.predict_proba(texts))
        assert again.predict(texts) == tuner.predict(texts)


def test_other_methods_and_other_data_are_refused(tuner: Tuner, client: Client, fake_host: FakeHost) -> None:
    asked = len(fake_host.seen)
    for method in ("p3eft", "lora", "frozen"):
        with pytest.raises(SettingsError, match=f"method {method} learns one label .*several, .* need method side"):
            Tuner("toy", [client], progress=False, method=method, steps=2).fit(reviews(40))
    one = Dataset.from_lists(["a", "b"], ["x", "y"])
    with pytest.raises(RunError, match="task='multilabel'"):
        tuner.evaluate(one)
    assert len(fake_host.seen) == asked


def test_the_audit_asks_for_one_label(tuner: Tuner) -> None:
    report = tuner.audit(reviews(300, seed=4), trained_on=reviews(200), quick=True)
    assert report.activations is not None and report.gradients is None and report.excess


# Ways in.


def test_scikit_learn_gives_and_takes_a_matrix(client: Client) -> None:
    data, fresh = reviews(500), reviews(300, seed=1)
    model = clone(PrivateClassifier("toy", [client], **SMALL)).fit(list(data.texts), data.sets)
    found = model.predict(list(fresh.texts))
    assert found.shape == (300, 3) and found.dtype == np.int64
    # Rows that are right as a whole: over ten draws 0.86 +- 0.025; 0.22 have no label.
    assert model.score(list(fresh.texts), fresh.sets) > 0.7
    with pytest.raises(DataError, match="MultiLabelBinarizer"):
        model.fit(["a", "b"], [[1], [1, 2]])
    with pytest.raises(DataError, match="MultiLabelBinarizer"):
        model.fit(["a", "b"], [[1, 3], [1, 2]])


def test_the_shell(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    data, name, run = reviews(300), tmp_path / "train.jsonl", str(tmp_path / "run")
    assert data.sets is not None
    labels = [[n for n, yes in zip(NAMES, row, strict=True) if yes] for row in data.sets]
    rows = [{"text": text, "labels": names} for text, names in zip(data.texts, labels, strict=True)]
    name.write_text("\n".join(map(json.dumps, rows)))
    words = ["train", "--data", str(name), "--task", "multilabel", "--model", "toy", "--host", fake_host.url, "--quiet"]
    assert main([*words, "--method", "side", "--run", run, "--epochs", "8", "--lr", "0.01", "--networks", "1"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--run", run, "--data", str(name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "multilabel"
    texts = data.texts[:40]
    assert main(["predict", "--run", run, *(word for text in texts for word in ("--text", str(text)))]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert tuple(text for *_, text in lines) == texts and any("|" in names for names, _, _ in lines)
    assert all(set(names.split("|")) <= {*NAMES, ""} for names, _, _ in lines)
    assert all(names.count("|") == likely.count("|") for names, likely, _ in lines)
