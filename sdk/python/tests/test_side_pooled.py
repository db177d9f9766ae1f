"""Side pooled: a few vectors a text instead of its tokens, an MLP with exact gradients, and fewer bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_features import LEVELS, states
from fake_host import FakeHost
from test_side import check_gradients

from blindtune import Client, Dataset, RunError, SettingsError, Tuner
from blindtune.cli import main
from blindtune.data.taps import Taps
from blindtune.export import load_export
from blindtune.features import FeatureSource, FeatureStore, Transform, download, picks_of
from blindtune.private.secret import SecretStream
from blindtune.private.side import SideModel, SideSettings, fit_side
from blindtune.private.side.network import Regularization, Shape
from blindtune.private.side.pooled import Pooled
from blindtune.private.tasks import Classification

SMALL: dict[str, Any] = {"method": "side", "side": "pooled", "epochs": 12, "networks": 2, "batch_size": 32, "lr": 0.01}
PICKS = ("cls", "max", "mean")


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


def some_vectors(rows: int, seed: int, levels: int = 3, features: int = 8) -> Taps:
    """One random vector a text and level."""
    rng = np.random.default_rng(seed)
    return Taps.of([rng.normal(size=(rows, features)).astype(np.float32) for _ in range(levels)], np.ones(rows, int))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(dropout: float) -> None:
    network = Pooled.fresh(Shape(3, 8, 3, width=4), SecretStream(b"g"), Regularization(dropout))
    check_gradients(network, some_vectors(5, 0))


def test_what_lies_in_one_vector_of_one_level_is_found() -> None:
    """The label is the sign of a product of two features: no linear network finds it."""
    train, fresh = some_vectors(2000, 1), some_vectors(500, 2)

    def label(taps: Taps) -> np.ndarray:
        return np.asarray(taps.levels[1][:, 0] * taps.levels[1][:, 3] > 0, dtype=np.int64)

    settings = SideSettings(kind="pooled", batch_size=32, lr=5e-3, regularization=Regularization(0.1))
    model = fit_side(train, label(train), Classification(2), settings, SecretStream(b"f"))
    assert np.mean(model.outputs(fresh).argmax(axis=1) == label(fresh)) > 0.85
    luck = fit_side(train, label(fresh)[np.arange(2000) % 500], Classification(2), settings, SecretStream(b"f"))
    assert np.mean(luck.outputs(fresh).argmax(axis=1) == label(fresh)) < 0.6
    restored = SideModel.of({name: value.copy() for name, value in model.parameters().items()})
    np.testing.assert_array_equal(restored.outputs(fresh), model.outputs(fresh))


def test_tokens_are_refused() -> None:
    network = Pooled.fresh(Shape(1, 4, 2), SecretStream(b"e"), Regularization())
    with pytest.raises(ValueError, match="side pooled reads one vector a text and level, not 3"):
        network.outputs(Taps.of([np.ones((4, 4), np.float32)], np.array([1, 3])))


def test_it_learns_from_a_few_vectors_and_is_saved_and_exported(
    client: Client, fake_host: FakeHost, tmp_path: Path
) -> None:
    tuner = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    tuner.fit(sentiment(400))
    fresh = sentiment(300, seed=1)
    assert tuner.evaluate(fresh)["accuracy"] > 0.85
    asked = [json.loads(body)["tokens"] for _, path, body in fake_host.seen if path == "/v1/activations"]
    assert asked and all(tokens == list(PICKS) for tokens in asked)
    expected = tuner.predict_proba(fresh.texts[:20])
    loaded = Tuner.load(tmp_path / "run", [client], progress=False)
    np.testing.assert_array_equal(loaded.predict_proba(fresh.texts[:20]), expected)
    tuner.export(tmp_path / "out")
    np.testing.assert_array_equal(load_export(tmp_path / "out", client).predict_proba(fresh.texts[:20]), expected)
    mean = states(list(fresh.texts[:7]), LEVELS - 1, "mean")[f"hidden.{LEVELS - 1}.mean"]
    np.testing.assert_allclose(tuner.activations(fresh.texts[:7])[0][0], mean, atol=2e-3)
    assert tuner.audit(fresh, quick=True).activations is not None


@pytest.mark.parametrize("fetch", [{}, {"fetch": "job"}, {"feature_dtype": "int8"}, {"project": "pca:6"}])
def test_every_way_of_fetching_serves_it(client: Client, fetch: dict[str, Any], tmp_path: Path) -> None:
    tuner = Tuner("toy", [client], run=tmp_path, progress=False, **(SMALL | fetch))
    tuner.fit(sentiment(400))
    fresh = sentiment(300, seed=1)
    assert tuner.evaluate(fresh)["accuracy"] > 0.7
    if "project" not in fetch:
        mean = states(list(fresh.texts[:7]), LEVELS - 1, "mean")[f"hidden.{LEVELS - 1}.mean"]
        np.testing.assert_allclose(tuner.activations(fresh.texts[:7])[0][0], mean, atol=0.05)


def test_what_is_summed_up_of_8_bits_is_the_mean_in_its_own_unit() -> None:
    """In whatever order a file has its tensors."""
    scales = {f"scale.{name}": np.float32(k) for k, name in enumerate(("1.cls", "0.mean", "1.mean", "1.max"), 1)}
    for names in (list(scales), list(scales)[::-1]):
        transform = Transform("job", {name: scales[name] for name in names})
        assert transform.in_units_of_the_last_level(np.ones(2, np.int8)).tolist() == [3.0, 3.0]


def test_the_store_keeps_vectors_and_tokens_apart(client: Client, tmp_path: Path) -> None:
    texts, store = list(sentiment(20).texts), FeatureStore(tmp_path)
    every, few = FeatureSource(client, "toy"), FeatureSource(client, "toy", tokens=picks_of(client, "toy"))
    assert not {every.key(text) for text in texts} & {few.key(text) for text in texts}
    for source in (few, every):
        download(source, texts, store)
    found = store.read([few.key(text) for text in texts])
    expected = states(texts, "all", list(PICKS))
    assert len(found.levels) == LEVELS * 3 and len(found) == len(found.levels[0]) == 20
    for k, level in enumerate(found.levels):
        name = f"hidden.{k // 3}.{PICKS[k % 3]}"
        np.testing.assert_array_equal(level, expected[name].astype(np.float16))


@pytest.mark.parametrize(("cut", "first"), [("cls", "cls"), ("mean", "cls"), ("last", "last"), ("eos", "last")])
def test_decoders_gather_a_text_in_its_last_token(
    client: Client, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch, cut: str, first: str
) -> None:
    monkeypatch.setattr(
        fake_host.features, "capabilities", lambda: {"models": [{"id": "toy", "default_pooling": cut}], "limits": {}}
    )
    assert picks_of(client, "toy") == (first, "max", "mean")
    with pytest.raises(RunError, match="has no backbone 'other'"):
        picks_of(client, "other")


def test_pairs_values_and_several_labels_are_learned(client: Client) -> None:
    texts = sentiment(200).texts
    pairs = Dataset.from_lists([(text, "and so on") for text in texts], sentiment(200).labels.tolist())
    values = Dataset.from_lists(texts, [float(len(text.split())) for text in texts], task="regression")
    sets = Dataset.from_lists(texts, [["a", "b"] if k % 2 else ["b"] for k in range(200)], task="multilabel")
    settings = SMALL | {"epochs": 3, "networks": 1}
    for data, name in ((pairs, "accuracy"), (values, "spearman"), (sets, "f1_micro")):
        tuner = Tuner("toy", [client], progress=False, **settings)
        tuner.fit(data)
        assert tuner.evaluate(data)[name] > 0.4, data.task


def test_spans_need_their_tokens(client: Client, fake_host: FakeHost) -> None:
    words = [["a", "good", "film"]] * 30
    data = Dataset.from_lists(words, [["O", "B-A", "O"]] * 30, task="tokens")
    with pytest.raises(SettingsError, match="side: spans have a network of their own"):
        Tuner("toy", [client], progress=False, **SMALL).fit(data)
    assert not fake_host.seen


def test_the_shell_says_how_little_it_is(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text("text\n" + "\n".join(sentiment(50).texts) + "\n")
    words = ["features", "estimate", "--data", str(file), "--model", "toy", "--host", fake_host.url, "--api-key", "k"]
    assert main([*words, "--json", "--side", "pooled"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert (few["tokens"], few["levels"], few["bytes"]) == (50, 3 * LEVELS, 50 * 3 * LEVELS * 16 * 2)
    assert main([*words, "--side", "pooled"]) == 0
    assert capsys.readouterr().out.startswith("50 texts, about 50 vectors, 9 levels of 16 features")
