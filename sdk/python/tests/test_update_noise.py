"""Update noise does what its docstring claims, and epsilon is that of Gaussian differential privacy."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from blindtune.errors import BlindtuneError
from blindtune.private.secret import SecretStream
from blindtune.training.update_noise import UpdateNoise, update_epsilon

SECRET = SecretStream(b"test")


def gradients(scale: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=shape) * scale).astype(np.float32) for shape in ((300,), (20, 10))]


def length(parts: list[np.ndarray]) -> float:
    return math.sqrt(sum(float(np.sum(p.astype(np.float64) ** 2)) for p in parts))


def test_all_adapters_are_clipped_together_and_keep_their_direction() -> None:
    given = gradients()
    clipped = UpdateNoise(0.5, 0.0, SECRET).apply(given, 3)
    assert length(clipped) == pytest.approx(0.5, rel=1e-5)
    for a, b in zip(clipped, given, strict=True):
        np.testing.assert_allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-6)
    for a, b in zip(UpdateNoise(1e3, 0.0, SECRET).apply(given, 3), given, strict=True):
        assert np.array_equal(a, b), "a short update is left alone"


def test_two_labellings_never_move_an_update_by_more_than_twice_the_clip() -> None:
    quiet = UpdateNoise(0.5, 0.0, SECRET)
    one, other = quiet.apply(gradients(), 0), quiet.apply([-7.0 * g for g in gradients()], 0)
    assert length([a - b for a, b in zip(one, other, strict=True)]) <= 1.0 + 1e-5


def test_noise_has_the_stated_size_whatever_the_gradient() -> None:
    noise = UpdateNoise(0.5, 4.0, SECRET)
    for scale in (0.0, 1e-6, 1e3):
        given = [np.full(80_000, scale, np.float32)]
        added = noise.apply(given, 0)[0] - UpdateNoise(0.5, 0.0, SECRET).apply(given, 0)[0]
        assert added.std() == pytest.approx(2.0, rel=0.03) and abs(added.mean()) < 0.05


def test_a_repeated_step_gets_the_same_noise_and_another_step_or_set_another() -> None:
    noise, zeros = UpdateNoise(1.0, 1.0, SECRET), [np.zeros(1000, np.float32)] * 2
    first, again, later = noise.apply(zeros, 5), noise.apply(zeros, 5), noise.apply(zeros, 6)
    assert np.array_equal(first[0], again[0])
    for other in (later[0], first[1], UpdateNoise(1.0, 1.0, SecretStream(b"other")).apply(zeros, 5)[0]):
        assert abs(np.corrcoef(first[0], other)[0, 1]) < 0.15


def test_nonsense_is_refused() -> None:
    for clip, multiplier in ((0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (1.0, -0.1), (1.0, math.nan)):
        with pytest.raises(ValueError):
            UpdateNoise(clip, multiplier, SECRET)
    with pytest.raises(ValueError, match="not finite"):
        UpdateNoise(1.0, 1.0, SECRET).apply([np.array([np.nan], np.float32)], 0)
    assert "test" not in repr(UpdateNoise(1.0, 1.0, SECRET)), "the secret is not printed"


def test_epsilon_is_that_of_gaussian_differential_privacy() -> None:
    """Steps of sensitivity 2 and noise m are mu-GDP with mu = 2 sqrt(steps) / m, of which delta(epsilon) is known."""
    pytest.importorskip("dp_accounting")

    def exact(mu: float, delta: float) -> float:
        def excess(eps: float) -> float:
            return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - delta

        return brentq(excess, 0.0, 200.0)

    for multiplier, steps in ((20.0, 1), (20.0, 100), (60.0, 400)):
        wanted = exact(2.0 * math.sqrt(steps) / multiplier, 1e-5)
        assert wanted * 0.999 <= update_epsilon(multiplier, steps, 1e-5) <= wanted * 1.02
    assert update_epsilon(0.01, 400, 1e-5) > 1e4, "noise that hides from no accountant is still accounted for"


def test_epsilon_at_the_edges() -> None:
    assert update_epsilon(1.0, 0, 1e-5) == 0.0
    assert update_epsilon(0.0, 10, 1e-5) == math.inf
    for delta in (0.0, 1.0):
        with pytest.raises(ValueError, match="delta"):
            update_epsilon(1.0, 1, delta)
    with pytest.raises(ValueError):
        update_epsilon(-1.0, 1, 1e-5)


def test_without_the_accountant_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(BlindtuneError, match=r"blindtune\[dp\]"):
        update_epsilon(1.0, 1, 1e-5)
