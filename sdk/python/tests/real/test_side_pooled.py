"""Side pooled against a real host: its vectors are those of the tokens, by calls and by a job, and they teach it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blindtune import Client, Dataset, Tuner
from blindtune.data import Text
from blindtune.features import FeatureSource, FeatureStore, download, download_by_job, picks_of

from .conftest import MODEL, RealHost
from .test_training import notes

TEXTS: list[Text] = ["the man is well again", "cough"]
PAIRS: list[Text] = [("does it hurt?", "the woman has strong pain today"), ("cough", "no")]


@pytest.mark.parametrize("texts", [TEXTS, PAIRS])
def test_its_vectors_are_those_of_the_tokens(hosts: list[RealHost], tmp_path: Path, texts: list[Text]) -> None:
    client = hosts[0].client()
    picks = picks_of(client, MODEL)
    assert picks == ("cls", "max", "mean")
    every, few = FeatureSource(client, MODEL), FeatureSource(client, MODEL, tokens=picks)
    made = {"first": lambda x: x[0], "max": lambda x: x.max(axis=0), "mean": lambda x: x.mean(axis=0, dtype=np.float32)}
    for fetch, folder in ((download, "calls"), (download_by_job, "job")):
        store = FeatureStore(tmp_path / folder)
        for source in (every, few):
            fetch(source, texts, store)
        tokens, found = (store.read([source.key(text) for text in texts]) for source in (every, few))
        assert len(found.levels) == 3 * len(tokens.levels) == 21
        for row in range(len(texts)):
            one = tokens.take(np.array([row]))
            for level, states in enumerate(one.levels):
                for k, of in enumerate(made.values()):
                    near = 4e-3 * float(np.abs(states).max())
                    np.testing.assert_allclose(found.levels[3 * level + k][row], of(states), atol=near)


def test_it_learns_what_the_labels_teach(hosts: list[RealHost], tmp_path: Path) -> None:
    client, data, dev = hosts[0].client(), notes(200), notes(120, seed=1)
    mine = _run(client, tmp_path / "run", data)
    opposite = _run(client, tmp_path / "opposite", Dataset(data.texts, 1 - data.labels, data.label_names))
    assert mine.evaluate(dev)["accuracy"] > 0.95 and opposite.evaluate(dev)["accuracy"] < 0.05
    again = Tuner.load(tmp_path / "run", [client], progress=False)
    assert again.predict(dev.texts[:5]) == mine.predict(dev.texts[:5])


def _run(client: Client, folder: Path, data: Dataset) -> Tuner:
    how = {"epochs": 10, "networks": 1, "batch_size": 16}
    tuner = Tuner(MODEL, [client], method="side", side="pooled", run=folder, progress=False, **how)
    tuner.fit(data)
    return tuner
