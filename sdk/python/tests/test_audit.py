"""Attacks read chance where there is nothing, and everything where it is open."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blindtune.audit import (
    LeakReport,
    activation_attacks,
    attack,
    batchwise_leak,
    exposure,
    norm_auc,
    principal_scores,
    worst,
)


def blobs(classes: int, distance: float, count: int = 900) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    centres = rng.normal(size=(classes, 20)) * distance
    return (centres[labels] + rng.normal(size=(count, 20))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_separable_data_leaks_all(classes: int) -> None:
    x, labels = blobs(classes, 10)
    assert worst(attack(x, labels, classes), classes) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("classes", [2, 3])
def test_shuffled_labels_read_chance(classes: int) -> None:
    x, labels = blobs(classes, 10)
    shuffled = np.random.default_rng(1).permutation(labels)
    leak = worst(attack(x, shuffled, classes), classes)
    assert leak is not None and 1 / classes <= leak <= 1 / classes + 0.06


def test_norms_alone_can_tell() -> None:
    x, labels = blobs(2, 0)
    assert norm_auc(x * (1 + 4 * labels[:, None]), labels) > 0.99


def test_area_under_the_curve_counts_ties_as_halves() -> None:
    rng = np.random.default_rng(6)
    labels, norms = rng.integers(0, 2, 80), rng.integers(1, 6, 80)
    area = roc_auc_score(labels, norms)
    assert norm_auc(norms[:, None], labels) == pytest.approx(max(area, 1 - area))


def test_principal_scores_agree_with_a_full_decomposition() -> None:
    for shape in ((50, 8), (8, 50)):
        x = np.random.default_rng(2).normal(size=shape)
        centred = x - x.mean(axis=0)
        expected = centred @ np.linalg.svd(centred)[2][0]
        found = principal_scores(x)
        assert abs(np.corrcoef(found, expected)[0, 1]) == pytest.approx(1.0, abs=1e-9)


def test_batchwise_is_corrected_for_luck() -> None:
    rng = np.random.default_rng(3)
    batches = [rng.normal(size=(32, 20)).astype(np.float32) for _ in range(40)]
    labels = [rng.integers(0, 2, 32) for _ in batches]
    assert batchwise_leak(batches, labels, 2) <= 0.53
    open_batches = [x + 20 * (2 * y[:, None] - 1) for x, y in zip(batches, labels, strict=True)]
    assert batchwise_leak(open_batches, labels, 2) == pytest.approx(1.0)


def test_every_kind_is_attacked() -> None:
    x, labels = blobs(2, 10)
    noise = np.random.default_rng(4).normal(size=x.shape).astype(np.float32)
    found = activation_attacks([noise + x, noise], noise * 0.5, labels, 2)
    assert {kind: bool(table) for kind, table in found.items()} == {"activations": 1, "shifts": 1, "differences": 1}
    assert worst(found["differences"], 2) == pytest.approx(1.0, abs=0.01)
    assert activation_attacks([noise], None, labels, 2)["shifts"] == {}


def test_report_is_plain_and_says_what_the_host_learns() -> None:
    report = LeakReport(0.6, 0.55, None, 0.51, classes=2, rows=9, exposure=exposure("p3eft", 2, 2))
    body = json.loads(json.dumps(report.to_dict()))
    assert body["gradients"] == 0.51 and body["differences"] is None and body["chance"] == 0.5
    assert "never sent" in report.describe() and "collude" in report.describe()
    assert "in clear" in " ".join(exposure("lora", 1, 1))
    assert "use two hosts" in " ".join(exposure("p3eft", 1, 2))
