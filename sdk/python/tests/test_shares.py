"""Shares hide the gradient one by one, and give it back together."""

from __future__ import annotations

import numpy as np
import pytest

from blindtune.audit import SentStep, attack, batchwise_leak, combine_shares, gradient_attacks
from blindtune.private.obfuscation.shares import split
from blindtune.private.secret import SecretStream

B, H = 64, 384


def rank_one(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A gradient as a classifier gives it: the label decides the sign along one direction."""
    rng = np.random.default_rng(step)
    labels = rng.integers(0, 2, B)
    direction = np.random.default_rng(99).normal(size=H)
    sizes = rng.uniform(0.02, 1.0, B) * (1 - 2 * labels)
    noise = rng.normal(size=(B, H)) * 0.05
    return (np.outer(sizes, direction) + noise).astype(np.float32) * 1e-3, labels


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_give_the_gradient_back(count: int, secret: SecretStream) -> None:
    g, _ = rank_one(0)
    shares = split(g, count, secret, ("step", 0, 0))
    assert all(s.dtype == np.float32 and s.shape == g.shape for s in shares.tensors)
    back = shares.reconstruct(shares.tensors)
    assert np.linalg.norm(back - g) <= 1e-4 * np.linalg.norm(g)


def test_joined_products_lose_little_in_float32(secret: SecretStream) -> None:
    """The host multiplies each share in float32; rounding grows by kappa over that of the plain gradient's product."""
    g, _ = rank_one(1)
    jacobian = np.random.default_rng(5).normal(size=(B * H, 200)).astype(np.float32)
    shares = split(g, 2, secret, ("step", 1, 0))
    joined = shares.reconstruct([s.ravel() @ jacobian for s in shares.tensors])
    plain = g.ravel() @ jacobian
    exact = g.ravel().astype(np.float64) @ jacobian.astype(np.float64)
    assert np.linalg.norm(joined - exact) <= 4 * shares.kappa * np.linalg.norm(plain - exact)
    assert 150 < shares.kappa < 250


def test_one_share_is_the_plain_gradient(secret: SecretStream) -> None:
    g, _ = rank_one(2)
    shares = split(g, 1, secret, ("step", 2, 0))
    assert shares.weights == (1.0,) and np.array_equal(shares.tensors[0], g)


def test_draws_repeat_by_name_and_differ_otherwise(secret: SecretStream) -> None:
    g, _ = rank_one(3)
    first, again, other = (split(g, 2, secret, ("step", k, 0)) for k in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first.tensors, again.tensors, strict=True))
    assert first.weights != other.weights
    correlation = np.corrcoef(first.tensors[0].ravel(), other.tensors[0].ravel())[0, 1]
    assert abs(correlation) < 0.03


def test_zero_gradient_is_split_too(secret: SecretStream) -> None:
    shares = split(np.zeros((4, 3), np.float32), 2, secret, ("step", 0, 0))
    assert np.abs(shares.reconstruct(shares.tensors)).max() < 1e-4


def test_attacks_read_little_in_a_single_share_and_all_in_all_of_them(secret: SecretStream) -> None:
    steps = [rank_one(k) for k in range(30)]
    labels = [y for _, y in steps]
    sent = [split(g, 2, secret, ("step", k, 0)).tensors for k, (g, _) in enumerate(steps)]
    for j in (0, 1):
        one = [s[j] for s in sent]
        pooled = attack(np.concatenate(one), np.concatenate(labels), 2)
        assert max(pooled.values()) <= 0.57
        assert batchwise_leak(one, labels, 2) <= 0.55
    assert batchwise_leak([combine_shares(s) for s in sent], labels, 2) > 0.9
    assert batchwise_leak([g for g, _ in steps], labels, 2) > 0.9


def test_the_report_takes_the_host_that_can_guess_best(secret: SecretStream) -> None:
    together, apart = [], []
    for k in range(20):
        g, labels = rank_one(k)
        first, second = split(g, 2, secret, ("step", k, 0)).tensors
        together.append(SentStep(({(0, 0): first, (0, 1): second},), labels))
        apart.append(SentStep(({(0, 0): first}, {(0, 1): second}), labels))
    assert max(gradient_attacks(together, 2).values()) > 0.9
    assert max(gradient_attacks(apart, 2).values()) <= 0.58
