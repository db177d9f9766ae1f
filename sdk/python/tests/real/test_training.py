"""The trainer against real hosts: it learns, keeps the labels, and survives deaths on both sides."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from blindtune import P3EFT, Client, Dataset
from blindtune.training.run_folder import RunFolder

from .conftest import MODEL, RealHost

SMALL = {"batch_size": 8, "lr": 3e-3, "seed": 5, "warmup": 2, "ramp_steps": 4, "save_every": 2}
GOOD, BAD = ["is well again", "has no pain", "sleeps soundly"], ["is worse today", "has strong pain", "cannot sleep"]


def notes(count: int, seed: int = 0) -> Dataset:
    """Short notes with a label that their words tell."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    texts = [f"the {rng.choice(['man', 'woman', 'child'])} {rng.choice(GOOD if k else BAD)}" for k in labels]
    return Dataset(tuple(texts), labels.astype(np.int64), ("no", "yes"))


def tuner(clients: Sequence[Client], **settings: object) -> P3EFT:
    return P3EFT(MODEL, list(clients), progress=False, **(SMALL | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["lora", "p3eft"])
def test_it_learns_and_predicts(hosts: list[RealHost], method: str, tmp_path: Path) -> None:
    clients = [host.client() for host in hosts[: 2 if method == "p3eft" else 1]]
    run = tmp_path / "run"
    RunFolder(run).write("secret", b"same secret".hex().encode())
    mine = tuner(clients, method=method, steps=40, batch_size=16, ramp_steps=30, run=run)
    mine.fit(notes(200))
    dev = notes(240, seed=1)
    assert mine.evaluate(dev)["accuracy"] >= 0.85
    leak = mine.audit(dev)
    assert leak.gradients is not None
    assert leak.gradients >= 0.95 if method == "lora" else leak.gradients <= 0.75
    mine.save(tmp_path / "saved")
    again = P3EFT.load(tmp_path / "saved", clients, progress=False)
    assert again.predict(dev.texts[:5]) == mine.predict(dev.texts[:5])
    names = mine.complete()
    assert all(name and name.startswith("ft:") for name in names)


def test_the_best_state_on_dev_rows_is_what_the_host_is_left_with(hosts: list[RealHost], tmp_path: Path) -> None:
    """Labels at random: what is learned of some rows soon makes others worse."""
    clients, rng = [hosts[0].client()], np.random.default_rng(3)
    train, dev = (
        Dataset(rows.texts, rng.integers(0, 2, len(rows)), rows.label_names) for rows in (notes(24), notes(60, 1))
    )
    mine = tuner(clients, method="lora", steps=40, lr=1e-2, eval_every=3, patience=2, run=tmp_path / "run")
    result = mine.fit(train, dev)
    losses = {one["step"]: one["scores"]["loss"] for one in mine.folder.evaluations()}
    assert result.stopped and result.steps == max(losses) == 3 * len(losses) < 40
    assert result.best_step == min(losses, key=lambda step: losses[step]) == result.steps - 6
    mine.complete()
    again = P3EFT.load(tmp_path / "run", clients, progress=False)
    assert again.links[0].model is not None, "asked of the model that the host was left with"
    assert again.evaluate(dev)["loss"] == pytest.approx(losses[result.best_step], rel=1e-3)


def test_the_ledger_shows_everything_and_no_label(hosts: list[RealHost]) -> None:
    client = hosts[0].client()
    mine = tuner([client], method="lora", steps=2)
    mine.fit(notes(40))
    (job,) = mine.summary()["jobs"]
    sent = [(entry.kind, tensor["name"]) for entry in client.jobs.ledger(job) for tensor in entry.tensors]
    kinds = {(kind, name.split(".")[0]) for kind, name in sent}
    assert kinds == {("forward", "rows"), ("forward", "theta"), ("backward", "s")}


def test_a_rate_limit_slows_a_run_and_changes_nothing(hosts: list[RealHost], tmp_path: Path) -> None:
    url, data = hosts[0].url, notes(64)
    free = tuner([hosts[0].client()], method="p3eft", steps=3, run=tmp_path / "free").fit(data)
    # A call a second: slower than a run on any machine, so that some of its calls come too early.
    slow_key = hosts[0].make_key("--requests-per-minute", "60")
    with httpx.Client(base_url=f"{url}/v1", headers={"authorization": f"Bearer {slow_key}"}) as spender:
        while (answer := spender.get("/models")).status_code == 200:
            assert answer.headers["x-ratelimit-limit-requests"] == "60"
    assert answer.status_code == 429
    (tmp_path / "slow").mkdir()
    shutil.copy(tmp_path / "free" / "secret", tmp_path / "slow" / "secret")  # same mixing, same noise
    slow = tuner([Client(url, slow_key)], method="p3eft", steps=3, run=tmp_path / "slow").fit(data)
    assert slow.adapter_sha256 == free.adapter_sha256
    assert slow.retries > free.retries == 0


def test_a_killed_host_changes_nothing_in_the_result(own_host: RealHost, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    data = notes(64)
    calm = tuner([own_host.client()], method="p3eft", steps=12, run=tmp_path / "calm").fit(data).adapter_sha256
    (tmp_path / "shaken").mkdir()
    shutil.copy(tmp_path / "calm" / "secret", tmp_path / "shaken" / "secret")  # same mixing, same noise
    record = tmp_path / "shaken" / "steps.jsonl"
    killer = threading.Thread(target=_kill_twice, args=(own_host, record, random.Random(seed)))
    killer.start()
    shaken = tuner([own_host.client()], method="p3eft", steps=12, run=tmp_path / "shaken").fit(data)
    killer.join()
    assert shaken.adapter_sha256 == calm
    assert shaken.retries > 0, "the host was killed while it was needed"


def _kill_twice(host: RealHost, record: Path, rng: random.Random) -> None:
    """Kill it at any place of two steps, early and late; the run's own record tells where it is, not the clock."""
    for steps in (rng.randint(1, 3), rng.randint(5, 7)):
        deadline = time.monotonic() + 60
        while (record.read_text().count("\n") if record.exists() else 0) < steps and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.05))
        host.kill()
        host.start()


def test_sets_apart_and_steps_in_turn(hosts: list[RealHost]) -> None:
    """By the hosts' own ledgers: each got one set's adapters and gradients, or every other step.

    Texts went there too, once, to compare the backbones.
    """
    clients = [host.client() for host in hosts]
    apart = tuner(clients, placement="sets", steps=3)
    apart.fit(notes(40))
    for client, job in zip(clients, apart.summary()["jobs"], strict=True):
        names = {tensor["name"] for entry in client.jobs.ledger(job) for tensor in entry.tensors}
        assert names == {"texts", "rows", "theta.0", *(f"s.0.{j}" for j in range(4))}
    activations, base = apart.activations(["the man has no pain"], base=True)
    assert base is not None and not np.array_equal(activations[0], activations[1])
    in_turn = tuner(clients, placement="steps", steps=3)
    in_turn.fit(notes(40))
    kinds = [
        [entry.kind for entry in c.jobs.ledger(job)] for c, job in zip(clients, in_turn.summary()["jobs"], strict=True)
    ]
    assert [kind.count("backward") for kind in kinds] == [2, 1]
