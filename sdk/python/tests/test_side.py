"""Side networks: exact gradients, what they learn at home, and that one secret gives one network."""

from __future__ import annotations

import numpy as np
import pytest

from blindtune.data.taps import Taps
from blindtune.errors import RunError
from blindtune.private.heads import cross_entropy
from blindtune.private.secret import SecretStream
from blindtune.private.side import Epoch, SideModel, SideSettings, Told, Weighted, balanced, fit_side
from blindtune.private.side.attentive import Attentive
from blindtune.private.side.network import Regularization, Shape
from blindtune.private.side.pooled import Pooled
from blindtune.private.side.standardize import Standardize, to_float32
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


def in_the_middle(rows: int, seed: int) -> tuple[Taps, np.ndarray]:
    """Three levels, the label in every token of the second: the sign of its first feature."""
    taps = some_taps(rows, seed, levels=3)
    labels = np.random.default_rng(seed + 1000).integers(0, 2, rows)
    of_tokens = np.repeat(labels, np.diff(taps.offsets))
    taps.levels[1][:, 0] = np.abs(taps.levels[1][:, 0]) * (2 * of_tokens - 1)
    return taps, labels


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(dropout: float) -> None:
    network = Attentive.fresh(Shape(2, FEATURES, 3, heads=2, width=4), SecretStream(b"g"), Regularization(dropout))
    check_gradients(network, some_taps(5, 0))


def check_gradients(network: Attentive | Pooled, taps: Taps) -> None:
    """Those of a batch of five, along a random direction for each parameter."""
    rng = np.random.default_rng(1)
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


def test_it_learns_what_the_last_level_does_not_say() -> None:
    (train, labels), (fresh, truth) = in_the_middle(800, 5), in_the_middle(400, 6)
    found = {}
    for levels in (3, 1):
        mine, theirs = (Taps(taps.levels[-levels:], taps.offsets) for taps in (train, fresh))
        model = fit_side(mine, labels, Classification(2), SideSettings(batch_size=32, lr=5e-3), SecretStream(b"m"))
        found[levels] = float(np.mean(model.outputs(theirs).argmax(axis=1) == truth))
    assert found[3] > 0.9 and found[1] < 0.7, found


def test_input_noise_is_drawn_from_the_secret_and_is_not_there_when_predicting() -> None:
    taps, labels = marked(200, 9)
    settings = SideSettings(epochs=2, regularization=Regularization(0.0, input_noise=0.3))
    first, again = (fit_side(taps, labels, Classification(2), settings, SecretStream(b"s")) for _ in range(2))
    quiet = SideSettings(epochs=2, regularization=Regularization(0.0))
    other = fit_side(taps, labels, Classification(2), quiet, SecretStream(b"s"))
    np.testing.assert_array_equal(first.outputs(taps), again.outputs(taps))
    assert np.abs(first.outputs(taps) - other.outputs(taps)).max() > 1e-4


def test_whole_numbers_of_8_bits_are_read_as_numbers() -> None:
    check_whole_numbers("attentive")


def check_whole_numbers(kind: str) -> None:
    """In whatever units: every feature is standardised, and a power of two as its scale changes no bit."""
    rng, (taps, labels) = np.random.default_rng(2), marked(200, 9)
    whole = Taps(tuple(rng.integers(-127, 128, level.shape).astype(np.int8) for level in taps.levels), taps.offsets)
    floats = Taps(tuple(level.astype(np.float32) / 64 for level in whole.levels), taps.offsets)
    settings = SideSettings(kind, width=8, epochs=2)
    found = [fit_side(some, labels, Classification(2), settings, SecretStream(b"i")) for some in (whole, floats)]
    np.testing.assert_array_equal(found[0].outputs(whole), found[1].outputs(floats))


def test_weights_of_classes_are_those_of_their_rows() -> None:
    """Weights of 1 are the plain loss; a weight of 2 is a row twice; and the gradient is that of the loss."""
    rng = np.random.default_rng(3)
    outputs, labels = rng.normal(size=(6, 3)), np.array([0, 1, 1, 2, 0, 1])
    assert Weighted((1.0, 1.0, 1.0)).loss(outputs, labels)[0] == pytest.approx(cross_entropy(outputs, labels)[0])
    task, rows = Weighted((1.0, 2.0, 1.0)), np.array([0, 1, 1, 2, 2, 3, 4, 5, 5])
    loss, gradient = task.loss(outputs, labels)
    assert loss == pytest.approx(cross_entropy(outputs[rows], labels[rows])[0] * len(rows) / len(labels))
    step = 1e-5 * rng.normal(size=outputs.shape)
    difference = task.loss(outputs + step, labels)[0] - task.loss(outputs - step, labels)[0]
    assert difference == pytest.approx(2.0 * float((gradient * step).sum()), rel=1e-5)
    assert balanced(np.array([0, 0, 0, 1]), 2) == pytest.approx((2 / 3, 2.0))


def test_balanced_classes_find_more_rows_of_the_rare_one() -> None:
    """One row of ten is of class 1, and one feature tells a little of it."""
    rng = np.random.default_rng(5)

    def rare(rows: int, seed: int) -> tuple[Taps, np.ndarray]:
        taps = some_taps(rows, seed)
        labels = (rng.random(rows) < 0.1).astype(np.int64)
        taps.levels[1][:, 0] += np.repeat(labels, np.diff(taps.offsets))
        return taps, labels

    (train, labels), (fresh, truth) = rare(1000, 1), rare(1000, 2)
    recall = {}
    for name, task in (("plain", Classification(2)), ("balanced", Weighted(balanced(labels, 2)))):
        settings = SideSettings(batch_size=32, lr=5e-3, epochs=6)
        said = fit_side(train, labels, task, settings, SecretStream(b"w")).outputs(fresh).argmax(axis=1)
        recall[name] = float(np.mean(said[truth == 1] == 1))
    # About 100 rows of the rare class: one standard error of the difference is at most 0.07.
    assert recall["balanced"] > recall["plain"] + 0.28, recall


def test_halves_become_the_same_numbers_and_infinities_are_refused() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(to_float32(finite), finite.astype(np.float32))
    taps = some_taps(5, 0)
    taps.levels[1][3, 2] = np.inf
    with pytest.raises(RunError, match="level 1 has hidden states that are not finite"):
        Standardize.of(taps)


def test_a_text_without_tokens_is_refused() -> None:
    network = Attentive.fresh(Shape(1, FEATURES, 2), SecretStream(b"e"), Regularization())
    with pytest.raises(ValueError, match="text 1 of 3 has no tokens"):
        network.outputs(Taps.of([np.ones((5, FEATURES), np.float32)], np.array([2, 0, 3])))


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
    model = fit_side(
        taps, labels, Classification(2), settings, SecretStream(b"h"), Told(lambda _, epoch: told.append(epoch))
    )
    losses = [epoch.held_out for epoch in told if epoch.held_out is not None]
    draw = SecretStream(b"h" + (0).to_bytes(4, "big"))
    held = draw.permutation(300, "side", "held out")[:90]
    kept = Classification(2).loss(model.outputs(taps.take(held)), labels[held])[0]
    assert len(losses) == 30 and told[-1].loss < told[0].loss
    assert kept == pytest.approx(min(losses), rel=1e-4) and losses[-1] > min(losses)


def test_few_rows_are_all_trained_on() -> None:
    taps, labels = marked(40, 12)
    told: list[Epoch] = []
    fit_side(
        taps, labels, Classification(2), SideSettings(epochs=1), SecretStream(b"k"), Told(lambda _, e: told.append(e))
    )
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
