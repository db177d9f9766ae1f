"""Tuners and classifiers through pickle and joblib: they predict as before, and no key goes with them."""

from __future__ import annotations

import io
import pickle
from typing import Any

import joblib
import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, RunError, Tuner
from blindtune.sklearn import PrivateClassifier

TEXTS = ["good lovely film", "awful dull plot", "the music"]
KEY = "a-very-secret-key"
SETTINGS: dict[str, dict[str, Any]] = {
    "p3eft": {"steps": 4, "batch_size": 16},
    "frozen": {"steps": 4, "batch_size": 16},
    "side": {"epochs": 1, "networks": 1},
    "auto": {"epochs": 1, "networks": 1},
}


@pytest.mark.parametrize("method", SETTINGS)
def test_a_tuner_predicts_as_before(fake_host: FakeHost, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "another-key")
    url = fake_host.url.replace("http://", "http://me:hidden@")
    tuner = Tuner("toy", [Client(url, KEY)], method=method, progress=False, **SETTINGS[method])
    tuner.fit(sentiment(80))
    expected = tuner.predict_proba(TEXTS)
    content = pickle.dumps(tuner)
    assert KEY.encode() not in content and b"hidden@" not in content
    del tuner
    copy = pickle.loads(content)
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), expected)
    assert copy.clients[0]._http.headers["authorization"] == "Bearer another-key"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(copy)).predict_proba(TEXTS), expected)


def test_one_that_learned_nothing_has_nothing_to_pickle(fake_host: FakeHost) -> None:
    with pytest.raises(RunError, match="not trained yet"):
        pickle.dumps(Tuner("toy", [Client(fake_host.url, KEY)]))


def test_a_client_is_connected_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(Client("http://me:hidden@host:1", KEY))
    assert KEY.encode() not in content and b"hidden" not in content
    assert pickle.loads(content).base_url == "http://host:1/v1/"


def test_a_classifier_goes_through_joblib(fake_host: FakeHost) -> None:
    data, file = sentiment(80), io.BytesIO()
    mine = PrivateClassifier("toy", hosts=[Client(fake_host.url, KEY)], method="side", epochs=1, networks=1)
    joblib.dump(mine, file)
    mine.fit(data.texts, data.labels)
    expected = mine.predict_proba(TEXTS)
    file = io.BytesIO()
    joblib.dump(mine, file)
    assert KEY.encode() not in file.getvalue()
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict_proba(TEXTS), expected)
