"""PrivateClassifier keeps scikit-learn's conventions: parameters, clones, pipelines, cross-validation, grids."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from blindtune import Client, SettingsError
from blindtune.sklearn import PrivateClassifier

SMALL = {"steps": 80, "batch_size": 32, "ramp_steps": 20, "lr": 0.02, "method": "lora"}


def texts_and_names(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    data = sentiment(count, seed)
    return list(data.texts), np.array(data.label_names)[data.labels]


def lower(texts: list[str]) -> list[str]:
    return [text.lower() for text in texts]


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


def test_it_learns_and_answers_in_the_labels_it_was_given(client: Client) -> None:
    texts, names = texts_and_names(400)
    model = PrivateClassifier("toy", [client], **SMALL).fit(texts, names)
    fresh, truth = texts_and_names(1000, seed=1)
    assert model.classes_.tolist() == ["negative", "positive"]
    assert set(model.predict(fresh)) == {"negative", "positive"}
    assert model.score(fresh, truth) > 0.85
    found = model.predict_proba(fresh)
    assert found.shape == (1000, 2) and np.allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_labels_may_be_numbers_and_texts_pairs(client: Client) -> None:
    texts, names = texts_and_names(200)
    pairs = [(text, "and so on") for text in texts]
    model = PrivateClassifier("toy", [client], **(SMALL | {"steps": 20})).fit(
        pairs, np.where(names == "positive", 7, 10)
    )
    assert model.classes_.tolist() == [7, 10]
    assert set(model.predict(np.array(pairs[:20]))) <= {7, 10}


def test_parameters_and_clones(client: Client) -> None:
    model = PrivateClassifier("toy", [client], lr=0.1, steps=5)
    assert model.get_params() == {"model": "toy", "hosts": [client], "lr": 0.1, "steps": 5}
    assert model.set_params(lr=0.2, rank=4) is model and model.get_params()["rank"] == 4
    twin = clone(model)
    assert twin is not model and twin.get_params() == model.get_params() and twin.hosts[0] is client
    twin.set_params(lr=0.3)
    assert model.get_params()["lr"] == 0.2
    assert "lr=0.2" in repr(model) and "key" not in repr(model)
    with pytest.raises(SettingsError, match="unknown setting 'learning_rate'"):
        PrivateClassifier("toy", [client], learning_rate=0.1)
    with pytest.raises(SettingsError, match="unknown setting 'nonsense'"):
        model.set_params(nonsense=1)
    with pytest.raises(NotFittedError):
        model.predict(["a"])


def test_pipelines_and_cross_validation(client: Client) -> None:
    texts, names = texts_and_names(300)
    pipeline = make_pipeline(FunctionTransformer(lower), PrivateClassifier("toy", [client], **SMALL))
    scores = cross_val_score(pipeline, [text.upper() for text in texts], names, cv=3)
    assert len(scores) == 3 and scores.mean() > 0.8


def test_a_grid_over_a_setting(client: Client) -> None:
    texts, names = texts_and_names(200)
    grid = GridSearchCV(PrivateClassifier("toy", [client], **SMALL), {"lr": [1e-6, 0.02]}, cv=2).fit(texts, names)
    assert grid.best_params_ == {"lr": 0.02} and grid.score(texts, names) > 0.8


def test_no_label_travels(fake_host: FakeHost) -> None:
    texts, names = texts_and_names(64)
    PrivateClassifier("toy", [Client(fake_host.url, "key")], **(SMALL | {"steps": 2})).fit(texts, names)
    for _, _, body in fake_host.seen:
        assert b"positive" not in body and b"negative" not in body


@pytest.mark.drops_objects
def test_what_is_dropped_leaves_no_open_job(fake_host: FakeHost) -> None:
    texts, names = texts_and_names(64)
    model = PrivateClassifier("toy", [Client(fake_host.url, "key")], **(SMALL | {"steps": 2})).fit(texts, names)
    asked = lambda: [path for method, path, _ in fake_host.seen if method == "POST" and path.endswith("/cancel")]  # noqa: E731
    gc.collect()
    assert not asked()
    del model
    gc.collect()
    assert len(asked()) == 1
