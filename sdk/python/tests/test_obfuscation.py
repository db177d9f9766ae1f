"""Every obfuscation gives the gradient back, says what it is worth, and hides what it says it hides."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import sentiment

from blindtune import SettingsError
from blindtune.audit.tier0 import spectral_auc
from blindtune.private.obfuscation import Context, Decoys, GaussianShares, Obfuscation, Plain, plausible_labels
from blindtune.private.obfuscation.decoys import orthogonal
from blindtune.private.secret import SecretStream
from blindtune.training.factory import make_obfuscation
from blindtune.training.settings import Settings

B, H = 64, 48
ALL: list[Obfuscation] = [Plain(), GaussianShares(2), GaussianShares(3, 10.0), Decoys(1), Decoys(3), Decoys(7)]


def rank_one(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.outer(rng.uniform(0.1, 1.0, len(labels)) * (1 - 2 * labels), rng.normal(size=H)).astype(np.float32)


def context(secret: SecretStream, name: int = 0) -> Context:
    """Decoys with random labels and the gradient's structure, of other norms."""
    return Context(
        ("step", name, 0), secret, lambda k: (k + 2.0) * rank_one(np.random.default_rng(50 + k).integers(0, 2, B))
    )


@pytest.mark.parametrize("obfuscation", ALL, ids=lambda o: f"{o.name}-{o.statement(2).tensors}")
def test_the_gradient_comes_back_with_the_error_that_was_stated(obfuscation: Obfuscation, secret: SecretStream) -> None:
    g = rank_one(np.random.default_rng(1).integers(0, 2, B))
    jacobian = np.random.default_rng(2).normal(size=(B * H, 300)).astype(np.float32)
    hidden = obfuscation.obfuscate(g, context(secret))
    statement = obfuscation.statement(2)
    assert len(hidden.tensors) == len(hidden.weights) == statement.tensors
    assert all(t.dtype == np.float32 and t.shape == g.shape for t in hidden.tensors)
    assert hidden.kappa <= statement.kappa * 1.1
    exact = g.ravel().astype(np.float64) @ jacobian.astype(np.float64)
    joined = hidden.reconstruct([t.ravel() @ jacobian for t in hidden.tensors])
    assert np.linalg.norm(joined - exact) <= 4 * statement.error * np.linalg.norm(exact)
    again = obfuscation.obfuscate(g, context(secret))
    assert all(np.array_equal(a, b) for a, b in zip(hidden.tensors, again.tensors, strict=True))
    with pytest.raises(ValueError, match="parts for"):
        hidden.reconstruct([g] * (statement.tensors + 1))


@pytest.mark.parametrize("obfuscation", ALL, ids=lambda o: f"{o.name}-{o.statement(2).tensors}")
def test_a_gradient_of_zeros_is_no_special_case(obfuscation: Obfuscation, secret: SecretStream) -> None:
    hidden = obfuscation.obfuscate(np.zeros((B, H), np.float32), context(secret))
    assert np.isfinite(hidden.kappa) and np.abs(hidden.reconstruct(hidden.tensors)).max() < 1e-4


def test_statements_say_what_is_left() -> None:
    assert "label" in Plain().statement(1).host_can
    assert "shortest combination" in GaussianShares(2).statement(1).host_can
    assert "collude" in GaussianShares(2).statement(2).host_can
    assert "adapter values" in Decoys(3).statement(1).host_can
    assert GaussianShares(2, 100.0).statement(2).error == pytest.approx(4.6e-5, rel=0.05)


def test_decoys_leave_no_tensor_that_is_the_gradient(secret: SecretStream) -> None:
    """A mix tells less than the gradient, and less the more decoys there are; the plain one tells everything."""
    labels = np.random.default_rng(3).integers(0, 2, B)
    g = rank_one(labels)

    def leaks(count: int) -> np.ndarray:
        """Of every tensor of 20 draws, [20, count + 1]."""
        draws = [Decoys(count).obfuscate(g, context(secret, k)).tensors for k in range(20)]
        return np.array([[spectral_auc(tensor, labels) for tensor in tensors] for tensors in draws])

    few, many = leaks(3), leaks(15)
    assert spectral_auc(g, labels) == 1.0
    assert many.mean() < few.mean() < 0.85 and many.mean() < 0.68
    assert many.max(axis=1).mean() < 0.9, "the worst tensor of a draw, 1.0 if it were the gradient"


