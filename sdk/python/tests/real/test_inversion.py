"""Tier 3 against a real host: the labels of a step come back from two consecutive adapter values."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import same_secret

from blindtune import P3EFT, Client, Dataset
from blindtune.audit import Finding, Recorder
from blindtune.audit.inversion import Knowledge, invert_recorded_update
from blindtune.audit.moments import AdamWReader, Reader, SGDReader
from blindtune.optimizers import AdamWSettings, SGDSettings

from .conftest import MODEL, RealHost

WHO, WHAT = ("man", "woman", "child", "nurse"), ("is well again", "has no pain", "is worse today", "cannot sleep")
WHEN = ("since Monday", "after the fever", "in the morning", "without any help", "as the doctor hoped", "at home")
DECAY, LR = 0.01, 0.05


def notes() -> Dataset:
    """Distinct short notes, with labels that nothing in them tells: whoever finds them read them in the update."""
    texts = [f"the {who} {what} {when}" for who, what, when in product(WHO, WHAT, WHEN)]
    labels = np.random.default_rng(0).permutation(np.arange(len(texts)) % 2)
    return Dataset(tuple(texts), labels.astype(np.int64), ("no", "yes"))


def attack(host: RealHost, steps: int, **settings: object) -> dict[str, Finding]:
    """Train, and attack the last update but the one that nobody saw the end of."""
    recorder = Recorder(rows=10_000, keep_thetas=True)
    client = Client(host.url, host.api_key, recorder=recorder.on(0))
    mine = P3EFT(MODEL, [client], method="lora", steps=steps, seed=5, warmup=0, progress=False, **settings)  # type: ignore[arg-type]
    data = notes()
    mine.fit(data)
    labels = data.labels[mine.folder.secret().permutation(len(data), "rows")]
    lr = mine.settings.lr
    knowledge = Knowledge(lambda: reader_of(mine.settings.optimizer), lambda k: lr * (steps - k) / steps, rounds=2)
    return {f.attack: f for f in invert_recorded_update(host.client(), recorder.seen(), labels, 2, knowledge)}


def reader_of(optimizer: str) -> Reader:
    if optimizer == "sgd":
        return SGDReader(SGDSettings(weight_decay=DECAY))
    return AdamWReader(AdamWSettings(weight_decay=DECAY))


@pytest.mark.parametrize(("optimizer", "steps"), [("sgd", 8), ("adamw", 2)])
def test_labels_come_back_from_two_adapter_values(
    hosts: list[RealHost], tmp_path: Path, optimizer: str, steps: int
) -> None:
    """Two steps: the first one, from lora_B = 0. Eight: in the middle of training."""
    lr = LR if optimizer == "sgd" else 1e-3
    run = same_secret(tmp_path / "run")  # how well chance matches the labels of 16 rows follows from it
    found = attack(hosts[0], steps, run=run, optimizer=optimizer, lr=lr, weight_decay=DECAY, batch_size=16)
    best = found["host0/set0/low-rank"]
    assert best.score >= 0.95
    assert best.control <= 0.75
    assert found.keys() == {f"host0/set0/{name}" for name in ("product", "lsqr", "low-rank")}
