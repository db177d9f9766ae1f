"""The camouflage: exact gradients, decoys that the head does not see, a steered weight, and memory that comes back."""

from __future__ import annotations

import numpy as np
import pytest

from blindtune.private.penalties.camouflage import Camouflage, CamouflageWeights, decoy_directions
from blindtune.private.penalties.schedules import LEAST, MOST, WeightSchedule
from blindtune.private.secret import SecretStream

ROWS, HIDDEN, SETS, DECOYS = 12, 7, 2, 3


def batch(classes: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(ROWS, HIDDEN)).astype(np.float32)
    sets = [(base + 0.3 * rng.normal(size=base.shape)).astype(np.float32) for _ in range(SETS)]
    return sets, base, rng.permutation(np.arange(ROWS) % classes)


def made(classes: int) -> Camouflage:
    secret = SecretStream(b"camouflage")
    return Camouflage(CamouflageWeights(), classes, decoy_directions(secret, SETS, HIDDEN, DECOYS), secret)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("earlier", [0, 3])
def test_its_gradient_is_exact(classes: int, earlier: int) -> None:
    hidden = made(classes)
    for k in range(earlier):
        sets, base, labels = batch(classes, k)
        hidden.prepare(base)
        hidden.observe(sets, base, labels)
    sets, base, labels = batch(classes, 9)
    hidden.prepare(base)
    _, gradients = hidden.penalty(sets, base, labels, 0.7)
    rng = np.random.default_rng(0)
    for i in range(SETS):
        direction = rng.normal(size=sets[i].shape).astype(np.float32)
        losses = []
        for sign in (1, -1):
            moved = [h + np.float32(sign * 1e-2) * direction if k == i else h for k, h in enumerate(sets)]
            losses.append(hidden.penalty(moved, base, labels, 0.7)[0])
        measured = (losses[0] - losses[1]) / 2e-2  # the loss is quadratic in h: central differences are exact
        assert measured == pytest.approx(float(np.sum(gradients[i] * direction)), rel=1e-3)


def test_the_spring_pulls_class_means_together_and_decoys_do_not_need_labels() -> None:
    hidden = made(2)
    sets, base, labels = batch(2, 1)
    sets = [h + 2.0 * labels[:, None].astype(np.float32) for h in sets]
    hidden.prepare(base)
    with_spring, pulled = hidden.penalty(sets, base, labels, 1.0)
    without, _ = hidden.penalty(sets, base, labels, 0.0)
    assert with_spring > without > 0
    gap = pulled[0][labels == 1].mean(axis=0) - pulled[0][labels == 0].mean(axis=0)
    assert gap.sum() > 0, "descent moves the heavier class back"
    only_one, _ = hidden.penalty(sets, base, np.zeros_like(labels), 1.0)
    assert only_one == pytest.approx(without), "a batch that lacks a class gets decoys only"


def test_what_it_remembers_comes_back_bit_for_bit() -> None:
    first, second = made(2), made(2)
    for k in range(3):
        sets, base, labels = batch(2, k)
        first.prepare(base)
        first.observe(sets, base, labels)
    second.load_state(first.state())
    sets, base, labels = batch(2, 5)
    for hidden in (first, second):
        hidden.prepare(base)
    here, there = (hidden.penalty(sets, base, labels, 1.0) for hidden in (first, second))
    assert here[0] == there[0]
    assert all(np.array_equal(a, b) for a, b in zip(here[1], there[1], strict=True))


def test_directions_are_orthonormal_and_follow_the_secret() -> None:
    mine, again, other = (decoy_directions(SecretStream(key), SETS, HIDDEN, DECOYS) for key in (b"a", b"a", b"b"))
    assert np.array_equal(mine, again) and not np.allclose(mine, other)
    for u in mine:
        assert np.allclose(u @ u.T, np.eye(DECOYS), atol=1e-6)


def test_the_automatic_weight_follows_the_leak_within_bounds() -> None:
    schedule = WeightSchedule(kind="automatic", max_leak=0.6)
    schedule.look(0.9)
    raised = schedule.factor
    schedule.look(0.5)
    assert 1.0 < schedule.factor < raised
    for leak, bound in ((0.99, MOST), (0.5, LEAST)):
        for _ in range(60):
            schedule.look(leak)
        assert schedule.factor == bound


def test_a_ramp_and_a_constant_do_not_look() -> None:
    ramp, constant = WeightSchedule("ramp", 10), WeightSchedule("constant")
    for schedule in (ramp, constant):
        schedule.look(0.99)
    assert [ramp.at(k) for k in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert constant.at(0) == constant.at(500) == 1.0
