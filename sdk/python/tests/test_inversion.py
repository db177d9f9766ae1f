"""The inversion against a Jacobian that is known, and the readers against the optimizers they invert."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from blindtune.audit.inversion import Knowledge, guesses, invert, read_last, updates_of
from blindtune.audit.moments import AdamWReader, Reading, SGDReader
from blindtune.audit.recorder import Seen, SeenForward
from blindtune.audit.score import evaluate
from blindtune.optimizers import SGD, AdamW, AdamWSettings, SGDSettings

ROWS, HIDDEN, PARAMETERS = 24, 12, 400


class DenseJacobian:
    """A random J that is badly conditioned, as a transformer's is: rows share most of their directions."""

    rows, hidden, parameters = ROWS, HIDDEN, PARAMETERS

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(HIDDEN, PARAMETERS))
        own = rng.normal(size=(ROWS, HIDDEN, PARAMETERS))
        self.j = (2.0 * shared + own).reshape(ROWS * HIDDEN, PARAMETERS) * rng.lognormal(0.0, 0.5, PARAMETERS)

    def vjp(self, u: np.ndarray) -> np.ndarray:
        return self.j.T @ u.ravel()

    def jvp(self, v: np.ndarray) -> np.ndarray:
        return (self.j @ v).reshape(ROWS, HIDDEN)


