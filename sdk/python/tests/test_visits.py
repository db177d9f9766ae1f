"""Looking at a finished run opens no job, or closes what it opens."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, Tuner
from blindtune.cli import main
from blindtune.export import load_export

TEXTS = ["good lovely film", "awful dull plot", "the music"]
SMALL: dict[str, Any] = {"steps": 6, "batch_size": 16, "lr": 0.02, "progress": False}


def states(host: FakeHost) -> list[str]:
    return [job["status"] for job in host.jobs.values()]


def finished(host: FakeHost, folder: Path, method: str = "p3eft") -> tuple[Tuner, np.ndarray]:
    """A finished run in `folder`, and what it said of TEXTS before it was finished."""
    tuner = Tuner("toy", [Client(host.url, "key")], run=folder, method=method, **SMALL)
    tuner.fit(sentiment(80))
    before = tuner.predict_proba(TEXTS)
    tuner.complete()
    return tuner, before


@pytest.mark.parametrize("method", ["p3eft", "lora", "frozen"])
def test_a_finished_run_is_asked_without_a_job(fake_host: FakeHost, tmp_path: Path, method: str) -> None:
    tuner, before = finished(fake_host, tmp_path / "run", method)
    again = Tuner.load(tmp_path / "run", progress=False)
    for one in (tuner, again):
        np.testing.assert_allclose(one.predict_proba(TEXTS), before, atol=1e-6)
        one.evaluate(sentiment(40, seed=1))
    again.export(tmp_path / "out")
    exported = load_export(tmp_path / "out", Client(fake_host.url, "key"))
    np.testing.assert_allclose(exported.predict_proba(TEXTS), before, atol=1e-6)
    again.fit(sentiment(80))
    assert states(fake_host) == ["succeeded"]
    again.audit(sentiment(40, seed=1), quick=True)
    assert set(states(fake_host)[1:]) <= {"cancelled"}, "the attack on updates asks by a job of its own"


def test_labels_and_their_probabilities_are_asked_for_at_once(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner, before = finished(fake_host, tmp_path / "run")
    names, found = tuner.predict_with_proba(TEXTS)
    assert names == tuner.predict(TEXTS)
    np.testing.assert_allclose(found, before, atol=1e-6)
    fake_host.seen.clear()
    words = [word for text in TEXTS for word in ("--text", text)]
    assert main(["predict", "--run", str(tmp_path / "run"), *words, "--json"]) == 0
    assert [path for _, path, _ in fake_host.seen].count("/v1/activations") == 1
    said = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in said] == names
    np.testing.assert_allclose([one["probability"] for one in said], found.max(axis=1), atol=1e-6)


@pytest.mark.drops_objects
def test_what_has_to_be_opened_is_closed(fake_host: FakeHost, fake_hosts: Any, tmp_path: Path) -> None:
    tuner, before = finished(fake_host, tmp_path / "run")
    fake_host.max_words = 2
    with Tuner.load(tmp_path / "run", progress=False) as again:
        np.testing.assert_allclose(again.predict_proba(TEXTS), before, atol=1e-6)
        assert states(fake_host) == ["succeeded", "running"], "the model takes no text so long"
    assert states(fake_host) == ["succeeded", "cancelled"]
    np.testing.assert_allclose(again.predict_proba(TEXTS), before, atol=1e-6)
    del again
    gc.collect()
    assert states(fake_host) == ["succeeded", "cancelled", "cancelled"]
    tuner.export(tmp_path / "out")
    (other,) = fake_hosts(1)
    exported = load_export(tmp_path / "out", Client(other.url, "key"))
    exported.predict(TEXTS)
    assert states(other) == ["running"], "another host has no such model"
    exported.close()
    assert states(other) == ["cancelled"]


def test_a_run_under_way_keeps_its_job_and_a_paused_one_is_paused_again(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path / "run", **SMALL)
    tuner.fit(sentiment(80))
    tuner.predict(TEXTS)
    tuner.close()
    assert states(fake_host) == ["running"]
    tuner.clients[0].jobs.pause(tuner.links[0].job_id)
    with Tuner.load(tmp_path / "run", progress=False) as again:
        again.predict(TEXTS)
        assert states(fake_host) == ["running"]
    assert states(fake_host) == ["paused"]


def test_a_process_that_ends_leaves_no_job(fake_host: FakeHost, tmp_path: Path) -> None:
    finished(fake_host, tmp_path / "run")
    fake_host.max_words = 2
    script = (
        f"from blindtune import Tuner; t = Tuner.load({str(tmp_path / 'run')!r}, progress=False); t.predict({TEXTS!r})"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert states(fake_host) == ["succeeded", "cancelled"]
