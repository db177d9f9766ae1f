"""Whole runs against toy hosts in every mode: they learn, and they end the same after a kill -9."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import FILLER, sentiment
from fake_host import FakeHost
from test_trainer import SMALL, Hosts, clients, kill_before_backward, prepared

from blindtune import P3EFT, Dataset, RunError, SettingsError
from blindtune.arrays import decode
from blindtune.client.step_calls import ForwardRequest
from blindtune.private.label_privacy import largest_accuracy
from blindtune.private.training_labels import TrainingLabels

LONGER = SMALL | {"steps": 80}
TOPICS = (["goal", "match", "coach"], ["vote", "senate", "law"], ["star", "planet", "orbit"], ["bread", "soup", "oven"])


def topics(count: int, seed: int = 0) -> Dataset:
    """Four classes told by words."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    texts = [" ".join(rng.permutation([*rng.choice(TOPICS[k], 2), *rng.choice(FILLER, 3)])) for k in labels]
    return Dataset(tuple(texts), labels.astype(np.int64), ("a", "b", "c", "d"))


def ratings(count: int, seed: int = 0) -> Dataset:
    """Values between 100 and 160: how many of three words are good ones."""
    plain = sentiment(count, seed)
    rng = np.random.default_rng(seed + 100)
    good = np.array(
        [sum(word in ("good", "great", "fine", "lovely", "warm") for word in t.split()) for t in plain.texts]
    )  # type: ignore[union-attr]
    values = (100 + 20 * good + 10 * plain.labels + rng.normal(size=count)).astype(np.float32)
    return Dataset(plain.texts, (values > np.median(values)).astype(np.int64), ("below", "above"), values)


def entailment(count: int, seed: int = 0) -> Dataset:
    """Pairs; the second text tells the label."""
    rng, second = np.random.default_rng(seed), sentiment(count, seed)
    pairs = tuple((" ".join(rng.choice(FILLER, 3)), str(text)) for text in second.texts)
    return Dataset(pairs, second.labels, ("yes", "no"))


@pytest.mark.parametrize("method", ["dc", "pslf"])
def test_the_other_baselines_learn(fake_host: FakeHost, method: str, tmp_path: Path) -> None:
    more = {"pslf_epsilon": 3.0, "steps": 150} if method == "pslf" else {}
    tuner = P3EFT("toy", clients([fake_host]), method=method, run=prepared(tmp_path), **{**LONGER, **more})
    tuner.fit(sentiment(600))
    dev = sentiment(1000, seed=1)
    assert tuner.evaluate(dev)["accuracy"] > 0.8
    names = {n for _, path, body in fake_host.seen if "backward" in path for n in decode(body)[0]}
    assert names == {"s.0.0"}, "one set, its gradient as it is"
    loaded = P3EFT.load(tmp_path / "run", clients([fake_host]), progress=False)
    assert np.array_equal(loaded.predict_proba(dev.texts), tuner.predict_proba(dev.texts))


@pytest.mark.parametrize("method", ["p3eft", "lora", "frozen", "dc", "pslf"])
def test_label_privacy_composes_with_every_method(fake_host: FakeHost, method: str, tmp_path: Path) -> None:
    data = sentiment(600)
    settings = {**LONGER, "method": method, "label_epsilon": 2.0, "pslf_epsilon": 4.0, "run": prepared(tmp_path)}
    tuner = P3EFT("toy", clients([fake_host]), **settings)
    result = tuner.fit(data)
    assert tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.7
    assert result.accuracy < largest_accuracy(2.0, 2) + 0.03, "training accuracy is that on the flipped labels"


