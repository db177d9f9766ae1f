"""Narrower features: projection and int8 scales are a job's, and everything else goes through the same."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_features import HIDDEN, LEVELS
from fake_host import FakeHost, Fault
from test_transcripts import spans
from word_tokenizer import word_tokenizer

from blindtune import ApiError, Client, RunError, SettingsError, Tuner
from blindtune.cli import main
from blindtune.export import load_export
from blindtune.features import FeatureSource, FeatureStore, Transform, download_by_job
from blindtune.training.settings import Settings

NARROW = {"feature_dtype": "int8", "project": 8}
FEW = {"method": "side", "epochs": 1, "networks": 1, "progress": False}
LEARNING = {"method": "side", "epochs": 12, "networks": 1, "batch_size": 32, "lr": 0.01, "progress": False}
PCA = {"kind": "pca", "dim": 8, "seed": 0}


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


def paths(host: FakeHost, since: int = 0) -> list[str]:
    return [path for _, path, _ in host.seen[since:]]


def asked(host: FakeHost, since: int) -> list[dict[str, Any]]:
    return [json.loads(body) for _, path, body in host.seen[since:] if path == "/v1/activations"]


def source_of(client: Client, texts: Sequence[str], store: FeatureStore, **how: Any) -> FeatureSource:
    given: dict[str, Any] = {"dtype": "int8", "project": PCA} | how
    return download_by_job(FeatureSource(client, "toy", **given), texts, store)


@pytest.mark.parametrize("narrow", [NARROW, {"feature_dtype": "int8"}, {"project": "orthogonal:8:5"}])
def test_it_learns_from_fewer_bytes(client: Client, fake_host: FakeHost, tmp_path: Path, narrow: dict) -> None:
    data = sentiment(600)
    tuner = Tuner("toy", [client], run=tmp_path / "run", **LEARNING, **narrow)
    tuner.fit(data)
    assert tuner.evaluate(sentiment(400, seed=1))["accuracy"] > 0.85
    (job,) = fake_host.jobs.values()
    asked_for = job["method"]["features"]
    assert (asked_for["dtype"], asked_for.get("project")) == (tuner.settings.feature_dtype, tuner.settings.projection)
    width = 8 if "project" in narrow else HIDDEN
    taps = tuner._taps(data.texts)  # type: ignore[attr-defined]
    assert {level.shape[1] for level in taps.levels} == {width} and len(taps.levels) == LEVELS
    assert {str(level.dtype) for level in taps.levels} == {tuner.settings.feature_dtype}
    assert list(fake_host.features.results) == [job["result_files"][0]], "the transform is needed there, shards are not"
    assert not fake_host.files and asked_for["expires_after"]["seconds"] == 30 * 86_400


def test_fresh_texts_are_asked_for_alike(client: Client, fake_host: FakeHost) -> None:
    tuner = Tuner("toy", [client], **FEW, **NARROW)
    tuner.fit(sentiment(200))
    before, fresh = len(fake_host.seen), sentiment(40, seed=3).texts
    tuner.predict(fresh)
    (job,) = fake_host.jobs
    bodies = asked(fake_host, before)
    assert set(paths(fake_host, before)) == {"/v1/activations"} and {body["like"] for body in bodies} == {job}


def test_the_same_texts_and_settings_ask_nothing_again(client: Client, fake_host: FakeHost, tmp_path: Path) -> None:
    data, shared = sentiment(200), {"features": tmp_path / "shared"}
    first = Tuner("toy", [client], **FEW, **NARROW, **shared)
    first.fit(data)
    before = len(fake_host.seen)
    second = Tuner("toy", [client], run=tmp_path / "second", seed=5, **FEW, **NARROW, **shared)
    second.fit(data)
    assert len(fake_host.seen) == before
    read = [tuner._taps(data.texts).levels for tuner in (first, second)]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*read)
    np.testing.assert_array_equal(
        first.predict_proba(["a good film"]).shape, second.predict_proba(["a good film"]).shape
    )
    Tuner("toy", [client], **FEW, **(NARROW | {"project": 4}), **shared).fit(data)
    assert len(fake_host.jobs) == 2, "other settings are another job"


def test_what_two_transforms_made_does_not_mix(client: Client, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    one = source_of(client, sentiment(100, seed=1).texts, store)
    other = source_of(client, [*sentiment(100, seed=2).texts, "a good film"], store)
    assert one.transform != other.transform and one.name("a good film") == other.name("a good film")
    assert one.key("a good film") != other.key("a good film")
    assert store.missing([other.key("a good film")]) == [] and store.missing([one.key("a good film")]) == [0]
    with pytest.raises(RunError, match="the transform of a job, which is not here"):
        replace(one, transform=None).key("a good film")


@pytest.mark.parametrize(("dtype", "project"), [("int8", None), ("int8", PCA), ("float16", PCA), ("float32", PCA)])
def test_the_transform_gives_at_home_what_the_host_gives(
    client: Client, tmp_path: Path, dtype: str, project: dict | None
) -> None:
    texts, fresh = sentiment(100).texts, sentiment(50, seed=1).texts
    source = source_of(client, texts, FeatureStore(tmp_path), dtype=dtype, project=project)
    assert source.transform is not None
    there = source.ask(fresh)
    source.transform.at_host = False
    home = source.ask(fresh)
    np.testing.assert_array_equal(there.offsets, home.offsets)
    for a, b in zip(there.levels, home.levels, strict=True):
        assert a.dtype == b.dtype == dtype
        apart = np.abs(a.astype(np.float64) - b)
        assert apart.max() <= {"float32": 1e-5, "float16": 0.01, "int8": 1.0}[dtype] and np.mean(apart > 1e-5) < 0.01


@pytest.mark.parametrize("gone", ["file", "job"])
def test_a_job_that_is_gone_is_not_needed(
    client: Client, fake_host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    tuner = Tuner("toy", [client], features=tmp_path / "one", **LEARNING, **NARROW)
    tuner.fit(sentiment(300))
    fresh = sentiment(40, seed=3).texts
    expected = tuner.predict_proba(fresh)
    fake_host.features.results.clear() if gone == "file" else fake_host.features.jobs.clear()
    tuner.features = tmp_path / "other"
    del tuner._store  # type: ignore[attr-defined]
    before = len(fake_host.seen)
    with caplog.at_level(logging.WARNING, logger="blindtune"):
        np.testing.assert_allclose(tuner.predict_proba(fresh), expected, atol=0.02)
        tuner.predict(sentiment(40, seed=4).texts)
    bodies = asked(fake_host, before)
    assert ["like" in body for body in bodies] == [True, False, False] and bodies[1]["dtype"] == "float32"
    assert caplog.text.count("Its transform is applied at home from now on") == 1


def test_a_saved_or_exported_run_predicts_on_a_host_that_knows_no_job(client: Client, tmp_path: Path) -> None:
    tuner = Tuner("toy", [client], run=tmp_path / "run", **LEARNING, **NARROW)
    tuner.fit(sentiment(300))
    fresh = sentiment(40, seed=3).texts
    expected = tuner.predict_proba(fresh)
    tuner.save(tmp_path / "copy")
    tuner.export(tmp_path / "out")
    other = FakeHost()
    stranger = Client(other.url, "key")
    try:
        loaded = Tuner.load(tmp_path / "copy", [stranger], progress=False)
        np.testing.assert_allclose(loaded.predict_proba(fresh), expected, atol=0.02)
        exported = load_export(tmp_path / "out", stranger)
        np.testing.assert_allclose(exported.predict_proba(fresh), expected, atol=0.02)
        exported.export(tmp_path / "again")
    finally:
        other.close()
    np.testing.assert_array_equal(load_export(tmp_path / "again", client).predict_proba(fresh), expected)


def test_a_run_that_was_loaded_without_its_transform_says_so(client: Client, tmp_path: Path) -> None:
    Tuner("toy", [client], run=tmp_path / "run", **FEW, **NARROW).fit(sentiment(60))
    file = tmp_path / "run" / "transform.safetensors"
    kept = file.read_bytes()
    file.unlink()
    with pytest.raises(RunError, match="the transform of a job, which is not here: call fit first"):
        Tuner.load(tmp_path / "run", [client], progress=False).predict(["a good film"])
    file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(RunError, match=r"transform\.safetensors: not a transform of features .*other bytes"):
        Tuner.load(tmp_path / "run", [client], progress=False)


def test_a_fit_that_broke_off_takes_its_job_up(client: Client, fake_host: FakeHost, tmp_path: Path) -> None:
    data = sentiment(200)
    fake_host.faults.append(Fault("ftjob-0-file-3/content", status=422))
    first = Tuner("toy", [client], run=tmp_path / "run", **FEW, **NARROW)
    with pytest.raises(ApiError):
        first.fit(data)
    again = Tuner("toy", [client], run=tmp_path / "run", **FEW, **NARROW)
    result = again.fit(data)
    assert list(fake_host.jobs) == ["ftjob-0"] and not asked(fake_host, 0)
    undisturbed = Tuner("toy", [client], run=tmp_path / "run", **FEW, **NARROW)
    assert undisturbed.fit(data).adapter_sha256 == result.adapter_sha256


def test_shards_that_are_gone_are_asked_for_alike(client: Client, fake_host: FakeHost, tmp_path: Path) -> None:
    """A client that comes back after the files have expired, with the transform at home."""
    fake_host.faults.append(Fault("ftjob-0-file-2/content", status=422))
    store, texts = FeatureStore(tmp_path), sorted(set(sentiment(200).texts))
    with pytest.raises(ApiError):
        source_of(client, texts, store)
    fake_host.features.results.clear()
    found = source_of(client, texts, store)
    assert len(fake_host.jobs) == 1 and store.missing([found.key(text) for text in texts]) == []
    assert not list(tmp_path.glob("job-*"))


def test_a_job_whose_transform_was_never_read_is_made_again(
    client: Client, fake_host: FakeHost, tmp_path: Path
) -> None:
    fake_host.faults.append(Fault("ftjob-0-file-0/content", status=422))
    store, texts = FeatureStore(tmp_path), sentiment(200).texts
    with pytest.raises(ApiError):
        source_of(client, texts, store)
    del fake_host.features.results["ftjob-0-file-0"]
    found = source_of(client, texts, store)
    assert found.transform is not None and found.transform.job_id == "ftjob-1"
    assert store.missing([found.key(text) for text in texts]) == []


def test_an_operator_that_bounds_the_width_leads_to_a_projection(
    client: Client, fake_host: FakeHost, tmp_path: Path
) -> None:
    fake_host.features.dim = 8
    for settings in ({}, {"fetch": "job"}, {"feature_dtype": "int8"}, {"project": 12}):
        with pytest.raises(RunError, match=r"at most 8 features of a level .* Pass project=8 \(--project 8\) or less"):
            Tuner("toy", [client], **FEW, **settings).fit(sentiment(60))
    assert not fake_host.files, "what no job reads does not stay"
    tuner = Tuner("toy", [client], run=tmp_path / "run", **FEW, project=8)
    tuner.fit(sentiment(60))
    assert tuner.predict(["a good film"])
    fake_host.features.results.clear()
    with pytest.raises(RunError, match=r"The transform of ftjob-0 is no longer on the host.*fit again"):
        tuner.predict(["a lovely plot"])


def test_spans_are_found_in_narrower_features(client: Client, tmp_path: Path) -> None:
    data, fresh = spans(3)
    tuner = Tuner("toy", [client], **FEW, **NARROW, tokenizer=word_tokenizer(tmp_path))
    tuner.fit(data)
    assert len(tuner.predict(fresh.texts)) == len(fresh)


def test_the_audit_sees_the_units_that_the_projection_left(client: Client) -> None:
    texts = sentiment(300).texts
    kinds = ({"project": 8}, {"project": 8, "feature_dtype": "int8"})
    tuners = [Tuner("toy", [client], **FEW, **kind) for kind in kinds]
    for tuner in tuners:
        tuner.fit(sentiment(300))
    plain, whole = (tuner.activations(texts)[0][0] for tuner in tuners)
    # Rows come in another order, and so another sign is left open; int8 is off by half a step.
    assert np.abs(np.abs(plain) - np.abs(whole)).max() < 0.05 * np.abs(plain).max()
    assert tuners[1].audit(sentiment(200, seed=4), quick=True).activations is not None


@pytest.mark.parametrize(
    ("given", "stands_for"),
    [
        (96, {"kind": "pca", "dim": 96, "seed": 0}),
        ("96", {"kind": "pca", "dim": 96, "seed": 0}),
        ("pca:32", {"kind": "pca", "dim": 32, "seed": 0}),
        ("orthogonal:96:7", {"kind": "orthogonal", "dim": 96, "seed": 7}),
        ({"kind": "orthogonal", "dim": 4}, {"kind": "orthogonal", "dim": 4, "seed": 0}),
        ({"dim": 4}, {"kind": "pca", "dim": 4, "seed": 0}),
    ],
)
def test_a_projection_is_written_in_several_ways(given: Any, stands_for: dict) -> None:
    settings = Settings.from_dict({"method": "side", "project": given}).resolve(1)
    assert settings.projection == stands_for and settings.fetch == "job"
    assert Settings.from_dict(settings.to_dict()).resolve(1) == settings


@pytest.mark.parametrize(
    "given",
    [
        0,
        -3,
        "many",
        "pca",
        "svd:96",
        "pca:96:1",
        "orthogonal:96:1:2",
        9.5,
        True,
        {"kind": "pca"},
        {"dim": 4, "width": 3},
        {"dim": "4"},
        {"dim": 4, "kind": "svd"},
        {"dim": 4, "seed": -1, "kind": "orthogonal"},
    ],
)
def test_a_projection_that_makes_no_sense_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError, match="project must be a number above 0 like 96"):
        Settings.from_dict({"method": "side", "project": given}).resolve(1)


@pytest.mark.parametrize("given", [{"project": 8}, {"feature_dtype": "int8"}])
def test_other_methods_have_no_use_for_it(given: dict) -> None:
    with pytest.raises(SettingsError, match="is for method side, and does nothing in method lora"):
        Settings.from_dict({"method": "lora", **given}).resolve(1)


@pytest.mark.parametrize("dim", [0, 8])
def test_the_shell_says_how_much_less_it_is(
    fake_host: FakeHost,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dim: int,
) -> None:
    """Also of a host that gives no plain states."""
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    fake_host.features.dim = dim
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sentiment(60).texts))
    words = ["features", "estimate", "--data", str(tmp_path / "texts.jsonl"), "--model", "toy"]
    narrow = ["--host", fake_host.url, "--feature-dtype", "int8", "--project", "8", "--json"]
    assert main([*words, *narrow]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["levels"], found["width"], found["bytes"]) == (LEVELS, 8, found["tokens"] * LEVELS * 8)
    assert found["tokens"] == sum(len(text.split()) for text in sentiment(60).texts)
    assert main([*words, *narrow, "--layers", "0,2"]) == 0
    assert json.loads(capsys.readouterr().out)["levels"] == 2


def test_the_shell_trains_and_predicts(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    data, name, run = sentiment(60), tmp_path / "train.tsv", str(tmp_path / "run")
    rows = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    name.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    words = ["train", "--data", str(name), "--model", "toy", "--host", fake_host.url, "--method", "side", "--quiet"]
    narrow = ["--feature-dtype", "int8", "--project", "orthogonal:8:3", "--epochs", "1", "--run", run]
    assert main([*words, *narrow]) == 0
    assert "protection: blind" in capsys.readouterr().out
    (job,) = fake_host.jobs.values()
    assert job["method"]["features"]["project"] == {"kind": "orthogonal", "dim": 8, "seed": 3}
    assert main(["predict", "--run", run, "--text", "a good film"]) == 0
    assert main([*words, "--project", "wide"]) == 2
    assert "project must be a number above 0 like 96" in capsys.readouterr().err


def test_a_store_keeps_a_file_as_it_keeps_features(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, limit=100)
    assert store.kept("a.bin") is None
    store.keep("a.bin", b"x" * 40)
    store.keep("a.bin", b"y" * 40)
    assert FeatureStore(tmp_path).kept("a.bin") == b"y" * 40 and store.size() == 40
    (tmp_path / "a.bin").write_bytes(b"z" * 40)
    assert FeatureStore(tmp_path).kept("a.bin") is None, "not what was written"
    store.keep("b.bin", b"b" * 60)
    store.keep("c.bin", b"c" * 60)
    assert store.kept("b.bin") is None and store.kept("c.bin") == b"c" * 60, "it made room"


def test_a_transform_reads_back() -> None:
    made = Transform("ftjob-1", {"scale.0": np.ones(3, np.float32), "mean.0": np.zeros(3, np.float32)})
    read = Transform.read(made.to_bytes(), "here")
    assert (read.job_id, read.digest) == ("ftjob-1", made.digest)
    with pytest.raises(RunError, match="here: not a transform of features"):
        Transform.read(b"nothing", "here")
