"""AdamW against the formula written out, and the schedule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from blindtune.optimizers import SGD, AdamW, AdamWSettings, Optimizer, SGDSettings, clip, learning_rate


def test_adamw_is_the_written_out_formula() -> None:
    """Torch's single-tensor AdamW, one scalar at a time, in float64."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=7)
    optimizer = AdamW([start.astype(np.float32)], AdamWSettings(weight_decay=0.1))
    p, m, v = start.copy(), np.zeros(7), np.zeros(7)
    for t in range(1, 30):
        g, lr = rng.normal(size=7), 1e-2 / t
        optimizer.step([g.astype(np.float32)], lr)
        for k in range(7):
            p[k] = p[k] - lr * 0.1 * p[k]
            m[k] = 0.9 * m[k] + 0.1 * g[k]
            v[k] = 0.999 * v[k] + 0.001 * g[k] ** 2
            m_hat, v_hat = m[k] / (1 - 0.9**t), v[k] / (1 - 0.999**t)
            p[k] = p[k] - lr * m_hat / (v_hat**0.5 + 1e-8)
    np.testing.assert_allclose(optimizer.parameters[0], p, rtol=2e-5, atol=1e-6)


def test_state_comes_back_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    gradients = [[rng.normal(size=(3, 2)).astype(np.float32)] for _ in range(6)]
    straight = AdamW([np.ones((3, 2), np.float32)], AdamWSettings())
    for g in gradients[:3]:
        straight.step(g, 1e-2)
    resumed = AdamW([straight.parameters[0].copy()], AdamWSettings())
    resumed.load_state({k: v.copy() for k, v in straight.state().items()}, straight.step_count)
    for g in gradients[3:]:
        straight.step(g, 1e-2)
        resumed.step(g, 1e-2)
    assert np.array_equal(straight.parameters[0], resumed.parameters[0])


def test_sgd_is_the_written_out_formula() -> None:
    rng = np.random.default_rng(2)
    start = rng.normal(size=7)
    optimizer = SGD([start.astype(np.float32)], SGDSettings(momentum=0.9, weight_decay=0.1))
    p, b = start.copy(), np.zeros(7)
    for t in range(1, 20):
        g, lr = rng.normal(size=7), 1e-1 / t
        optimizer.step([g.astype(np.float32)], lr)
        b = 0.9 * b + g
        p = p * (1 - lr * 0.1) - lr * b
    np.testing.assert_allclose(optimizer.parameters[0], p, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "optimizer", [AdamW([np.ones(7, np.float32)], AdamWSettings()), SGD([np.ones(7, np.float32)], SGDSettings())]
)
def test_gradients_of_other_parameters_are_refused_and_not_counted(optimizer: Optimizer) -> None:
    with pytest.raises(ValueError, match="2 gradients for 1"):
        optimizer.step([np.zeros(7, np.float32)] * 2, 0.1)
    assert optimizer.step_count == 0 and optimizer.parameters[0].all()


def test_sgd_state_comes_back_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    gradients = [[rng.normal(size=5).astype(np.float32)] for _ in range(6)]
    settings = SGDSettings(momentum=0.9)
    straight = SGD([np.ones(5, np.float32)], settings)
    for g in gradients[:3]:
        straight.step(g, 1e-1)
    resumed = SGD([straight.parameters[0].copy()], settings)
    resumed.load_state({k: v.copy() for k, v in straight.state().items()}, straight.step_count)
    assert resumed.step_count == 3
    for g in gradients[3:]:
        straight.step(g, 1e-1)
        resumed.step(g, 1e-1)
    assert np.array_equal(straight.parameters[0], resumed.parameters[0])


def test_parameters_are_changed_in_place() -> None:
    theta = np.ones(4, np.float32)
    AdamW([theta], AdamWSettings()).step([np.ones(4, np.float32)], 1e-2)
    assert theta[0] < 1


def test_schedule_rises_then_falls() -> None:
    rates = [learning_rate(t, 100, 10, 1.0) for t in range(100)]
    assert rates[0] > 0 and rates[10] == 1.0 and max(rates) == 1.0
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.02
    assert learning_rate(0, 1, 0, 1.0) == 1.0


def test_clip_scales_all_gradients_together() -> None:
    gradients = [np.array([3.0], np.float32), np.array([4.0], np.float32)]
    clipped, norm = clip(gradients, 1.0)
    assert norm == pytest.approx(5.0)
    np.testing.assert_allclose([clipped[0][0], clipped[1][0]], [0.6, 0.8], rtol=1e-5)
    assert clip(gradients, None)[0] is gradients
