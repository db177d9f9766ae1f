"""Projected int8 features of a real host: as accurate, in an eighth of the bytes, and the same at home and there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blindtune import Dataset, RunError, Tuner
from blindtune.features import FeatureSource, FeatureStore, download_by_job, estimate_size
from blindtune.training.run_folder import RunFolder

from .conftest import MODEL, RealHost
from .test_training import BAD, GOOD

SIDE: dict[str, Any] = {"method": "side", "epochs": 8, "networks": 1, "batch_size": 32, "progress": False}
NARROW: dict[str, Any] = {"feature_dtype": "int8", "project": 96}
PCA = {"kind": "pca", "dim": 96, "seed": 0}


def long_notes(count: int, seed: int) -> Dataset:
    """Notes of which nearly none is like another: who, where and when say nothing, one phrase says the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    texts = []
    for label in labels:
        who, said = rng.choice(["man", "woman", "child"]), rng.choice(GOOD if label else BAD)
        age, bed, hour = (int(rng.integers(1, most)) for most in (99, 400, 24))
        texts.append(f"the {who} of {age} years in bed {bed} was seen at {hour} o'clock and {said}")
    return Dataset(tuple(texts), labels.astype(np.int64), ("no", "yes"))


def test_an_eighth_of_the_bytes_is_as_accurate(hosts: list[RealHost], tmp_path: Path) -> None:
    data, dev = long_notes(400, 0), long_notes(240, 1)
    found, down = {}, {}
    for name, narrow in (("plain", {"fetch": "job"}), ("narrow", NARROW)):
        client, folder = hosts[0].client(), tmp_path / name
        RunFolder(folder).write("secret", b"same secret".hex().encode())
        tuner = Tuner(MODEL, [client], run=folder, features=folder / "features", **SIDE, **narrow)
        down[name] = tuner.fit(data).bytes_down
        found[name] = tuner.evaluate(dev)["accuracy"]
    assert down["narrow"] <= down["plain"] / 6, "the transform, a megabyte, included"
    # Four standard errors of the difference of two shares of the dev rows, of which a quarter or less is wrong.
    wrong = min(0.25, max(1 - found["plain"], 1 / len(dev)))
    assert found["plain"] > 0.9
    assert found["narrow"] > found["plain"] - 4 * np.sqrt(2 * wrong * (1 - wrong) / len(dev)), found


@pytest.mark.parametrize(("dtype", "project"), [("float32", PCA), ("int8", PCA), ("int8", None)])
def test_home_and_host_give_the_same(
    hosts: list[RealHost], tmp_path: Path, dtype: str, project: dict[str, Any] | None
) -> None:
    client, texts, fresh = hosts[0].client(), long_notes(150, 2).texts, long_notes(60, 3).texts
    store = FeatureStore(tmp_path)
    source = download_by_job(FeatureSource(client, MODEL, dtype=dtype, project=project), texts, store)
    assert source.transform is not None and source.transform.at_host
    there = source.ask(fresh)
    assert source.transform.at_host, "the host made them"
    client.files.delete(client.jobs.retrieve(source.transform.job_id).result_files[0])
    home = source.ask(fresh)
    assert not source.transform.at_host
    for a, b in zip(there.levels, home.levels, strict=True):
        assert a.dtype == b.dtype == dtype and a.shape[1] == (96 if project else 384)
        apart = np.abs(a.astype(np.float64) - b)
        if dtype == "float32":
            assert apart.max() <= 1e-5 * max(1.0, float(np.abs(a).max()))
        else:
            assert apart.max() <= 1 and np.mean(apart > 0) < 1e-3
    read = store.read([source.key(text) for text in texts])
    again = source.ask(texts)
    for a, b in zip(read.levels, again.levels, strict=True):
        assert np.abs(a.astype(np.float64) - b).max() <= (1e-5 if dtype == "float32" else 1), "training rows, too"


def test_a_bound_of_the_operator_is_kept_to(
    own_host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_host.stop()
    monkeypatch.setenv("BLINDTUNE_LIMITS__FEATURE_DIM", "64")
    own_host.start()
    client, data = own_host.client(), long_notes(60, 4)
    for settings in ({}, {"fetch": "job"}, {"project": 96}):
        with pytest.raises(RunError, match=r"at most 64 features of a level .* Pass project=64 "):
            Tuner(MODEL, [client], **SIDE, **settings).fit(data)
    size = estimate_size(FeatureSource(client, MODEL, dtype="int8", project=PCA | {"dim": 64}), data.texts)
    tuner = Tuner(MODEL, [client], run=tmp_path / "run", **SIDE, feature_dtype="int8", project=64)
    tuner.fit(data)
    levels = tuner._taps(data.texts).levels  # type: ignore[attr-defined]
    tokens = sum(len(tuner._taps([text]).levels[0]) for text in data.texts)  # type: ignore[attr-defined]
    assert (size.levels, size.width, size.tokens) == (len(levels), levels[0].shape[1], tokens)
    assert tuner.predict(["the man is well again"])
    job = next(iter(client.jobs.list()))
    client.files.delete(job.result_files[0])
    with pytest.raises(RunError, match=rf"The transform of {job.id} is no longer on the host"):
        tuner.predict(["the child cannot sleep"])


def test_the_same_texts_go_through_the_same_transform(hosts: list[RealHost], tmp_path: Path) -> None:
    """Under another secret their file has another order, and would make another job another transform."""
    client, data = hosts[0].client(), long_notes(80, 5)
    store = FeatureStore(tmp_path / "features")
    first = Tuner(MODEL, [client], run=tmp_path / "a", features=store, **(SIDE | {"epochs": 1}), **NARROW)
    first.fit(data)
    jobs = [job.id for job in client.jobs.list()]
    result = Tuner(MODEL, [client], run=tmp_path / "b", features=store, **(SIDE | {"epochs": 1}), **NARROW).fit(data)
    assert result.bytes_down == 0 and [job.id for job in client.jobs.list()] == jobs
    source = replace(first.source, transform=None)  # type: ignore[attr-defined]
    other = download_by_job(source, data.texts[:40], store)
    assert other.key(data.texts[0]) != first.source.key(data.texts[0])  # type: ignore[attr-defined]
