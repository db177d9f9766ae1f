"""Randomized response does what the bound says, and the corrected loss finds what the true labels would have given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_gradients import finite_difference

from blindtune.private import label_privacy as lp
from blindtune.private.heads import cross_entropy
from blindtune.private.secret import SecretStream

N = 20_000


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_flips_have_the_odds_of_the_bound(epsilon: float, classes: int, secret: SecretStream) -> None:
    labels = np.arange(N) % classes
    shown = lp.randomized_response(labels, epsilon, classes, secret)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, shown), 1)
    rates = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rates, lp.transition(epsilon, classes), atol=4 * (classes / N) ** 0.5)
    matrix = lp.transition(epsilon, classes)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    assert (matrix.max(axis=0) / matrix.min(axis=0)).max() == pytest.approx(lp.posterior_odds(epsilon))


def test_flips_are_drawn_once(secret: SecretStream) -> None:
    labels = np.arange(1000) % 2
    again = SecretStream(secret.secret)
    assert np.array_equal(lp.randomized_response(labels, 1, 2, secret), lp.randomized_response(labels, 1, 2, again))
    other = lp.randomized_response(labels, 1, 2, SecretStream(b"other"))
    assert not np.array_equal(lp.randomized_response(labels, 1, 2, secret), other)


def test_numbers_of_the_bound() -> None:
    for epsilon in (0.5, 1.0, 2.0):
        assert lp.largest_advantage(epsilon) == pytest.approx(math.tanh(epsilon / 2))
        for classes in (2, 5):
            accuracy = lp.largest_accuracy(epsilon, classes)
            assert lp.largest_advantage(epsilon, classes) == pytest.approx((classes * accuracy - 1) / (classes - 1))
        assert lp.largest_posterior(0.5, epsilon) == pytest.approx(lp.largest_accuracy(epsilon, 2))
        odds = lp.largest_posterior(0.8, epsilon) / (1 - lp.largest_posterior(0.8, epsilon))
        assert odds == pytest.approx(4 * lp.posterior_odds(epsilon))
    assert "2.72" in lp.describe(1.0, 2) and "73.1%" in lp.describe(1.0, 2)


def test_no_attacker_on_the_shown_label_beats_the_bound(secret: SecretStream) -> None:
    """The best attack on randomized response is to believe it: it reaches the bound, so the bound is tight."""
    labels = np.arange(4 * N) % 2
    hits = np.mean(lp.randomized_response(labels, 1.0, 2, secret) == labels)
    assert hits == pytest.approx(lp.largest_accuracy(1.0, 2), abs=0.01)


@pytest.mark.parametrize("classes", [2, 4])
def test_corrected_loss_gradient(classes: int) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, classes)), rng.integers(0, classes, 9)
    matrix = lp.transition(1.0, classes)
    gradient = lp.corrected_cross_entropy(logits, labels, matrix)[1]
    expected = finite_difference(lambda: lp.corrected_cross_entropy(logits, labels, matrix)[0], logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-9)
    plain = cross_entropy(logits, labels)
    corrected = lp.corrected_cross_entropy(logits, labels, np.eye(classes))
    assert corrected[0] == pytest.approx(plain[0])
    np.testing.assert_allclose(corrected[1], plain[1], atol=1e-12)


def test_correction_finds_the_true_probabilities(secret: SecretStream) -> None:
    """One group of rows, 90 % of class 0: flipped labels alone would teach 0.68, the correction finds 0.9.

    What it finds is the shown share with the flips taken back; that is 0.9 up to the luck of the flips.
    """
    labels = (np.arange(N) % 10 == 0).astype(np.int64)
    shown = lp.randomized_response(labels, 1.0, 2, secret)
    matrix, logits = lp.transition(1.0, 2), np.zeros((1, 2))
    for _ in range(800):
        gradient = lp.corrected_cross_entropy(np.repeat(logits, N, axis=0), shown, matrix)[1]
        logits = logits - 8.0 * gradient.sum(axis=0, keepdims=True)
    p = np.exp(logits[0, 0]) / np.exp(logits[0]).sum()
    shown_as_0, certainty = np.mean(shown == 0), matrix[0, 0] - matrix[1, 0]
    assert shown_as_0 < 0.75 and p == pytest.approx((shown_as_0 - matrix[1, 0]) / certainty, abs=1e-4)
    assert p == pytest.approx(0.9, abs=4 * (0.25 / N) ** 0.5 / certainty)
