"""Every hand-written gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from blindtune.private.heads import HEADS, cross_entropy, make_head
from blindtune.private.mixing import Mixing
from blindtune.private.penalties.probe import Probe, RegularizerWeights, fit_probe, probe_loss, regularize
from blindtune.private.penalties.schedules import WeightSchedule
from blindtune.private.secret import SecretStream
from blindtune.training.factory import fresh_home
from blindtune.training.settings import Settings

B, H = 12, 5


def finite_difference(f: Callable[[], float], array: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        old = array[index]
        array[index] = old + eps
        above = f()
        array[index] = old - eps
        gradient[index] = (above - f()) / (2 * eps)
        array[index] = old
    return gradient


def batch(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(B, H)), np.arange(B) % classes


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("classes", [2, 3])
def test_head_gradients(kind: str, classes: int, secret: SecretStream) -> None:
    h, labels = batch(classes)
    head = make_head(kind, H, classes, secret)
    head.parameters[:] = [p.astype(np.float64) * 20 for p in head.parameters]  # type: ignore[misc]

    def loss() -> float:
        return cross_entropy(head.forward(h), labels)[0]

    dh, gradients = head.backward(h, cross_entropy(head.forward(h), labels)[1])
    np.testing.assert_allclose(dh, finite_difference(loss, h), atol=1e-8)
    for parameter, gradient in zip(head.parameters, gradients, strict=True):
        np.testing.assert_allclose(gradient, finite_difference(loss, parameter), atol=1e-8)


@pytest.mark.parametrize("classes", [2, 4])
def test_regularizer_gradient_with_the_probe_held(classes: int) -> None:
    a, labels = batch(classes)
    probe = fit_probe(a, labels, classes)
    assert probe is not None
    _, gradient = probe_loss(a, labels, probe)
    np.testing.assert_allclose(gradient, finite_difference(lambda: probe_loss(a, labels, probe)[0], a), atol=1e-8)


def test_regularizer_pulls_towards_the_other_label() -> None:
    """Two classes: the cross entropy towards 1 - y, averaged over the batch, written out."""
    a, labels = batch(2)
    weight, bias = np.array([[1.0, -2.0, 0.5, 0.0, 3.0]]), np.array([0.1])
    p = 1 / (1 + np.exp(-(a @ weight[0] + bias[0])))
    flipped = 1 - labels
    expected = -np.mean(flipped * np.log(p) + (1 - flipped) * np.log(1 - p))
    assert probe_loss(a, labels, Probe(weight, bias))[0] == pytest.approx(expected, rel=1e-12)


def test_regularizer_negates_the_logits_of_many_classes() -> None:
    a, labels = batch(3)
    rng = np.random.default_rng(2)
    weight, bias = rng.normal(size=(3, H)), rng.normal(size=3)
    z = -(a @ weight.T + bias)
    expected = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(B), labels])
    assert probe_loss(a, labels, Probe(weight, bias))[0] == pytest.approx(expected, rel=1e-12)


def test_a_batch_lacking_a_class_is_not_regularized() -> None:
    a, _ = batch(2)
    loss, gradients = regularize([a, a], a, np.zeros(B, np.int64), 2, (1.0, 1.0, 1.0))
    assert loss == 0.0
    assert all(not g.any() for g in gradients)


def test_regularizer_weights_ramp() -> None:
    weights, schedule = RegularizerWeights(0.3, 0.2, 0.1), WeightSchedule("ramp", 200)
    assert weights.scaled(schedule.at(0)) == (0.0, 0.0, 0.0)
    assert weights.scaled(schedule.at(100)) == pytest.approx((0.15, 0.1, 0.05))
    assert weights.scaled(schedule.at(500)) == (0.3, 0.2, 0.1)


@pytest.mark.parametrize("classes", [2, 3])
def test_whole_step_gradient(classes: int, secret: SecretStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """dL/dh_i through mixing, head and all three regularizers, with the probes of the first call held constant."""
    probes: list[Probe | None] = []
    replay: list[Probe | None] = []
    monkeypatch.setattr(
        "blindtune.private.penalties.probe.fit_probe",
        lambda *a: replay.pop(0) if replay else probes.append(fit_probe(*a)) or probes[-1],
    )
    rng = np.random.default_rng(3)
    activations = [rng.normal(size=(B, H)) for _ in range(3)]
    base, labels = rng.normal(size=(B, H)), np.arange(B) % classes
    home = fresh_home(Settings(adapter_sets=3, ramp_steps=0, regularizer="probe"), H, classes, secret)
    home.mixing = Mixing(home.mixing.weights.astype(np.float64))
    home.head.parameters[:] = [p.astype(np.float64) * 20 for p in home.head.parameters]

    found = home.step(activations, base, labels, 0).activation_gradients
    assert len(probes) == 3 + 3 + 3

    def loss() -> float:
        replay[:] = probes
        return home.step(activations, base, labels, 0).loss

    for h, gradient in zip(activations, found, strict=True):
        np.testing.assert_allclose(gradient, finite_difference(loss, h), atol=2e-6)


@pytest.mark.parametrize("regularizer", ["probe", "camouflage"])
@pytest.mark.parametrize("method", ["p3eft", "pslf"])
def test_the_gradient_of_mixing_weights(method: str, regularizer: str, secret: SecretStream) -> None:
    """dL/dw_i is in the place of its parameter, for the camouflage of what the head sees alone."""
    rng = np.random.default_rng(4)
    settings = Settings(adapter_sets=2, regularizer=regularizer, decoy_features=3, train_coefficients=True)
    home = fresh_home(replace(settings, method=method, pslf_labels=4), H, 2, secret)
    blind = None if home.mixing.blind is None else home.mixing.blind.astype(np.float64)
    home.mixing = Mixing(home.mixing.weights.astype(np.float64), blind, trained=True)
    for head in [home.head, *([home.pseudo.head] if home.pseudo else [])]:
        head.parameters[:] = [p.astype(np.float64) * 20 for p in head.parameters]
    activations = [rng.normal(size=(B, H)) for _ in home.mixing.weights]
    labels, pseudo = np.arange(B) % 2, np.arange(B) % 4

    def loss() -> float:
        """Of what trains the adapters: under pslf the pseudo head's."""
        h = home.mixing.mix(activations)
        if home.pseudo is not None:
            return home.pseudo.step(h, pseudo)[0]
        return home.task.loss(home.head.forward(h), labels)[0]

    found = home.step(activations, rng.normal(size=(B, H)), labels, 0, pseudo)
    gradients = dict(zip(home.parameters, found.head_gradients, strict=True))
    np.testing.assert_allclose(gradients["mixing"], finite_difference(loss, home.mixing.weights), atol=2e-6)


@pytest.mark.parametrize("sets", [1, 2, 3, 5])
def test_mixing_weights_sum_to_one(sets: int, secret: SecretStream) -> None:
    mixing = Mixing.antisymmetric(sets, 1000, secret, mult_std=1.0)
    np.testing.assert_allclose(mixing.weights.sum(axis=0), 1.0, atol=1e-4)
    if sets == 2:
        assert np.std(mixing.weights[0]) == pytest.approx(10**0.5, rel=0.1)
    same = Mixing.antisymmetric(sets, 1000, SecretStream(secret.secret), mult_std=1.0)
    assert np.array_equal(mixing.weights, same.weights)
