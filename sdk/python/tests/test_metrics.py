"""Metrics are scikit-learn's, ties and missing classes too; reports show what they found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost
from sklearn import metrics as theirs

from blindtune import Client, Dataset, RunError, Tuner
from blindtune.private import metrics as ours
from blindtune.private.evaluation import report_classes, report_sets, report_spans
from blindtune.private.heads import softmax
from blindtune.private.tasks import Regression

SEEDS = range(5)


def classes(seed: int, rows: int = 200, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that know something of them; rounded, so that scores tie."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count, rows)
    logits = rng.normal(size=(rows, count)) + 1.5 * np.eye(count)[labels]
    return labels, softmax(np.round(logits, 1).astype(np.float32))


def sets(seed: int, rows: int = 150, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, count)) < 0.3).astype(np.float32)
    return truth, np.round(np.clip(rng.random((rows, count)) * 0.7 + 0.3 * truth, 0, 1), 2).astype(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [2, 4])
def test_of_classes(seed: int, count: int) -> None:
    labels, probabilities = classes(seed, count=count)
    guess = probabilities.argmax(axis=1)
    found = report_classes(labels, probabilities, 0.5, [str(k) for k in range(count)])
    p, r, f, n = theirs.precision_recall_fscore_support(labels, guess)
    np.testing.assert_array_equal(found.confusion, theirs.confusion_matrix(labels, guess))
    np.testing.assert_allclose([(s.precision, s.recall, s.f1) for s in found.labels], np.transpose([p, r, f]))
    assert [s.rows for s in found.labels] == n.tolist()
    expected = {
        "accuracy": theirs.accuracy_score(labels, guess),
        "f1_macro": f.mean(),
        "f1_micro": theirs.f1_score(labels, guess, average="micro"),
        "precision_macro": p.mean(),
        "recall_macro": r.mean(),
    }
    if count == 2:
        expected["auc"] = theirs.roc_auc_score(labels, probabilities[:, 1])
        expected["brier"] = theirs.brier_score_loss(labels, probabilities[:, 1])
    else:
        expected["auc"] = theirs.roc_auc_score(np.eye(count)[labels], probabilities, average="macro")
    assert {name: found.scores[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_several_labels_for_a_row(seed: int) -> None:
    truth, probabilities = sets(seed)
    guess = probabilities >= 0.5
    found = report_sets(truth, probabilities, 0.5, list("abcde"))
    expected = {"accuracy": theirs.accuracy_score(truth, guess)}
    for average in ("micro", "macro"):
        p, r, f, _ = theirs.precision_recall_fscore_support(truth, guess, average=average)
        expected |= {f"precision_{average}": p, f"recall_{average}": r, f"f1_{average}": f}
    expected["auc"] = theirs.roc_auc_score(truth, probabilities, average="macro")
    assert {name: found.scores[name] for name in expected} == pytest.approx(expected)
    areas = theirs.roc_auc_score(truth, probabilities, average=None)
    np.testing.assert_allclose([label.auc for label in found.labels], areas)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(10, 3, 100)
    guess = truth + rng.normal(1, 2, 100)
    found = ours.regression_errors(truth, guess)
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(truth, guess))
    assert found["rmse"] == pytest.approx(theirs.mean_squared_error(truth, guess) ** 0.5)
    assert found["r2"] == pytest.approx(theirs.r2_score(truth, guess))
    assert found["pearson"] == pytest.approx(np.corrcoef(truth, guess)[0, 1])


def test_what_is_not_defined_is_zero_or_left_out() -> None:
    assert ours.regression_errors(np.ones(3), np.zeros(3)) == {"mae": 1, "rmse": 1, "r2": 0, "pearson": 0}
    assert ours.regression_errors(np.ones(3), np.ones(3))["r2"] == 1
    one_side = report_classes(np.zeros(4, int), np.full((4, 3), 1 / 3, np.float32), 1.1, ["a", "b", "c"])
    assert "auc" not in one_side.scores and [label.auc for label in one_side.labels] == [None] * 3
    assert one_side.scores["f1_macro"] == 1.0, "labels that are neither true nor guessed do not count"
    nothing = report_spans([[]], [[]], {}, ["NAME"])
    assert nothing.scores["f1_micro"] == nothing.scores["f1_macro"] == 0.0
    partly = report_classes(np.array([0, 1, 0]), np.eye(3, dtype=np.float32)[[0, 1, 1]], 1.0, ["a", "b", "c"])
    # a against the rest: 0.75, b: 0.75 (ties count half), c undefined.
    assert partly.scores["auc"] == pytest.approx(0.75)


def test_a_regression_is_reported_by_its_numbers_alone() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0], np.float32)
    task, data = Regression.of(values), Dataset(("a",) * 4, np.array([0, 0, 1, 1]), ("below", "above"), values)
    outputs = ((np.array([1.0, 2.0, 3.0, 5.0]) - task.mean) / task.spread)[:, None].astype(np.float32)
    found = task.report(outputs, data)
    assert found.scores["mae"] == pytest.approx(0.25, abs=1e-6) and found.scores["spearman"] == pytest.approx(1.0)
    assert found.scores["r2"] == pytest.approx(theirs.r2_score(values, [1, 2, 3, 5]), abs=1e-6)
    assert found.labels == () and found.to_dict()["confusion"] is None
    assert [line.split()[0] for line in str(found).splitlines()][:3] == ["rows", "spearman", "accuracy"]


def test_ties_count_half() -> None:
    assert ours.auc(np.array([1, 0]), np.array([0.5, 0.5])) == 0.5
    assert ours.auc(np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.1])) == pytest.approx(3.5 / 4)


def test_calibration_by_hand() -> None:
    """Four guesses at 0.95, three of them right; two at 0.85, both right: |0.95 - 0.75| 4/6 + |0.85 - 1| 2/6."""
    sure = np.array([0.95] * 4 + [0.85] * 2, np.float32)
    found = ours.Calibration.of_classes(np.stack([sure, 1 - sure], axis=1), np.array([0, 0, 0, 1, 0, 0]))
    assert found.error == pytest.approx(0.2 * 4 / 6 + 0.15 * 2 / 6, abs=1e-6)
    assert found.rows == (2, 4) and found.right == (1.0, 0.75)
    assert found.brier == pytest.approx((3 * 0.05**2 + 0.95**2 + 2 * 0.15**2) / 6, abs=1e-6)
    three = np.array([[0.5, 0.3, 0.2]], np.float32)
    assert ours.Calibration.of_classes(three, np.array([1])).brier == pytest.approx(0.25 + 0.49 + 0.04)


def test_evaluate_has_the_numbers_and_report_the_rest(fake_host: FakeHost) -> None:
    settings = {"method": "side", "epochs": 4, "networks": 1, "batch_size": 32, "lr": 0.01}
    tuner = Tuner("toy", [Client(fake_host.url, "key")], progress=False, **settings)
    tuner.fit(sentiment(300))
    dev = sentiment(200, seed=1)
    report = tuner.report(dev)
    guess = tuner.predict_proba(dev.texts).argmax(axis=1)
    assert tuner.evaluate(dev) == report.scores and {"accuracy", "loss", "rows", "f1_macro"} <= set(report.scores)
    assert report.scores["accuracy"] == theirs.accuracy_score(dev.labels, guess)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["confusion"] == theirs.confusion_matrix(dev.labels, guess).tolist()
    assert sum(plain["calibration"]["rows"]) == 200 and plain["task"] == "classification"
    shown = str(report).splitlines()
    assert shown[0].split() == ["rows", "200"]
    counts = " ".join(map(str, plain["confusion"][0]))
    assert any(line.split() == ["negative", *counts.split()] for line in shown)
    three = Dataset(dev.texts, dev.labels, ("negative", "positive", "mixed"))
    with pytest.raises(RunError, match="knows 2 labels and the data 3"):
        tuner.report(three)
