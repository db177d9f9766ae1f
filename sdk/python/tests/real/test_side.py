"""Method side against a real host: it learns from the backbone's tokens, and a host that dies changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blindtune import Client, Dataset, Tuner
from blindtune.data import Text
from blindtune.data.taps import Taps
from blindtune.features import FeatureSource, FeatureStore, download, download_by_job, host_job
from blindtune.training.run_folder import RunFolder

from .conftest import MODEL, RealHost
from .test_training import notes

SIDE = {"method": "side", "epochs": 10, "networks": 1, "batch_size": 16}


def run(client: Client, folder: Path, data: Dataset, **settings: object) -> Tuner:
    RunFolder(folder).write("secret", b"same secret".hex().encode())
    given: dict[str, Any] = {"features": folder / "features"} | SIDE | settings
    tuner = Tuner(MODEL, [client], run=folder, progress=False, **given)
    tuner.fit(data)
    return tuner


def test_it_learns_what_the_labels_teach(hosts: list[RealHost], tmp_path: Path) -> None:
    client, data, dev = hosts[0].client(), notes(300), notes(240, seed=1)
    mine = run(client, tmp_path / "run", data)
    opposite = run(client, tmp_path / "opposite", Dataset(data.texts, 1 - data.labels, data.label_names))
    assert mine.evaluate(dev)["accuracy"] > 0.95 and opposite.evaluate(dev)["accuracy"] < 0.05
    assert mine.links == () and client.jobs.list().first_page() is not None
    again = Tuner.load(tmp_path / "run", [client], progress=False)
    assert again.predict(dev.texts[:5]) == mine.predict(dev.texts[:5])


def test_tokens_are_those_that_the_host_gives_for_each_text_alone(hosts: list[RealHost], tmp_path: Path) -> None:
    client = hosts[0].client()
    texts: list[Text] = ["the man is well again", "cough", ("does it hurt?", "the woman has strong pain today")]
    source, store = FeatureSource(client, MODEL, chunk=2), FeatureStore(tmp_path / "features")
    download(source, texts, store)
    taps = store.read([source.key(text) for text in texts])
    assert len(taps.levels) == 7
    for row, text in enumerate(texts):
        alone = client.activations.create(MODEL, [text], pooling="none").tensors["h.base"]  # type: ignore[arg-type]
        got = taps.take(np.array([row])).levels[-1]
        assert got.shape == alone.shape
        np.testing.assert_allclose(got, alone, atol=2e-3 * float(np.abs(alone).max()))


def test_a_host_that_is_killed_while_it_gives_tokens_changes_nothing(
    own_host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = notes(96)
    undisturbed = run(own_host.client(), tmp_path / "undisturbed", data, eval_batch_size=2)
    calls, asked = 0, FeatureSource.ask

    def killed_at_the_fifth(source: FeatureSource, texts: Sequence[Text]) -> Taps:
        nonlocal calls
        calls += 1
        if calls == 5:
            own_host.kill()
            own_host.start()
        return asked(source, texts)

    monkeypatch.setattr(FeatureSource, "ask", killed_at_the_fifth)
    disturbed = run(own_host.client(), tmp_path / "disturbed", data, eval_batch_size=2)
    assert calls == -(-len(set(data.texts)) // 2) > 5
    assert disturbed.summary()["adapter_sha256"] == undisturbed.summary()["adapter_sha256"]


def test_a_features_job_gives_what_calls_give_and_leaves_nothing(hosts: list[RealHost], tmp_path: Path) -> None:
    client, data = hosts[0].client(), notes(64)
    called = run(client, tmp_path / "calls", data)
    files = {file.id for file in client.files.list()}
    worked = run(client, tmp_path / "job", data, fetch="job")
    assert {file.id for file in client.files.list()} == files, "its files are deleted once they are read"
    job = next(iter(client.jobs.list()))
    assert job.status == "succeeded" and job.protection == "blind" and job.method["type"] == "features"
    texts = data.texts
    np.testing.assert_allclose(worked.predict_proba(texts), called.predict_proba(texts), atol=0.1)
    by_calls, by_job = (FeatureStore(tmp_path / name / "features") for name in ("calls", "job"))
    keys = [FeatureSource(client, MODEL).key(text) for text in texts]
    for one, other in zip(by_calls.read(keys).levels, by_job.read(keys).levels, strict=True):
        np.testing.assert_allclose(one, other, atol=4e-3 * float(np.abs(one).max()))


def test_a_features_job_is_taken_up_by_the_next_call(
    own_host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client goes away right after it made the job; the host is killed besides."""
    source, store = FeatureSource(own_host.client(), MODEL), FeatureStore(tmp_path / "features")
    texts = sorted(set(notes(96).texts))

    def gone(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(host_job._Following, "to_the_end", gone)
        download_by_job(source, texts, store)
    own_host.kill()
    own_host.start()
    source = FeatureSource(own_host.client(), MODEL)
    jobs = [job.id for job in source.client.jobs.list()]
    download_by_job(source, texts, store)
    assert [job.id for job in source.client.jobs.list()] == jobs and len(jobs) == 1
    assert store.missing([source.key(text) for text in texts]) == []
