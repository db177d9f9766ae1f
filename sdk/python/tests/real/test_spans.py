"""Spans against a real host: names, doses and dates in made notes, found at home by the host's tokens."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from clinical_notes import notes

from blindtune import Dataset, RunError, Tuner
from blindtune.data import from_tags, to_tags
from blindtune.private.metrics import Counts

from .conftest import MODEL, RealHost

SIDE = {"method": "side", "epochs": 15, "networks": 1, "batch_size": 16, "lr": 2e-3, "progress": False}


def by_words_alone(train: Dataset, dev: Dataset) -> float:
    """F1 of the commonest tag of each word, without its neighbours: what a list of names and units would reach."""
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    assert train.spans is not None and dev.spans is not None
    for text, spans in zip(train.texts, train.spans, strict=True):
        words = str(text).split(" ")
        for word, tag in zip(words, to_tags(words, spans), strict=True):
            tags[word][tag] += 1
    guess = []
    for text in dev.texts:
        words = str(text).split(" ")
        guess.append(from_tags(words, [tags[word].most_common(1)[0][0] if tags[word] else "O" for word in words]))
    return Counts.of_spans(dev.spans, guess, dev.label_names).micro()["f1_micro"]


def test_it_finds_names_doses_and_dates_that_it_never_saw(hosts: list[RealHost], tmp_path: Path) -> None:
    client, train, dev = hosts[0].client(), notes(300), notes(300, seed=1)
    backbone = os.environ["BLINDTUNE_MINILM"]
    tuner = Tuner(MODEL, [client], run=tmp_path / "run", tokenizer=backbone, **SIDE)
    tuner.fit(train)
    found, control = tuner.evaluate(dev)["f1_micro"], by_words_alone(train, dev)
    # Over three draws of notes and secrets 0.987 +- 0.002, and 0.36 +- 0.02 of words alone.
    assert found >= 0.9 and found > control + 0.2
    again = Tuner.load(tmp_path / "run", [client], progress=False)
    assert again.predict(dev.texts[:5]) == tuner.predict(dev.texts[:5])


def test_tokens_are_cut_where_the_host_cuts_them(hosts: list[RealHost], tmp_path: Path) -> None:
    """Accents, capitals, emoji and two scripts; a token more or less is refused."""
    texts = [
        "Zo\u00eb D\u2019Arcy took 5 mg \U0001f600 at 8:30",
        "\u6771\u4eac and Stra\u00dfe",
        "dose " * 60 + "end",
        "a",
    ]
    spans = [[{"start": 0, "end": 10, "label": "NAME"}], [], [], []]
    data = Dataset.from_lists(texts, spans, task="tokens")
    tuner = Tuner(MODEL, [hosts[0].client()], tokenizer=os.environ["BLINDTUNE_MINILM"], **(SIDE | {"epochs": 30}))
    tuner.fit(Dataset(data.texts * 8, np.tile(data.labels, 8), data.label_names, spans=data.spans * 8))  # type: ignore[operator]
    assert [(s.start, s.end) for s in tuner.predict(texts)[0]] == [(0, 10)]
    with pytest.raises(RunError, match="a pair"):
        tuner.predict([("a", "b")])
