"""Blind by construction: what a host receives is the same bytes under any labels of the same rows.

The host's whole transcript, hashed in the order it came: every method, path and body. Keys, times and ids that the host
makes are not in it. Methods that send something learned must fail the same test, or it would test nothing.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost, Fault
from word_tokenizer import word_tokenizer

from blindtune import ApiError, Client, Dataset, Tuner
from blindtune.private.thresholds import ThresholdError
from blindtune.training.protection import MEANING, protection
from blindtune.training.settings import METHODS, Settings

ROWS, FRESH = 64, 20
BLIND = {
    "side": {"method": "side", "epochs": 2, "networks": 2, "batch_size": 16},
    "side, classes weighed": {"method": "side", "epochs": 1, "networks": 1, "class_weights": "balanced"},
    "side, one network, all rows": {"method": "side", "epochs": 1, "networks": 1, "held_out": 0.0},
    "side, by a job": {"method": "side", "epochs": 1, "networks": 1, "fetch": "job"},
    "side, narrower": {"method": "side", "epochs": 1, "networks": 1, "feature_dtype": "int8", "project": 8},
    "side, orthogonal": {"method": "side", "epochs": 1, "networks": 1, "project": "orthogonal:8:3"},
    "side, pooled": {"method": "side", "side": "pooled", "epochs": 1, "networks": 1},
    "side, long texts in pieces": {"method": "side", "epochs": 1, "networks": 1, "max_length": "chunk"},
    "side, chosen by dev rows": {"method": "side", "epochs": 4, "networks": 1, "eval_every": 1, "patience": 1},
    "frozen": {"method": "frozen", "steps": 8, "batch_size": 16},
    "frozen, chosen by dev rows": {"method": "frozen", "steps": 8, "batch_size": 16, "eval_every": 1, "patience": 1},
    "auto, nothing accepted": {"method": "auto", "epochs": 1, "networks": 1, "wanted": 1.0},
}
if find_spec("torch"):
    BLIND["ladder"] = {"method": "side", "side": "ladder", "side_width": 8, "epochs": 2, "networks": 1}
    BLIND["ladder, narrower"] = BLIND["ladder"] | {"feature_dtype": "int8", "project": 8}
TELLING = {
    "lora": {"method": "lora", "steps": 3, "batch_size": 16, "lr": 0.02},
    "p3eft": {"method": "p3eft", "steps": 3, "batch_size": 16, "lr": 0.02},
    "auto, a hurdle accepted": {"method": "auto", "epochs": 1, "networks": 1, "wanted": 1.0, "accept": "hurdle"},
}
"""They send gradients from the second step on, and adapters that come of them."""


def labelled(labels: np.ndarray) -> tuple[Dataset, Dataset]:
    """Rows to train on, and fresh ones, under labels [N] of two classes."""
    return tuple(  # type: ignore[return-value]
        Dataset(sentiment(count, seed).texts, labels[:count].astype(np.int64), ("no", "yes"))
        for seed, count in enumerate((ROWS, FRESH))
    )


def label_sets(seed: int) -> tuple[Dataset, Dataset]:
    """The same rows under random sets of labels; under seed 0 hardly any."""
    rng = np.random.default_rng(seed)
    made = []
    for k, count in enumerate((ROWS, FRESH)):
        sets = (rng.random((count, 3)) < 0.2 * seed).astype(np.float32)
        sets[0] = 1.0
        made.append(Dataset(sentiment(count, k).texts, sets[:, 0].astype(np.int64), ("a", "b", "c"), sets=sets))
    return made[0], made[1]


def spans(seed: int) -> tuple[Dataset, Dataset]:
    """The same rows with some of their words as spans; under seed 0 hardly any."""
    rng = np.random.default_rng(seed)
    made = []
    for k, count in enumerate((ROWS, FRESH)):
        words = [str(text).split() for text in sentiment(count, k).texts]
        tags = [[f"B-{rng.choice(['A', 'B'])}" if rng.random() < 0.1 * seed else "O" for _ in row] for row in words]
        tags[0][0] = "B-A"
        made.append(Dataset.from_lists(words, tags, ("A", "B"), task="tokens"))
    return made[0], made[1]


def transcript(rows: tuple[Dataset, Dataset], settings: dict[str, Any], folder: Path) -> str:
    """Train, evaluate and predict on a host of its own under one secret; SHA-256 of all that the host was sent."""
    data, fresh = rows
    folder.mkdir()
    (folder / "secret").write_text("5e" * 32)
    host = FakeHost()
    host.max_words = 4 if settings.get("max_length") else 0
    try:
        own: dict[str, Any] = {"run": folder, "features": folder / "features", "progress": False}
        tuner = Tuner("toy", [Client(host.url, "key")], **own, **settings)
        tuner.fit(data, fresh if "eval_every" in settings else None)
        tuner.evaluate(fresh)
        with suppress(ThresholdError):  # which follows from labels, as whether any row has the positive one
            tuner.choose_thresholds(fresh, positive="yes" if fresh.sets is None else None)
        tuner.predict(fresh.texts[:7])
        tuner.audit(data, quick=True)
        tuner.complete()
    finally:
        host.close()
    digest = hashlib.sha256()
    for method, path, body in host.seen:
        for part in (method.encode(), path.encode(), without_boundary(body)):
            digest.update(len(part).to_bytes(8, "big") + part)
    assert host.seen, "something was sent"
    return digest.hexdigest()


def without_boundary(body: bytes) -> bytes:
    """The line between the parts of a form is drawn anew for every upload, from nothing."""
    line = body.partition(b"\r\n")[0]
    return body.replace(line, b"--boundary") if line.startswith(b"--") else body


def labellings(count: int) -> list[np.ndarray]:
    """The true labels, their opposite, one class nearly alone, and random ones."""
    true = sentiment(ROWS, 0).labels
    rare = np.zeros(ROWS, int)
    rare[:3] = 1
    rng = np.random.default_rng(7)
    return [true, 1 - true, rare, *(rng.integers(0, 2, ROWS) for _ in range(count - 3))]


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_run_sends_the_same_bytes_under_any_labels(name: str, tmp_path: Path) -> None:
    found = {transcript(labelled(labels), BLIND[name], tmp_path / str(k)) for k, labels in enumerate(labellings(20))}
    assert len(found) == 1
    assert protection(Settings.from_dict(BLIND[name]).resolve(1)) == "blind"


def test_spans_are_not_seen_either(tmp_path: Path) -> None:
    """Nor that there are any: the tokens of every text are asked for by every side run."""
    settings = BLIND["side"]
    with_spans = settings | {"tokenizer": word_tokenizer(tmp_path)}
    found = {transcript(spans(seed), with_spans, tmp_path / str(seed)) for seed in range(5)}
    found.add(transcript(labelled(labellings(3)[0]), settings, tmp_path / "one label"))
    assert len(found) == 1


def test_several_labels_for_a_row_are_not_seen_either(tmp_path: Path) -> None:
    settings = BLIND["side"]
    found = {transcript(label_sets(seed), settings, tmp_path / str(seed)) for seed in range(5)}
    found.add(transcript(labelled(labellings(3)[0]), settings, tmp_path / "one label"))
    assert len(found) == 1, "not even that there are several"


@pytest.mark.parametrize("name", TELLING)
def test_a_run_that_sends_what_it_learned_does_not(name: str, tmp_path: Path) -> None:
    found = {transcript(labelled(labels), TELLING[name], tmp_path / str(k)) for k, labels in enumerate(labellings(4))}
    assert len(found) == 4
    assert protection(Settings.from_dict(TELLING[name]).resolve(1)) != "blind"


def test_a_run_that_broke_off_and_was_taken_up_again_sends_the_same_bytes(tmp_path: Path) -> None:
    """It breaks off while it asks, and is killed while it trains: nothing that came is asked for twice."""
    texts, settings = sentiment(600, 0).texts, {"method": "side", "epochs": 1, "networks": 1}
    found = {}
    for name, labels in (("random", np.random.default_rng(0).integers(0, 2, 600)), ("other", np.arange(600) % 2)):
        data = Dataset(texts, labels.astype(np.int64), ("no", "yes"))
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text("5e" * 32)
        host = FakeHost()

        def fit(host: FakeHost = host, data: Dataset = data, folder: Path = tmp_path / name) -> str:
            tuner = Tuner("toy", [Client(host.url, "key")], run=folder, progress=False, **settings)
            return tuner.fit(data).adapter_sha256

        host.faults.append(Fault("activations", status=422))
        with pytest.raises(ApiError):
            fit()
        first = fit()
        asked = len(host.seen)
        (tmp_path / name / "state.safetensors").unlink()
        assert fit() == first and len(host.seen) == asked
        found[name] = [(method, path, body) for method, path, body in host.seen]
        host.close()
    assert found["random"] == found["other"] and len(found["other"]) == 1 + 5


@pytest.mark.parametrize("name", BLIND)
def test_a_file_that_is_sorted_by_label_is_not_sent_sorted(name: str, tmp_path: Path) -> None:
    """Training rows, and those that are evaluated, come in an order of the run's secret."""
    data, host = sentiment(400, 0), FakeHost()
    assert np.all(np.diff(data.labels) >= 0), "sorted"
    tuner = Tuner("toy", [Client(host.url, "key")], run=tmp_path / "run", progress=False, **BLIND[name])
    dev = sentiment(399, 2) if "eval_every" in BLIND[name] else None
    tuner.fit(data, dev)
    first = len(host.seen)
    fresh = sentiment(401, 1)
    tuner.evaluate(fresh)
    host.close()
    every = [data, fresh] if dev is None else [data, fresh, dev]
    label_of = {text: label for rows in every for text, label in zip(rows.texts, rows.labels, strict=True)}
    for part in (host.seen[:first], host.seen[first:]):
        texts = [text for _, _, body in part for text in texts_of(body)]
        sent = np.array([label_of[text] for text in texts])
        places = np.arange(len(sent))
        means = [float(places[sent == label].mean()) / len(sent) for label in (0, 1)]
        # A mean place of n rows has a standard error of 0.29 / sqrt(n); sorted, the two are half the list apart.
        assert len(sent) >= 100 and abs(means[0] - means[1]) < 0.25


