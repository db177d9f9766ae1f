"""Side networks: exact gradients, what they learn at home, and that one secret gives one network."""

from __future__ import annotations

import numpy as np
import pytest

from blindtune.data.taps import Taps
from blindtune.private.heads import cross_entropy
from blindtune.private.secret import SecretStream
from blindtune.private.side import Epoch, SideModel, SideSettings, fit_side
from blindtune.private.side.attentive import Attentive
from blindtune.private.side.network import Regularization, Shape
from blindtune.private.side.standardize import Standardize
from blindtune.private.tasks import Classification, Regression

FEATURES = 12


def some_taps(rows: int, seed: int, levels: int = 2, features: int = FEATURES) -> Taps:
    """Texts of 1 to 9 tokens, each token a random vector."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 10, rows)
    tokens = int(lengths.sum())
    return Taps.of([rng.normal(size=(tokens, features)).astype(np.float32) for _ in range(levels)], lengths)


def marked(rows: int, seed: int) -> tuple[Taps, np.ndarray]:
    """The label is the sign of one feature of the one token that another feature marks: a mean over tokens hides it."""
    taps = some_taps(rows, seed)
    rng = np.random.default_rng(seed + 1000)
    labels = rng.integers(0, 2, rows)
    level = taps.levels[1]
    level[:, 0] = 0.0
    for row in range(rows):
        token = int(rng.integers(taps.offsets[row], taps.offsets[row + 1]))
        level[token, 0] = 6.0
        level[token, 1] = 2.0 * (2 * labels[row] - 1)
    return taps, labels


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(dropout: float) -> None:
    taps, rng = some_taps(5, 0), np.random.default_rng(1)
    network = Attentive.fresh(Shape(2, FEATURES, 3, heads=2, width=4), SecretStream(b"g"), Regularization(dropout))
    network.parameters = [p.astype(np.float64) for p in network.parameters]  # type: ignore[misc]
    labels, masks = np.array([0, 2, 1, 1, 0]), network.masks(5, rng)

    def loss() -> float:
        return cross_entropy(network.forward(taps, masks).logits, labels)[0]

    passed = network.forward(taps, masks)
    gradients = network.backward(passed, cross_entropy(passed.logits, labels)[1])
    for parameter, gradient in zip(network.parameters, gradients, strict=True):
        direction = rng.normal(size=parameter.shape)
        step, start = 1e-3, parameter.copy()
        parameter[...] = start + step * direction
        above = loss()
        parameter[...] = start - step * direction
        below = loss()
        parameter[...] = start
        assert (above - below) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=2e-3, abs=2e-5)


def test_padding_changes_nothing() -> None:
    """A text gives the same logits alone and beside a longer one."""
    taps, network = some_taps(6, 3), Attentive.fresh(Shape(2, FEATURES, 2), SecretStream(b"p"), Regularization())
    together = network.forward(taps).logits
    alone = np.concatenate([network.forward(taps.take(np.array([row]))).logits for row in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_it_finds_the_token_that_matters() -> None:
    """Within reach of attention, out of reach of a mean: 20 epochs at home, rows that it never saw."""
    (train, labels), (fresh, truth) = marked(1200, 5), marked(600, 6)
    model = fit_side(train, labels, Classification(2), SideSettings(batch_size=32, lr=5e-3), SecretStream(b"f"))
    found = float(np.mean(model.outputs(fresh).argmax(axis=1) == truth))
    shuffled = np.random.default_rng(0).permutation(labels)
    luck = fit_side(train, shuffled, Classification(2), SideSettings(batch_size=32, lr=5e-3), SecretStream(b"f"))
    by_luck = float(np.mean(luck.outputs(fresh).argmax(axis=1) == truth))
    # Over ten draws 0.998 +- 0.001, and 0.49 +- 0.06 with shuffled labels.
    assert found > 0.9 and by_luck < 0.8


def test_a_regression_is_learned_as_well() -> None:
    train, fresh = some_taps(800, 7), some_taps(400, 8)

    def values(taps: Taps) -> np.ndarray:
        first = taps.levels[0][taps.offsets[:-1], 0]
        return np.asarray(first * 3.0 + 10.0, dtype=np.float32)

    task = Regression.of(values(train))
    model = fit_side(train, values(train), task, SideSettings(batch_size=32, lr=5e-3), SecretStream(b"r"))
    # Over ten draws 0.47 +- 0.04; without learning about 0 +- 0.05.
    assert task.scores(model.outputs(fresh), values(fresh))["spearman"] > 0.25


def test_one_secret_gives_one_network_and_it_comes_back() -> None:
    taps, labels = marked(200, 9)
    settings = SideSettings(epochs=2, networks=2)
    first = fit_side(taps, labels, Classification(2), settings, SecretStream(b"s"))
    again = fit_side(taps, labels, Classification(2), settings, SecretStream(b"s"))
    other = fit_side(taps, labels, Classification(2), settings, SecretStream(b"t"))
    np.testing.assert_array_equal(first.outputs(taps), again.outputs(taps))
    assert np.abs(first.outputs(taps) - other.outputs(taps)).max() > 1e-3
    restored = SideModel.of({name: value.copy() for name, value in first.parameters().items()})
    np.testing.assert_array_equal(restored.outputs(taps), first.outputs(taps))


def test_the_epoch_that_does_best_on_rows_held_out_is_kept() -> None:
    """Labels at random: every epoch fits them better, and the rows held out get worse."""
    taps = some_taps(300, 11)
    labels = np.random.default_rng(2).integers(0, 2, 300)
    told: list[Epoch] = []
    settings = SideSettings(epochs=30, lr=5e-3, batch_size=16, regularization=Regularization(dropout=0.0), held_out=0.3)
    model = fit_side(taps, labels, Classification(2), settings, SecretStream(b"h"), lambda _, epoch: told.append(epoch))
    losses = [epoch.held_out for epoch in told if epoch.held_out is not None]
    draw = SecretStream(b"h" + (0).to_bytes(4, "big"))
    held = draw.permutation(300, "side", "held out")[:90]
    kept = Classification(2).loss(model.outputs(taps.take(held)), labels[held])[0]
    assert len(losses) == 30 and told[-1].loss < told[0].loss
    assert kept == pytest.approx(min(losses), rel=1e-4) and losses[-1] > min(losses)


def test_few_rows_are_all_trained_on() -> None:
    taps, labels = marked(40, 12)
    told: list[Epoch] = []
    fit_side(taps, labels, Classification(2), SideSettings(epochs=1), SecretStream(b"k"), lambda _, e: told.append(e))
    assert [epoch.held_out for epoch in told] == [None]


def test_statistics_are_those_of_all_tokens() -> None:
    taps = some_taps(50, 13)
    ready = Standardize.of(taps).apply(taps)
    for level in ready.levels:
        np.testing.assert_allclose(level.mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(level.std(axis=0), 1.0, rtol=1e-4)
        assert level.dtype == np.float32


def test_taps_are_taken_joined_and_refused() -> None:
    taps = some_taps(7, 14)
    parts = [taps.take(np.array([0, 1, 2])), taps.take(np.array([3, 4, 5, 6]))]
    joined = Taps.joined(parts)
    np.testing.assert_array_equal(joined.levels[1], taps.levels[1])
    np.testing.assert_array_equal(joined.offsets, taps.offsets)
    with pytest.raises(ValueError, match="lengths add up to"):
        Taps.of([np.zeros((3, 2), np.float32)], np.array([1, 1]))
