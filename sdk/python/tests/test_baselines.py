"""The baselines DC and PSLF, and everything else the loss at home is made of, against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_gradients import B, H, batch, finite_difference

from blindtune import Dataset, SettingsError
from blindtune.private.heads import cross_entropy
from blindtune.private.mixing import Mixing
from blindtune.private.penalties.distance import distance_correlation_loss
from blindtune.private.penalties.penalty import DistancePenalty
from blindtune.private.private_model import Home
from blindtune.private.pslf import draw_pseudo_labels
from blindtune.private.secret import SecretStream
from blindtune.private.tasks import Classification, Regression
from blindtune.training.factory import draw_labels, fresh_home, make_penalty, make_task
from blindtune.training.settings import Settings


def exact_home(settings: Settings, classes: int, secret: SecretStream, task: Any = None) -> Home:
    """In float64, with weights large enough to bend the head."""
    home = fresh_home(settings, H, classes, secret, task)
    home.mixing = Mixing(home.mixing.weights.astype(np.float64))
    for head in [home.head, *([home.pseudo.head] if home.pseudo else [])]:
        head.parameters[:] = [p.astype(np.float64) * 20 for p in head.parameters]
    return home


# Distance correlation.


@pytest.mark.parametrize("classes", [2, 4])
def test_distance_correlation_gradient(classes: int) -> None:
    a, labels = batch(classes)
    a[3] = a[2]  # two rows at no distance
    found = distance_correlation_loss(a, labels)
    assert found is not None
    loss = lambda: distance_correlation_loss(a, labels)[0]  # type: ignore[index]  # noqa: E731
    np.testing.assert_allclose(
        found[1][[0, 1, *range(4, B)]], finite_difference(loss, a)[[0, 1, *range(4, B)]], atol=1e-8
    )
    assert np.isfinite(found[1]).all()


def test_distance_correlation_is_that_of_the_definition() -> None:
    """1 (log 0) for distances that agree, written out for others; small for unrelated points."""
    labels = np.arange(B) % 2
    same = distance_correlation_loss(labels[:, None] * 3.0, labels)
    assert same is not None and same[0] == pytest.approx(0.0, abs=1e-12)
    a, _ = batch(2)
    x = np.array([[np.sqrt(np.sum((p - q) ** 2)) for q in a] for p in a])
    y = np.array([[abs(float(p) - float(q)) for q in labels] for p in labels])
    x, y = (d - d.mean(0) - d.mean(1)[:, None] + d.mean() for d in (x, y))
    found = distance_correlation_loss(a, labels)
    assert found is not None
    assert found[0] == pytest.approx(np.log(np.mean(x * y) / np.sqrt(np.mean(x * x) * np.mean(y * y))), rel=1e-10)


def test_distance_penalty_has_activations_and_shifts_and_skips_what_lacks_a_class() -> None:
    rng = np.random.default_rng(4)
    activations, base = [rng.normal(size=(B, H)) for _ in range(2)], rng.normal(size=(B, H))
    settings = Settings(method="dc", activation_dc_weight=0.2, shift_dc_weight=0.5, ramp_steps=0)
    penalty = make_penalty(settings, 2, SecretStream(b"unused"), H)
    assert isinstance(penalty, DistancePenalty) and penalty.needs_base
    labels = np.arange(B) % 2
    loss, gradients = penalty.penalty(activations, base, labels, 0)
    parts = [distance_correlation_loss(h, labels) for h in (*activations, *(h - base for h in activations))]
    assert loss == pytest.approx(sum(w * p[0] for w, p in zip((0.2, 0.2, 0.5, 0.5), parts, strict=True) if p))
    for h, gradient in zip(activations, gradients, strict=True):
        expected = finite_difference(lambda: penalty.penalty(activations, base, labels, 0)[0], h)
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
    none, zeros = penalty.penalty(activations, base, np.zeros(B, np.int64), 0)
    assert none == 0.0 and not any(g.any() for g in zeros)
    assert distance_correlation_loss(np.ones((B, H)), labels) is None, "points that all coincide"


# PSLF.


@pytest.mark.parametrize("share", [0.5, 0.2, 0.001])
def test_pseudo_labels_keep_the_authors_odds(share: float, secret: SecretStream) -> None:
    labels = (np.arange(20_000) < 20_000 * share).astype(np.int64)
    pseudo = draw_pseudo_labels(labels, 1.0, 10, secret)
    negative = 10 - min(max(round(share * 10), 1), 9)
    assert set(pseudo) == set(range(10))
    kept = np.mean((pseudo >= negative) == (labels == 1))
    assert kept == pytest.approx(1 - 1 / (np.e + 1), abs=0.015)
    counts = np.bincount(pseudo[pseudo < negative])
    assert counts.min() > 0.85 * counts.mean()
    assert np.array_equal(pseudo, draw_pseudo_labels(labels, 1.0, 10, SecretStream(secret.secret)))


@pytest.mark.parametrize("kind", ["linear", "dense-tanh-linear"])
def test_only_pseudo_labels_reach_the_adapters(kind: str, secret: SecretStream) -> None:
    rng = np.random.default_rng(5)
    h, labels, pseudo = rng.normal(size=(B, H)), np.arange(B) % 2, rng.integers(0, 10, B)
    settings = Settings(method="pslf", head=kind).resolve(1)
    home = exact_home(settings, 2, secret)
    assert home.pseudo is not None
    found = home.step([h], None, labels, 0, pseudo)

    def pseudo_loss() -> float:
        assert home.pseudo is not None
        return cross_entropy(home.pseudo.head.forward(h), pseudo)[0]

    np.testing.assert_allclose(found.activation_gradients[0], finite_difference(pseudo_loss, h), atol=1e-7)
    swapped = home.step([h], None, 1 - labels, 0, pseudo)
    assert np.array_equal(swapped.activation_gradients[0], found.activation_gradients[0])
    assert not np.array_equal(swapped.head_gradients[0], found.head_gradients[0])
    for value, gradient in zip(home.parameters.values(), found.head_gradients, strict=True):
        expected = finite_difference(lambda: home.step([h], None, labels, 0, pseudo).loss, value)
        np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_pslf_is_for_two_classes() -> None:
    three = Dataset(("a", "b", "c"), np.arange(3), ("x", "y", "z"))
    with pytest.raises(SettingsError, match="two classes"):
        make_task(three, Settings(method="pslf"))
    values = Dataset(("a", "b"), np.arange(2), ("below", "above"), np.array([0.5, 2.5], np.float32))
    with pytest.raises(SettingsError, match="two classes"):
        make_task(values, Settings(method="pslf"))
    with pytest.raises(SettingsError, match="regression has none"):
        make_task(values, Settings(label_epsilon=1.0))


# The whole step, and its gradient under other labels.


@pytest.mark.parametrize("epsilon", [None, 1.0])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("coefficients", ["antisymmetric_n01", "averaged"])
def test_step_gradients_of_dc(epsilon: float | None, classes: int, coefficients: str, secret: SecretStream) -> None:
    rng = np.random.default_rng(6)
    activations, base, labels = (
        [rng.normal(size=(B, H)) for _ in range(3)],
        rng.normal(size=(B, H)),
        np.arange(B) % classes,
    )
    settings = Settings(
        method="dc", adapter_sets=3, ramp_steps=0, label_epsilon=epsilon, coefficients=coefficients, mult_std=0.5
    )
    home = exact_home(settings, classes, secret)
    found = home.step(activations, base, labels, 0)
    for h, gradient in zip(activations, found.activation_gradients, strict=True):
        expected = finite_difference(lambda: home.step(activations, base, labels, 0).loss, h)
        np.testing.assert_allclose(gradient, expected, atol=2e-6)
    for value, gradient in zip(home.parameters.values(), found.head_gradients, strict=True):
        expected = finite_difference(lambda: home.step(activations, base, labels, 0).loss, value)
        np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_step_gradients_of_a_regression(secret: SecretStream) -> None:
    rng = np.random.default_rng(7)
    activations, values = [rng.normal(size=(B, H)) for _ in range(2)], rng.normal(3.0, 2.0, size=B)
    task = Regression.of(values)
    settings = Settings(regularizer="probe", activation_weight=0, shift_weight=0, difference_weight=0)
    home = exact_home(settings, 2, secret, task)
    found = home.step(activations, None, values, 0)
    outputs = home.outputs(activations)
    assert outputs.shape == (B, 1)
    assert found.task_loss == pytest.approx(np.mean((task.values(outputs) - values) ** 2) / task.spread**2, rel=1e-5)
    for h, gradient in zip(activations, found.activation_gradients, strict=True):
        expected = finite_difference(lambda: home.step(activations, None, values, 0).loss, h)
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_regression_guards_the_upper_half(secret: SecretStream) -> None:
    rng = np.random.default_rng(8)
    activations, values = [rng.normal(size=(B, H)) for _ in range(2)], rng.normal(3.0, 2.0, size=B)
    task = Regression.of(values)
    home = exact_home(Settings(ramp_steps=0, regularizer="probe"), 2, secret, task)
    expected = home.penalty.penalty(activations, activations[0], (values > np.median(values)).astype(np.int64), 0)[0]
    assert home.step(activations, activations[0], values, 0).regularizer_loss == expected > 0


@pytest.mark.parametrize("classes", [2, 3])
def test_a_decoy_is_the_gradient_of_a_model_as_sure_of_other_labels(classes: int, secret: SecretStream) -> None:
    """Two classes and a linear head without regularizer: the rows whose label changes turn round, and no other."""
    rng = np.random.default_rng(9)
    h, labels = rng.normal(size=(B, H)), np.arange(B) % classes
    other = rng.permutation(labels)
    home = exact_home(Settings(method="lora", head="linear").resolve(1), classes, secret)
    step = home.step([h], None, labels, 0)
    (plain,), (decoy,) = step.activation_gradients, step.relabelled(other)
    np.testing.assert_array_equal(decoy[other == labels], plain[other == labels])
    if classes == 2:
        np.testing.assert_allclose(decoy[other != labels], -plain[other != labels], atol=1e-12)
    weight = home.head.parameters[0]
    for gradient, shown in ((plain, labels), (decoy, other)):
        by_logit = np.linalg.lstsq(weight.T, gradient.T, rcond=None)[0].T
        by_logit -= by_logit.mean(axis=1, keepdims=True)
        assert np.array_equal(by_logit.argmin(axis=1), shown), "only the shown label's logit is pushed up"


def test_relabelled_gradients_have_the_penalty_of_the_other_labels(secret: SecretStream) -> None:
    rng = np.random.default_rng(10)
    activations, labels = [rng.normal(size=(B, H)) for _ in range(2)], np.arange(B) % 3
    other = np.roll(labels, 1)
    home = exact_home(Settings(ramp_steps=0, regularizer="probe"), 3, secret)
    step = home.step(activations, activations[1], labels, 0)
    assert not np.allclose(step.relabelled(other)[0], step.activation_gradients[0])
    home.head.parameters[-2][...] = 0.0  # no task gradient: the penalty's alone
    bare = home.step(activations, activations[1], labels, 0).relabelled(other)
    expected = home.penalty.penalty(activations, activations[1], other, 0)[1]
    for a, b in zip(bare, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("regression", [False, True])
def test_of_two_sides_a_row_turns_round(regression: bool, secret: SecretStream) -> None:
    """Under the probes too: with z for -z and the flipped label for the label, their gradient changes its sign."""
    rng = np.random.default_rng(11)
    activations, labels = [rng.normal(size=(B, H)) for _ in range(2)], np.arange(B) % 2
    values = labels + rng.uniform(0.1, 0.4, B)
    task = Regression.of(values) if regression else None
    home = exact_home(Settings(ramp_steps=0, regularizer="probe"), 2, secret, task)
    step = home.step(activations, activations[1], values if regression else labels, 0)
    changed = np.arange(B) < 5
    for plain, decoy in zip(step.activation_gradients, step.relabelled(labels ^ changed), strict=True):
        np.testing.assert_array_equal(decoy[changed], -plain[changed])
        np.testing.assert_array_equal(decoy[~changed], plain[~changed])


# What the labels of a run are.


def test_labels_of_a_run(secret: SecretStream) -> None:
    data = Dataset(tuple(f"word{k % 7} text {k}" for k in range(300)), np.arange(300) % 3, ("a", "b", "c"))
    settings = Settings(label_epsilon=1.0).resolve(1)
    task = make_task(data, settings)
    labels = draw_labels(data, settings, task, secret)
    assert isinstance(task, Classification) and task.transition is not None
    assert np.array_equal(labels.true, data.labels) and not np.array_equal(labels.targets, data.labels)
    assert len(labels.decoys) == 3 and all(
        np.array_equal(np.bincount(d), np.bincount(labels.targets)) for d in labels.decoys
    ), "decoys know the flipped labels, not the true ones"
    again = draw_labels(data, settings, task, SecretStream(secret.secret)).take(np.array([5, 1]))
    assert np.array_equal(again.targets, labels.targets[[5, 1]])
    plain = Settings().resolve(2)
    assert draw_labels(data, plain, make_task(data, plain), secret).decoys == ()


def test_averaged_weights_are_the_authors() -> None:
    mixing = Mixing.fresh("averaged", (4, 3), SecretStream(b"any"), 0.4)
    np.testing.assert_allclose(mixing.weights, 10**0.2 / 4, rtol=1e-6)
    h = [np.full((2, 3), k, np.float32) for k in range(4)]
    np.testing.assert_allclose(mixing.mix(h), 1.5 * 10**0.2, rtol=1e-6)
    with pytest.raises(ValueError, match="coefficients"):
        Mixing.fresh("other", (2, 3), SecretStream(b"any"))


def test_regression_scores() -> None:
    task = Regression.of(np.array([1.0, 2.0, 3.0, 6.0], np.float32))
    assert (task.mean, task.median) == (3.0, 2.5)
    outputs = ((np.array([1.5, 2.0, 2.0, 9.0]) - task.mean) / task.spread).astype(np.float32)[:, None]
    scores = task.scores(outputs, np.array([1.0, 2.0, 3.0, 6.0], np.float32))
    assert scores["rmse"] == pytest.approx(np.sqrt((0.25 + 0 + 1 + 9) / 4), rel=1e-5)
    assert scores["accuracy"] == 0.75 and 0.9 < scores["spearman"] < 1.0
    assert task.scores(np.zeros((2, 1), np.float32), np.array([1.0, 2.0], np.float32))["spearman"] == 0.0
    assert Regression.of(np.array([2.0, 2.0], np.float32)).spread == 1.0