def texts_of(body: bytes) -> list[str]:
    """The texts of a call, or of a file that is uploaded."""
    if body.startswith(b"{"):
        found = json.loads(body)
        return found.get("input") or found.get("texts") or []
    rows = [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]
    return [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("settings", "declared"),
    [({"method": "frozen"}, "blind"), ({"method": "lora", "label_epsilon": 2.0}, "bounded"), ({}, "hurdle")],
)
def test_a_job_says_the_class_of_its_run(settings: dict[str, Any], declared: str, fake_host: FakeHost) -> None:
    client = Client(fake_host.url, "key")
    Tuner("toy", [client], progress=False, steps=2, batch_size=16, **settings).fit(sentiment(32))
    assert [client.jobs.retrieve(job).protection for job in fake_host.jobs] == [declared]


def test_every_method_has_a_class_of_protection() -> None:
    classes = {method: protection(Settings(method=method).resolve(1)) for method in METHODS}
    assert classes == {
        "p3eft": "hurdle",
        "lora": "open",
        "frozen": "blind",
        "side": "blind",
        "auto": "blind",
        "dc": "hurdle",
        "pslf": "hurdle",
    }
    assert protection(Settings(method="lora", label_epsilon=2.0).resolve(1)) == "bounded"
    more = Settings(method="auto", wanted=0.9, label_epsilon=2.0, accept="bounded")
    assert protection(more.resolve(1)) == "bounded"
    assert protection(replace(more, accept="hurdle").resolve(1)) == "hurdle"
    assert set(MEANING) == {"blind", "bounded", "hurdle", "open"} and "private" not in MEANING["hurdle"]