def test_a_row_is_flipped_once_and_not_once_an_epoch(
    fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sentiment(256)
    tuner = P3EFT("toy", clients([fake_host]), label_epsilon=1.0, run=prepared(tmp_path), **{**SMALL, "steps": 24})
    take = TrainingLabels.take
    seen: dict[int, set[tuple[int, int]]] = {}

    def watched(self: TrainingLabels, rows: np.ndarray) -> TrainingLabels:
        labels = take(self, rows)
        for row, target, true in zip(rows, labels.targets, labels.true, strict=True):
            seen.setdefault(int(row), set()).add((int(target), int(true)))
        return labels

    monkeypatch.setattr(TrainingLabels, "take", watched)
    tuner.fit(data)
    assert len(seen) == 256 and all(len(shown) == 1 for shown in seen.values())
    flipped = sum(target != true for ((target, true),) in map(tuple, seen.values()))
    assert 40 <= flipped <= 97, "0.27 of 256 are 69, give or take 7"


@pytest.mark.parametrize("hosts", [1, 2])
def test_many_classes(fake_hosts: Hosts, hosts: int, tmp_path: Path) -> None:
    settings = {**LONGER, "label_epsilon": 5.0, "run": prepared(tmp_path)}
    tuner = P3EFT("toy", clients(fake_hosts(hosts)), **settings)
    tuner.fit(topics(600))
    dev = topics(1000, seed=1)
    assert tuner.evaluate(dev)["accuracy"] > 0.8
    assert tuner.predict_proba(dev.texts).shape == (1000, 4)


@pytest.mark.parametrize("method", ["p3eft", "dc", "frozen"])
def test_a_regression(fake_host: FakeHost, method: str, tmp_path: Path) -> None:
    settings = {**LONGER, "method": method, "run": prepared(tmp_path), "steps": 150}
    tuner = P3EFT("toy", clients([fake_host]), **settings)
    tuner.fit(ratings(500))
    dev = ratings(1000, seed=1)
    scores = tuner.evaluate(dev)
    assert dev.values is not None
    assert scores["spearman"] > 0.6 and scores["rmse"] < 0.75 * float(dev.values.std())
    loaded = P3EFT.load(tmp_path / "run", clients([fake_host]), progress=False)
    assert np.array_equal(loaded.predict_values(dev.texts), tuner.predict_values(dev.texts))
    assert loaded.evaluate(dev) == scores
    with pytest.raises(RunError, match="use predict_values"):
        tuner.predict(dev.texts)
    with pytest.raises(RunError, match="task='regression'"):
        tuner.evaluate(sentiment(10))


def test_pair_tasks(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner = P3EFT("toy", clients([fake_host]), run=prepared(tmp_path), **LONGER)
    tuner.fit(entailment(600))
    dev = entailment(1000, seed=1)
    assert tuner.evaluate(dev)["accuracy"] > 0.7
    assert set(tuner.predict(dev.texts[:5])) <= {"yes", "no"}
    with pytest.raises(RunError, match="classifier"):
        tuner.predict_values(dev.texts)


@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize("coefficients", ["averaged", "antisymmetric_n01"])
def test_any_number_of_sets(fake_host: FakeHost, sets: int, coefficients: str, tmp_path: Path) -> None:
    settings = {**LONGER, "adapter_sets": sets, "coefficients": coefficients, "run": prepared(tmp_path)}
    tuner = P3EFT("toy", clients([fake_host]), **settings)
    tuner.fit(sentiment(400))
    assert tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.75, (
        "one set has nowhere to hide its label but decoys"
    )


def test_decoys_train_as_the_plain_gradient_does(fake_hosts: Hosts, tmp_path: Path) -> None:
    thetas = []
    for kind in ("plain", "decoys"):
        tuner = P3EFT("toy", clients(fake_hosts(1)), run=prepared(tmp_path, kind), obfuscation=kind, **SMALL)
        tuner.fit(sentiment(200))
        thetas.append(np.concatenate(tuner._ready().thetas))
    assert np.linalg.norm(thetas[1] - thetas[0]) < 1e-3 * np.linalg.norm(thetas[0])


def test_accumulated_batches_make_one_update(fake_host: FakeHost) -> None:
    """Adapters stay as they are for three batches; the fourth update, of the last one alone, ends the run."""
    tuner = P3EFT("toy", clients([fake_host]), accumulate=3, **{**SMALL, "steps": 10})
    tuner.fit(sentiment(400))
    sent = [decode(body)[0]["theta.0"] for _, path, body in fake_host.seen if "/forward" in path and body[:1] != b"{"]
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(sent)]
    assert len(sent) == 10 and [k for k, c in enumerate(changed, start=1) if c] == [3, 6, 9]
    assert tuner._ready().updates.optimizer.step_count == 4
    assert not np.array_equal(tuner._ready().thetas[0], sent[-1])


def test_accumulating_is_one_large_batch(fake_hosts: Hosts, tmp_path: Path) -> None:
    """Two batches of 16 and their union of 32 move a LoRA by the same amount."""
    data, ends = sentiment(32), []
    for batch_size, accumulate in ((16, 2), (32, 1)):
        settings = {**SMALL, "batch_size": batch_size, "accumulate": accumulate, "steps": accumulate, "warmup": 0}
        settings |= {"method": "lora", "optimizer": "sgd", "lr": 0.1, "head": "linear", "weight_decay": 0.0}
        tuner = P3EFT("toy", clients(fake_hosts(1)), run=prepared(tmp_path, str(batch_size)), **settings)
        tuner.fit(data)
        rate = tuner.folder.steps()[-1]["lr"]
        start = fake_host_start(tuner)
        ends.append((tuner._ready().thetas[0] - start) / rate)
    np.testing.assert_allclose(ends[0], ends[1], rtol=2e-4, atol=1e-7)


def fake_host_start(tuner: P3EFT) -> np.ndarray:
    """The adapters as the toy host starts them."""
    link = tuner._ready().group.links[0]
    fresh = link.client.jobs.create("toy", tuner.settings.split_method(), seed=0)
    return np.asarray(link.client.adapter(fresh.id, 0, form="flat")["theta.0"])


def test_update_noise_is_on_adapters_only(fake_hosts: Hosts, tmp_path: Path) -> None:
    """With SGD an update is -lr times what UpdateNoise gives: as long as its noise. The head's is untouched."""
    data, moved, heads = sentiment(64), [], []
    for name, more in (("calm", {}), ("noisy", {"update_clip": 0.01, "update_noise": 5.0})):
        settings = {
            **SMALL,
            "method": "lora",
            "steps": 1,
            "optimizer": "sgd",
            "lr": 1.0,
            "weight_decay": 0.0,
            "warmup": 0,
        }
        tuner = P3EFT("toy", clients(fake_hosts(1)), run=prepared(tmp_path, name), **{**settings, **more})
        tuner.fit(data)
        moved.append(tuner._ready().thetas[0] - fake_host_start(tuner))
        heads.append(tuner._ready().home.head.parameters[-1].copy())
    assert np.array_equal(heads[0], heads[1])
    assert np.linalg.norm(moved[1]) == pytest.approx(0.05 * np.sqrt(moved[1].size), rel=0.4)  # give or take 0.09


HARD = {
    "sgd": {"optimizer": "sgd", "lr": 0.5, "regularizer": "probe"},
    "accumulate": {"accumulate": 4, "max_grad_norm": 0.5},
    "noise": {"accumulate": 3, "update_clip": 0.5, "update_noise": 0.01},
    "pslf": {"method": "pslf", "label_epsilon": 2.0},
    "dc": {"method": "dc", "obfuscation": "decoys"},
    "sets": {"placement": "sets", "accumulate": 2, "hosts": 2},
    "steps": {"placement": "steps", "hosts": 3},
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("stop_at", [3, 13])
def test_a_killed_client_continues_bit_for_bit(
    fake_hosts: Hosts, tmp_path: Path, name: str, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between forward and backward, with steps done since the last save, and gradients pending in it."""
    settings = {**SMALL, "steps": 18, "save_every": 5, **HARD[name]}
    count = int(settings.pop("hosts", 1))  # type: ignore[arg-type]
    data = sentiment(100)
    expected = P3EFT("toy", clients(fake_hosts(count)), run=prepared(tmp_path, "calm"), **settings)
    digest = expected.fit(data).adapter_sha256
    hosts, run = fake_hosts(count), prepared(tmp_path, "shaken")
    tuner = P3EFT("toy", clients(hosts), run=run, **settings)
    kill_before_backward(tuner, data, stop_at, monkeypatch)
    again = P3EFT("toy", clients(hosts), run=run, **settings)
    assert again.fit(data).adapter_sha256 == digest
    for mine, theirs in zip(
        again._ready().home.parameters.values(), expected._ready().home.parameters.values(), strict=True
    ):
        assert np.array_equal(mine, theirs)


def test_a_setting_that_the_data_cannot_have_is_refused_before_anything_is_sent(fake_host: FakeHost) -> None:
    with pytest.raises(SettingsError, match="two classes"):
        P3EFT("toy", clients([fake_host]), method="pslf", **SMALL).fit(topics(50))
    assert fake_host.seen == []
    request = ForwardRequest(texts=["good film"], train=False, adapters="none", base=True)
    assert b"good film" in request.call("ftjob-0").body