def secrets(classes: int = 2, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the g [B, H] of a softmax head whose classifier nobody knows."""
    rng = np.random.default_rng(seed)
    labels = np.arange(ROWS) % classes
    p = rng.dirichlet(np.full(classes, 5.0), size=ROWS)
    return labels, (p - np.eye(classes)[labels]) @ rng.normal(size=(classes, HIDDEN))


def everything(gradient: np.ndarray) -> Reading:
    return Reading(gradient, np.ones(PARAMETERS))


def test_labels_come_back_from_one_gradient() -> None:
    jacobian, (labels, g) = DenseJacobian(), secrets()
    found = invert(jacobian, everything(jacobian.vjp(g)), rounds=10)
    assert found.residual < 0.05
    np.testing.assert_allclose(found.factors @ found.directions, g, atol=0.1 * np.abs(g).max())
    scored = {
        f.attack: f for f in (evaluate(guess, labels, 2) for guess in guesses(found, np.arange(ROWS), 2, "a")) if f
    }
    assert scored["a/low-rank"].score == 1.0 and scored["a/low-rank"].control < 0.75
    assert {f.tier for f in scored.values()} == {3} and not any(f.picked_with_labels for f in scored.values())


def test_three_classes_come_back_as_clusters() -> None:
    jacobian, (labels, g) = DenseJacobian(), secrets(classes=3)
    found = invert(jacobian, everything(jacobian.vjp(g)), rank=2, rounds=10)
    last = guesses(found, np.arange(ROWS), 3, "a")[-1]
    finding = evaluate(last, labels, 3)
    assert finding is not None and finding.accuracy is not None and finding.score >= 0.9


def test_unknown_parameters_are_not_used() -> None:
    jacobian, (labels, g) = DenseJacobian(), secrets()
    known = (np.random.default_rng(3).random(PARAMETERS) < 0.5).astype(np.float64)
    spoiled = np.where(known > 0, jacobian.vjp(g), 1e6)
    found = invert(jacobian, Reading(spoiled, known), rounds=10)
    finding = evaluate(guesses(found, np.arange(ROWS), 2, "a")[-1], labels, 2)
    assert finding is not None and finding.score == 1.0


def test_noise_far_above_the_gradient_hides_it() -> None:
    jacobian, (labels, g) = DenseJacobian(), secrets()
    clear, rng = jacobian.vjp(g), np.random.default_rng(4)
    scores = []
    for _ in range(40):  # 24 rows say little: luck alone reads 0.59, and 0.74 where the labels pick one of 12 columns
        noise = rng.normal(size=PARAMETERS) * 300.0 * np.linalg.norm(clear) / np.sqrt(PARAMETERS)
        found = invert(jacobian, everything(clear + noise))
        finding = evaluate(guesses(found, np.arange(ROWS), 2, "a")[-1], labels, 2)
        assert finding is not None
        scores.append(finding.score)
    assert np.mean(scores) < 0.68


def test_a_zero_gradient_is_no_error() -> None:
    found = invert(DenseJacobian(), everything(np.zeros(PARAMETERS)))
    assert np.all(np.isfinite(found.factors))


def walk(optimizer: Callable[[list[np.ndarray]], SGD | AdamW], gradients: np.ndarray) -> list[tuple]:
    """(before, after, gradient) of every step."""
    theta = np.concatenate([np.random.default_rng(5).normal(size=100) * 0.05, np.zeros(100)]).astype(np.float32)
    mine, steps = optimizer([theta]), []
    for g in gradients:
        before = theta.copy()
        mine.step([g.astype(np.float32)], 1e-3)
        steps.append((before, theta.copy(), g))
    return steps


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_inverted(momentum: float) -> None:
    settings = SGDSettings(momentum=momentum, weight_decay=0.1)
    reader = SGDReader(settings)
    for before, after, g in walk(lambda p: SGD(p, settings), np.random.default_rng(6).normal(size=(5, 200))):
        read = reader.read(before, after, 1e-3)
        np.testing.assert_allclose(read.gradient, g, atol=1e-4)
        assert read.known.all()


def test_the_first_adamw_step_tells_sizes_not_only_signs() -> None:
    settings = AdamWSettings(weight_decay=0.1)
    g = np.random.default_rng(7).normal(size=(1, 200)) * 1e-4
    ((before, after, g),) = walk(lambda p: AdamW(p, settings), g)
    read = AdamWReader(settings).read(before, after, 1e-3)
    zero = before == 0
    assert read.known[zero].mean() > 0.95, "float32 keeps eps / |g| where theta was zero"
    sure = read.known > 0
    np.testing.assert_allclose(read.gradient[sure], g[sure], rtol=0.2, atol=1e-6)
    assert np.array_equal(np.sign(read.gradient), np.sign(g))


def test_adamw_is_inverted_while_gradients_keep_their_size() -> None:
    settings = AdamWSettings()
    rng = np.random.default_rng(8)
    base = rng.normal(size=200) * 1e-3
    gradients = base * (0.9 ** np.arange(12))[:, None] * (1.0 + 0.1 * rng.normal(size=(12, 200)))
    reader, errors = AdamWReader(settings), []
    for before, after, g in walk(lambda p: AdamW(p, settings), gradients):
        read = reader.read(before, after, 1e-3)
        errors.append(np.abs(read.gradient - g)[100:] / np.abs(g[100:]))
    assert np.median(errors) < 0.015 and np.quantile(errors, 0.9) < 0.1


def test_a_jump_with_a_smaller_twin_is_marked_unknown() -> None:
    settings = AdamWSettings()
    g = np.full(200, 1e-4)
    steps = walk(lambda p: AdamW(p, settings), np.stack([g, 50 * g]))
    reader = AdamWReader(settings)
    readings = [reader.read(before, after, 1e-3) for before, after, _ in steps]
    assert readings[0].known[100:].all()
    wrong = np.abs(readings[1].gradient - 50 * g) > 0.1 * 50 * g
    assert not readings[1].known[wrong].any()


def test_adamw_can_be_taken_up_with_its_moments() -> None:
    settings = AdamWSettings()
    theta = np.zeros(2000, np.float32)
    optimizer, rng = AdamW([theta], settings), np.random.default_rng(9)
    for _ in range(20):
        optimizer.step([rng.normal(size=2000).astype(np.float32)], 1e-3)
    reader = AdamWReader(settings, optimizer.first[0].copy(), optimizer.second[0].copy(), optimizer.step_count)
    before, g = theta.copy(), rng.normal(size=2000).astype(np.float32)
    optimizer.step([g], 1e-3)
    read = reader.read(before, theta, 1e-3)
    assert read.known.mean() > 0.9
    np.testing.assert_allclose(read.gradient[read.known > 0], g[read.known > 0], atol=0.05)


def forward(seq: int, rows: list[int], theta: float) -> SeenForward:
    return SeenForward(0, seq, np.array(rows), {0: np.full(3, theta, np.float32)}, {}, None, "job")


def test_batches_between_which_theta_stood_still_are_one_update() -> None:
    seen = Seen((forward(1, [0, 1], 0.0), forward(3, [2, 3], 0.0), forward(5, [4], 1.0), forward(7, [5], 2.0)))
    first, second = updates_of(seen, 0, 0)
    assert first.rows.tolist() == [0, 1, 2, 3] and first.batches == (0, 1) and first.after[0] == 1.0
    assert second.rows.tolist() == [4] and second.batches == (2, 2), "the last theta has no successor"
    assert updates_of(seen, 1, 0) == [] and updates_of(seen, 0, 1) == []


def test_the_rate_is_that_of_the_batch_that_updated() -> None:
    seen = Seen((forward(1, [0], 0.0), forward(3, [1], 0.0), forward(5, [2], -1.0)))
    read = read_last(updates_of(seen, 0, 0), Knowledge(SGDReader, lambda batch: 0.5 if batch == 1 else 1.0))
    np.testing.assert_allclose(read.gradient, 2.0)


def test_adamw_is_not_read_from_the_middle() -> None:
    seen = Seen((forward(9, [0], 0.0), forward(11, [1], 1.0)))
    with pytest.raises(ValueError, match="first step"):
        read_last(updates_of(seen, 0, 0), Knowledge(AdamWReader, lambda batch: 1e-3))
