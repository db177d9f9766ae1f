"""Whole runs against toy hosts: they learn, they survive crashes on both sides, and they send no label."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost, Fault

from blindtune import P3EFT, Client, RunError, SettingsError
from blindtune.arrays import decode
from blindtune.cli import main
from blindtune.client.transport import RetryPolicy
from blindtune.data import Dataset
from blindtune.private.secret import SecretStream
from blindtune.training.private_backprop import PrivateBackprop
from blindtune.training.run_folder import RunFolder

SMALL = {"adapter_sets": 2, "steps": 30, "batch_size": 32, "save_every": 5, "lr": 0.02, "progress": False}
QUICK = RetryPolicy(patience_s=5.0, first_wait_s=0.01)
Hosts = Callable[[int], list[FakeHost]]
Given = dict[str, Any]


def prepared(folder: Path, name: str = "run") -> Path:
    """A run folder with a fixed secret, so that runs can be compared."""
    run = folder / name
    RunFolder(run).write("secret", SecretStream(b"same secret").secret.hex().encode())
    return run


def clients(hosts: list[FakeHost]) -> list[Client]:
    return [Client(host.url, "key", retry=QUICK) for host in hosts]


def straight_hash(hosts: list[FakeHost], folder: Path, data: Dataset, **more: object) -> str:
    return P3EFT("toy", clients(hosts), run=prepared(folder, "straight"), **{**SMALL, **more}).fit(data).adapter_sha256


@pytest.mark.parametrize("method", ["p3eft", "lora", "frozen"])
def test_methods_learn(fake_host: FakeHost, method: str, tmp_path: Path) -> None:
    tuner = P3EFT("toy", clients([fake_host]), method=method, run=prepared(tmp_path), **{**SMALL, "steps": 80})
    result = tuner.fit(sentiment(400))
    assert result.steps == 80 and tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.8
    assert tuner.predict(["good lovely film", "awful dull plot"]) == ["positive", "negative"]
    report = tuner.audit(sentiment(200, seed=1), trained_on=sentiment(100))
    assert (report.gradients is None) == (method == "frozen")
    assert (report.differences is None) == (method != "p3eft")
    assert report.exposure and "activations" in report.excess
    judged = [tuner.verdict(report, limit).private_enough for limit in (0.0, 1.0)]
    assert judged == ([True, True] if method == "frozen" else [False, True])


def test_adapters_learn_for_a_head_as_it_was_drawn(fake_host: FakeHost, tmp_path: Path) -> None:
    """On toy hosts a head that learns reaches 0.9 without them."""
    settings = {**SMALL, "steps": 80, "lr": 0.05, "head_lr": 1e-9}
    tuner = P3EFT("toy", clients([fake_host]), method="lora", run=prepared(tmp_path), **settings)
    tuner.fit(sentiment(400))
    assert tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.75


def test_two_hosts_get_one_share_each_and_read_little_in_it(fake_hosts: Hosts, tmp_path: Path) -> None:
    hosts = fake_hosts(2)
    tuner = P3EFT("toy", clients(hosts), run=prepared(tmp_path), **{**SMALL, "steps": 60})
    tuner.fit(sentiment(400))
    for host in hosts:
        names = {n for _, path, body in host.seen if "backward" in path for n in decode(body)[0]}
        assert names == {"s.0.0", "s.1.0"}
    report = tuner.audit(sentiment(200, seed=1))
    assert report.gradients is not None and report.gradients < 0.62
    settings = {**SMALL, "obfuscation": "shares", "regularizer": "probe", "steps": 60}
    alone = P3EFT("toy", clients(fake_hosts(1)), run=prepared(tmp_path, "alone"), **settings)
    alone.fit(sentiment(400))
    found = alone.audit(sentiment(200, seed=1)).gradients
    assert found is not None and found > 0.8


def test_shares_train_as_the_plain_gradient_does(fake_hosts: Hosts, tmp_path: Path) -> None:
    thetas = []
    for count, shares in ((1, 1), (1, 3), (2, 2), (2, 3)):
        run = prepared(tmp_path, f"{count}-{shares}")
        tuner = P3EFT("toy", clients(fake_hosts(count)), run=run, shares=shares, **{**SMALL, "steps": 5})
        tuner.fit(sentiment(200))
        thetas.append(np.concatenate(tuner._ready().thetas))
    for theta in thetas[1:]:
        assert np.linalg.norm(theta - thetas[0]) < 2e-2 * np.linalg.norm(thetas[0])


def test_nothing_that_says_a_label_travels(fake_host: FakeHost, tmp_path: Path) -> None:
    data = sentiment(512)
    tuner = P3EFT("toy", clients([fake_host]), run=prepared(tmp_path), **SMALL)
    tuner.fit(data)
    tuner.evaluate(data)
    tuner.complete()
    for _, path, body in fake_host.seen:
        for word in (b"label", b"positive", b"negative", b"loss", b"metric", b"alpha_", b"mixing"):
            assert word not in body and word not in path.encode()
    names = {n for _, p, b in fake_host.seen if "/forward" in p and not b.startswith(b"{") for n in decode(b)[0]}
    assert names == {"rows", "theta.0", "theta.1"}
    uploaded = list(fake_host.files["file-0"])
    assert sorted(uploaded) == sorted(data.texts)
    order = [data.labels[data.texts.index(row)] for row in uploaded]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3, "the upload's order follows the labels"


def test_runs_differ_in_secret_and_agree_with_it(fake_hosts: Hosts, tmp_path: Path) -> None:
    data = sentiment(100)
    first = straight_hash(fake_hosts(1), tmp_path / "a", data)
    assert first == straight_hash(fake_hosts(1), tmp_path / "b", data)
    other = P3EFT("toy", clients(fake_hosts(1)), **SMALL).fit(data).adapter_sha256
    assert other != first


def kill_before_backward(tuner: P3EFT, data: Dataset, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit until that step's forward is done, and end there as a killed client does."""
    backward = PrivateBackprop.backward

    def killed(self: PrivateBackprop, gradients: object, draw: object, at: int, *more: object) -> object:
        if at == step:
            raise SystemExit
        return backward(self, gradients, draw, at, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(PrivateBackprop, "backward", killed)
        with pytest.raises(SystemExit):
            tuner.fit(data)


def before_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Do this before the forward of every step; it is told which."""
    forward = PrivateBackprop.forward

    def acted(self: PrivateBackprop, rows: object, thetas: object, base: object, step: int) -> object:
        act(step)
        return forward(self, rows, thetas, base, step)  # type: ignore[arg-type]

    monkeypatch.setattr(PrivateBackprop, "forward", acted)


@pytest.mark.parametrize("stop_at", [2, 7, 20])
@pytest.mark.parametrize(("count", "more"), [(1, {}), (2, {}), (1, {"train_coefficients": True})])
def test_a_killed_client_ends_with_the_same_adapters(
    fake_hosts: Hosts, tmp_path: Path, stop_at: int, count: int, more: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill comes between forward and backward, with steps done since the last save."""
    data = sentiment(100)
    expected = straight_hash(fake_hosts(count), tmp_path, data, **more)
    hosts, run = fake_hosts(count), prepared(tmp_path)
    tuner = P3EFT("toy", clients(hosts), run=run, **SMALL, **more)
    kill_before_backward(tuner, data, stop_at, monkeypatch)
    again = P3EFT("toy", clients(hosts), run=run, **SMALL, **more)
    result = again.fit(data)
    assert result.adapter_sha256 == expected and result.steps == 30
    assert [len(host.jobs) for host in hosts] == [1] * count
    assert [record["step"] for record in again.folder.steps()] == list(range(1, 31))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_killed_host_is_waited_for_and_told_again(
    fake_hosts: Hosts, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sentiment(100)
    expected = straight_hash(fake_hosts(1), tmp_path, data)
    (host,) = fake_hosts(1)
    tuner = P3EFT("toy", clients([host]), run=prepared(tmp_path), **SMALL)

    def restart(step: int) -> None:
        if step in (3, 11):
            host.faults = [RestartFault(host, where)]

    before_step(monkeypatch, restart)
    assert tuner.fit(data).adapter_sha256 == expected
    host.restart()
    assert 0 <= tuner.evaluate(data)["accuracy"] <= 1


class RestartFault(Fault):
    """The host dies at a request of this kind, three connections are cut, and it comes back without its memory."""

    def __init__(self, host: FakeHost, pattern: str) -> None:
        super().__init__(pattern, cut=True, times=3)
        host.restart()


def test_a_host_that_counts_differently_is_followed(
    fake_hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sentiment(100)
    expected = straight_hash(fake_hosts(1), tmp_path, data)
    (host,) = fake_hosts(1)
    tuner = P3EFT("toy", clients([host]), run=prepared(tmp_path), **SMALL)

    def confuse(step: int) -> None:
        if step in (4, 9):
            next(iter(host.jobs.values()))["next_seq"] += 3

    before_step(monkeypatch, confuse)
    assert tuner.fit(data).adapter_sha256 == expected


def test_a_run_continues_only_as_it_began(fake_host: FakeHost, tmp_path: Path) -> None:
    run = tmp_path / "run"
    P3EFT("toy", clients([fake_host]), run=run, **SMALL).fit(sentiment(100))
    with pytest.raises(RunError, match=r"lr was 0\.02, now 0\.5"):
        P3EFT("toy", clients([fake_host]), run=run, **{**SMALL, "lr": 0.5}).fit(sentiment(100))
    with pytest.raises(RunError, match="other data"):
        P3EFT("toy", clients([fake_host]), run=run, **SMALL).fit(sentiment(101))


def test_mixing_weights_are_trained_where_that_is_asked_for(fake_hosts: Hosts, tmp_path: Path) -> None:
    drawn, trained = (
        P3EFT("toy", clients(fake_hosts(1)), run=prepared(tmp_path, str(on)), train_coefficients=on, **SMALL)
        for on in (False, True)
    )
    for tuner in (drawn, trained):
        tuner.fit(sentiment(100))
    first, moved = (tuner._ready().home.mixing.weights for tuner in (drawn, trained))
    np.testing.assert_allclose(first.sum(axis=0), 1.0, atol=1e-4)
    assert np.abs(moved - first).min() > 0, "a weight was left as it was drawn"
    lora = P3EFT("toy", clients(fake_hosts(1)), method="lora", train_coefficients=True, **SMALL)
    assert not lora.settings.train_coefficients, "one set has nothing to be mixed with"


@pytest.mark.parametrize("trained", [False, True])
def test_save_and_load_are_bit_exact(fake_host: FakeHost, tmp_path: Path, trained: bool) -> None:
    data = sentiment(100)
    tuner = P3EFT("toy", clients([fake_host]), run=tmp_path / "run", train_coefficients=trained, **SMALL)
    tuner.fit(data)
    tuner.save(tmp_path / "copy")
    tuner.complete()
    shutil.rmtree(tmp_path / "run")
    loaded = P3EFT.load(tmp_path / "copy", api_keys="key", progress=False)
    assert np.array_equal(loaded.predict_proba(data.texts), tuner.predict_proba(data.texts))
    for a, b in zip(loaded._ready().updates.optimizer.second, tuner._ready().updates.optimizer.second, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(RunError, match="no run here"):
        P3EFT.load(tmp_path / "run")


def test_hosts_that_disagree_stop_the_run(fake_hosts: Hosts) -> None:
    hosts = fake_hosts(2)
    forward = hosts[1].engine.forward
    hosts[1].engine.forward = lambda texts, theta: (forward(texts, theta)[0] * 1.5, forward(texts, theta)[1])
    with pytest.raises(RunError, match="other activations"):
        P3EFT("toy", clients(hosts), **SMALL).fit(sentiment(100))


def test_settings_are_checked(fake_hosts: Hosts) -> None:
    for settings, message in (
        ({"method": "sgd"}, "method must be one of"),
        ({"shares": 1}, "1 shares for 2 hosts"),
        ({"method": "lora"}, "uses one host"),
        ({"learning_rate": 1}, "unknown setting 'learning_rate'"),
        ({"steps": 0}, "steps must be at least 1"),
    ):
        with pytest.raises(SettingsError, match=message):
            P3EFT("toy", clients(fake_hosts(2)), **settings)


def test_command_line(fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = sentiment(200)
    names = data.label_names
    lines = [f"{text}\t{names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    file = tmp_path / "train.tsv"
    file.write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    run, host = str(prepared(tmp_path)), ["--host", fake_host.url, "--api-key", "k"]
    arguments = ["train", "--data", str(file), "--dev", str(file), "--model", "toy", "--run", run, "--quiet", *host]
    arguments += ["--steps", "40", "--batch-size", "32", "--lr", "0.02", "--regularizer", "probe"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "dev accuracy" in printed and "What the host learns" in printed
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["dev"]["accuracy"] > 0.8
    assert report["leak"]["gradients"] > 0.7, "of six secrets the least found was 0.86"
    assert report["fine_tuned_models"] == ["ft:ftjob-0"]
    assert main(["predict", "--run", run, "--text", "good lovely film", *host]) == 0
    assert capsys.readouterr().out.startswith("positive\t")
    assert main(["audit", "--run", run, "--data", str(file), "--effort", "quick", *host]) == 0
    assert "a quick audit: attacks that take long were left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "report.json").read_text())["effort"] == "quick"
    assert main(["train", "--data", str(tmp_path / "none.tsv"), "--model", "toy", *host]) == 2
    assert main(["train", "--data", str(file), "--model", "toy", "--run", run, "--lr", "9", *host]) == 1
    assert "lr was 0.02, now 9;" in capsys.readouterr().err