def test_decoy_mixing_is_orthogonal_and_drawn_by_name(secret: SecretStream) -> None:
    q = orthogonal(5, secret, ("step", 1, 0))
    np.testing.assert_allclose(q @ q.T, np.eye(5), atol=1e-12)
    assert np.abs(q - orthogonal(5, secret, ("step", 2, 0))).max() > 0.1
    first = np.array([orthogonal(3, secret, ("step", k, 0))[0, 0] for k in range(1600)])
    assert abs(first.mean()) < 0.1 and first.std() == pytest.approx(3**-0.5, rel=0.1)


def test_other_labellings_are_as_plausible(secret: SecretStream) -> None:
    """Each class as often as in truth, unrelated to the truth, and told by words."""
    data = sentiment(400)
    rare = (np.arange(400) < 60).astype(np.int64)
    for labels in (data.labels, rare):
        others = plausible_labels(data.texts, labels, 3, secret)
        for other in others:
            assert other.sum() == labels.sum()
        assert len({other.tobytes() for other in others}) == 3
        again = plausible_labels(data.texts, labels, 3, SecretStream(secret.secret))
        assert all(np.array_equal(a, b) for a, b in zip(others, again, strict=True))
    twins = [("same words here", k) for k in range(2)]
    other = plausible_labels([t for t, _ in twins] + list(data.texts), np.arange(402) % 2, 1, secret)[0]
    assert other[0] == other[1]


@pytest.mark.parametrize(
    ("given", "hosts", "kind", "tensors"),
    [
        ({}, 2, "shares", 2),
        ({}, 3, "shares", 3),
        ({}, 1, "decoys", 4),
        ({"decoys": 7}, 1, "decoys", 8),
        ({"shares": 3}, 1, "shares", 3),
        ({"shares": 1}, 1, "shares", 1),
        ({"obfuscation": "plain"}, 1, "plain", 1),
        ({"method": "lora"}, 1, "plain", 1),
        ({"method": "lora", "obfuscation": "decoys"}, 1, "decoys", 4),
        ({"placement": "steps"}, 3, "decoys", 4),
        ({"placement": "sets"}, 2, "decoys", 4),
        ({"placement": "sets", "obfuscation": "plain"}, 2, "plain", 1),
    ],
)
def test_the_obfuscation_follows_from_method_and_hosts(given: dict, hosts: int, kind: str, tensors: int) -> None:
    settled = Settings(**given).resolve(hosts)
    assert (settled.obfuscation, settled.shares) == (kind, tensors)
    assert make_obfuscation(settled).statement(hosts).tensors == tensors
    assert settled.resolve(hosts) == settled, "a run that is taken up again must not change"


@pytest.mark.parametrize(
    ("given", "hosts", "message"),
    [
        ({"obfuscation": "decoys"}, 2, "decoys is for one host"),
        ({"obfuscation": "plain"}, 2, "plain is for one host"),
        ({"placement": "sets"}, 3, "2 adapter sets need as many hosts, not 3"),
        (
            {"noise_scale": 1e4},
            2,
            r"kappa 2e\+04 loses about 4.6e-03 .* max_gradient_error is 0.001; lower noise_scale",
        ),
        ({"max_gradient_error": 1e-5}, 2, "max_gradient_error is 1e-05"),
        ({"precision": "bfloat16", "max_gradient_error": 1e-3, "method": "lora"}, 1, "max_gradient_error is 0.001"),
        ({"obfuscation": "xor"}, 1, "obfuscation must be one of"),
        ({"placement": "rows"}, 1, "placement must be one of"),
        ({"coefficients": "random"}, 1, "coefficients must be one of"),
        ({"optimizer": "lion"}, 1, "optimizer must be one of"),
        ({"accumulate": 0}, 1, "accumulate must be above 0"),
        ({"update_noise": 1.0}, 1, "update_noise needs update_clip"),
        ({"label_epsilon": 0.0}, 1, "label_epsilon must be above 0"),
    ],
)
def test_what_cannot_work_is_refused(given: dict, hosts: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**given).resolve(hosts)


def test_decoys_need_little_precision() -> None:
    assert Settings(precision="bfloat16").resolve(1).obfuscation == "decoys"
    with pytest.raises(SettingsError, match="bfloat16"):
        Settings(precision="bfloat16").resolve(2)
