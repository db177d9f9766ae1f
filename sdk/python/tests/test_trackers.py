"""Boards by their names: what they are given, what is said where numbers leave the house, and what is missing."""

from __future__ import annotations

import logging
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, RunError, Tuner
from blindtune.extras import MissingExtraError
from blindtune.training import trackers
from blindtune.training.trackers import TRACKERS

SMALL: dict[str, Any] = {"batch_size": 16, "lr": 0.02, "progress": False, "method": "lora", "steps": 4, "eval_every": 2}


def events(folder: Path) -> list[Any]:
    """What TensorBoard reads: records of length, checksum, protobuf, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events.out.tfevents.*")
    content, found = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_tensorboard_gets_losses_and_scores_by_step_and_no_text_or_label(fake_host: FakeHost, tmp_path: Path) -> None:
    train, dev = sentiment(64), sentiment(50, 2)
    mine = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path, **SMALL)
    mine.fit(train, dev, report_to="tensorboard")
    found: dict[str, dict[int, float]] = {}
    for event in events(tmp_path / "tensorboard"):
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    steps, evaluations = mine.folder.steps(), mine.folder.evaluations()
    assert found["train/loss"] == pytest.approx({one["step"]: one["loss"] for one in steps})
    assert found["dev/f1_macro"] == pytest.approx({one["step"]: one["scores"]["f1_macro"] for one in evaluations})
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"method: lora" in content, "the settings are there"
    assert not any(word in content for word in (b"positive", b"negative", train.texts[0].encode(), b"key"))  # type: ignore[union-attr]


def test_an_unknown_board_is_refused_before_anything_is_sent(fake_host: FakeHost, tmp_path: Path) -> None:
    mine = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path, **SMALL)
    with pytest.raises(RunError, match="report_to: 'aim' is none of tensorboard, mlflow, trackio, wandb"):
        mine.fit(sentiment(64), sentiment(50, 2), report_to=["aim"])
    assert fake_host.seen == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_board_that_is_not_installed_names_what_to_install(
    fake_host: FakeHost, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboardX", "mlflow", "trackio", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    mine = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path, **SMALL)
    with pytest.raises(MissingExtraError, match=rf"report_to {name} needs .*: pip install 'blindtune\[{name}\]'"):
        mine.fit(sentiment(64), sentiment(50, 2), report_to=name)
    assert fake_host.seen == []


@pytest.mark.parametrize(
    ("uri", "home"),
    [
        ("sqlite:////home/a/mlflow.db", True),
        ("file:///home/a/mlruns", True),
        ("./mlruns", True),
        ("http://127.0.0.1:5000", True),
        ("https://mlflow.example.org", False),
        ("databricks", False),
        ("databricks://profile", False),
        ("postgresql://db.example.org/mlflow", False),
    ],
)
def test_what_is_at_home_is_known(uri: str, home: bool) -> None:
    assert trackers._at_home(uri) == home


def test_the_warning_says_where_the_numbers_go(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="blindtune"):
        trackers._warn("wandb", "wandb.ai")
    assert "losses and scores of this run go to wandb.ai; they were computed with the labels" in caplog.text
