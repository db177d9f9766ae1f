"""Texts that are longer than a backbone takes: counted, refused, or read in pieces; never cut without a word."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, Dataset, RunError, SettingsError, Tuner
from blindtune.data.taps import Taps
from blindtune.features.pieces import as_one, pieces
from blindtune.training.settings import Settings

LIMIT = 60
SMALL: dict[str, Any] = {"steps": 3, "batch_size": 16, "progress": False}


def with_long(count: int = 80, long: int = 5) -> Dataset:
    """Rows of which some are longer than LIMIT words; what tells their label stands at their end."""
    data = sentiment(count)
    texts = [
        f"{'the story and the plot ' * 24}{text}" if k % (count // long) == 0 else text
        for k, text in enumerate(data.texts)
    ]
    return Dataset(tuple(texts), data.labels, data.label_names)


@pytest.fixture
def host(fake_host: FakeHost) -> FakeHost:
    fake_host.max_words = LIMIT
    return fake_host


def test_what_hosts_cut_is_counted_once(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    tuner = Tuner("toy", [Client(host.url, "key")], method="lora", **SMALL)
    with caplog.at_level(logging.WARNING, "blindtune"):
        tuner.fit(with_long())
        tuner.predict(with_long().texts)
    said = [record.getMessage() for record in caplog.records if "texts" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith("5 of 80 texts are longer than the 60 tokens that toy takes")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "blindtune"):
        tuner.predict(["the plot " * 25])
        assert not caplog.text, "the host says that it cut nothing"
        tuner.predict(["the plot " * 50, "the plot", "the story " * 31])
    assert "2 of 3 texts are longer than the 60 tokens that toy takes: of those a host reads" in caplog.text


def test_what_was_cut_in_training_is_in_the_result(host: FakeHost) -> None:
    data = with_long()
    result = Tuner("toy", [Client(host.url, "key")], method="lora", **SMALL | {"steps": 5}).fit(data)
    assert result.truncated == 5 == sum(step["truncated"] for step in result.history), "an epoch is five steps"
    assert Tuner("toy", [Client(host.url, "key")], method="lora", **SMALL).fit(sentiment(80)).truncated == 0


def test_what_no_guess_found_is_said_after_the_training(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    host.max_words = 20  # a model whose tokens are far shorter than words
    data = Dataset(("the plot " * 15, *sentiment(79).texts), sentiment(80).labels, ("a", "b"))
    with caplog.at_level(logging.WARNING, "blindtune"):
        Tuner("toy", [Client(host.url, "key")], method="lora", **SMALL | {"steps": 5}).fit(data)
    assert "some of 80 texts are longer than the 20 tokens that toy takes (read 1 times)" in caplog.text


def test_of_a_host_that_does_not_count_it_is_guessed(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    host.counts_truncated = False
    tuner = Tuner("toy", [Client(host.url, "key")], method="lora", **SMALL)
    with caplog.at_level(logging.WARNING, "blindtune"):
        assert tuner.fit(sentiment(80)).truncated is None
        tuner.predict(["the plot " * 25])
    assert "1 of 1 texts may be longer than the 60 tokens" in caplog.text


def test_long_texts_are_refused_before_anything_is_uploaded(host: FakeHost) -> None:
    tuner = Tuner("toy", [Client(host.url, "key")], method="lora", max_length="error", **SMALL)
    with pytest.raises(RunError, match="5 of 80 texts are longer than the 60 tokens that toy takes"):
        tuner.fit(with_long())
    assert not host.files and not host.jobs
    tuner.fit(sentiment(80))
    with pytest.raises(RunError, match="1 of 1 texts are longer"):
        tuner.predict(["the plot " * 50])


def side(host: FakeHost, folder: Path, **settings: Any) -> Tuner:
    how = {"method": "side", "epochs": 2, "networks": 1, "batch_size": 16, "features": folder / "features"}
    return Tuner("toy", [Client(host.url, "key")], progress=False, run=folder / "run", **(how | settings))


def test_side_says_which_text_is_refused_and_what_to_do(host: FakeHost, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the text that begins 'the story and .*max_length='chunk'"):
        side(host, tmp_path).fit(with_long())


@pytest.mark.parametrize("settings", [{}, {"feature_dtype": "int8"}])
def test_side_by_a_job_refuses_what_the_job_cuts(host: FakeHost, tmp_path: Path, settings: dict[str, Any]) -> None:
    host.features.max_words = LIMIT
    for begun in range(2):
        folder = tmp_path / str(begun)
        with pytest.raises(RunError, match=r"1 of the texts \d+ to \d+ in the job's file are longer than toy takes"):
            side(host, folder, fetch="job", **settings).fit(with_long(long=1))
        assert not host.features.results and not host.files, "nothing is left there"
    side(host, tmp_path / "other", fetch="job", **settings).fit(sentiment(80))


@pytest.mark.parametrize("kind", ["attentive", "pooled"])
def test_side_reads_long_texts_in_pieces(
    host: FakeHost, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    tuner, data = side(host, tmp_path, side=kind, max_length="chunk"), with_long()
    with caplog.at_level(logging.WARNING, "blindtune"):
        tuner.fit(data)
    assert "5 of " in caplog.text and "read in overlapping pieces" in caplog.text
    again = Tuner.load(tmp_path / "run", [Client(host.url, "key")], progress=False, features=tmp_path / "other")
    np.testing.assert_allclose(again.predict_proba(data.texts), tuner.predict_proba(data.texts), atol=1e-6)
    whole = tuner._taps([data.texts[0]])
    if kind == "attentive":
        assert len(whole.levels[0]) > len(str(data.texts[0]).split()), "every word, those at the cuts twice"
    else:
        host.max_words = 0
        free = side(host, tmp_path / "free", side=kind, max_length="chunk")._taps([data.texts[0]])
        np.testing.assert_allclose(whole.levels[1], free.levels[1], atol=1e-2)  # cls, max, mean


def test_pieces_cover_the_text_and_overlap() -> None:
    text = "  ".join(str(k) for k in range(100))
    found = pieces(text, 4)
    assert found is not None and len(found) == 4
    numbers = [[int(word) for word in str(part).split()] for part in found]
    assert sorted({number for part in numbers for number in part}) == list(range(100))
    assert all(set(a) & set(b) for a, b in pairwise(numbers))
    assert all(str(part) in text for part in found), "cut, and not put together anew"
    assert pieces(("short", text), 4) == [("short", part) for part in found]
    assert pieces("abcdef", 3) == ["abc", "bcde", "def"] and pieces("ab", 3) is None


def test_pieces_become_one_text_wherever_they_were_cut() -> None:
    levels = [np.arange(6, dtype=np.float32).reshape(3, 2) + k for k in range(3)]
    one = as_one(Taps.of(levels, np.ones(3)), ["cls", "max", "mean"])
    assert len(one) == 1
    np.testing.assert_array_equal(one.levels[0][0], levels[0].mean(axis=0))
    np.testing.assert_array_equal(one.levels[1][0], levels[1].max(axis=0))
    tokens = as_one(Taps.of(levels[:1], np.array([2, 1])), [])
    assert len(tokens) == 1 and len(tokens.levels[0]) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "side", "max_length": "truncate"}, "truncate is for jobs"),
        ({"method": "lora", "max_length": "chunk"}, "chunk needs method side"),
        ({"method": "side", "max_length": "chunk", "fetch": "job"}, "asks by calls"),
        ({"method": "side", "max_length": "chunk", "project": "96"}, "asks by calls"),
        ({"max_length": "cut"}, "max_length must be one of"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_dict(settings).resolve(1)


def test_what_is_usual() -> None:
    assert Settings(method="side").resolve(1).max_length == "error"
    assert Settings(method="lora").resolve(1).max_length == "truncate"
