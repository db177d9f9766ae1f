"""Update inversion on SST-2 through a host's own API, and update noise against it. Part of `make science`.

Owns: its own host (loopback) and `benches/results/inversion.json`. Must never: copy a text or label of the data set
into the project.

Plain LoRA is trained with SGD for 40 batches of 64. The host knows the texts, both adapter values of the last step and
the learning rate, and solves for the gradient of the activations, whose left vector is the labels. Noise of growing
length is then added to that update, as a label holder would, and the attack is repeated; so is the attack on fresh
texts in place of the step's, for the excess.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from blindtune import P3EFT, Client, Dataset
from blindtune.arrays import I64, AnyArray
from blindtune.audit import HostJacobian, Recorder, SGDReader, evaluate, invert
from blindtune.audit.inversion import Update, guesses, updates_of
from blindtune.audit.moments import Reading
from blindtune.data import read_dataset
from blindtune.optimizers import SGDSettings, learning_rate
from blindtune.training.run_audit import recorded
from hosts import Hosts
from science import BACKBONE, BINARY, DATA, MODEL, ROOT

RESULTS = ROOT / "benches/results/inversion.json"
STEPS, BATCH, RATE, DECAY = 40, 64, 0.1, 0.01
RATIOS = tuple(float(r) for r in os.environ.get("RATIOS", "0,1,3,10,30,100,300").split(","))
ROUNDS_UNDER_NOISE = 2


def train(client: Client, data: Dataset) -> tuple[Update, AnyArray]:
    """Plain LoRA by SGD; the last update as the host saw it, and the labels by row."""
    settings = {"method": "lora", "optimizer": "sgd", "lr": RATE, "head_lr": RATE, "weight_decay": DECAY}
    tuner = P3EFT(MODEL, [client], steps=STEPS + 1, batch_size=BATCH, pooling="cls", progress=False, **settings)
    recorder = Recorder(rows=BATCH * 3, keep_thetas=True)
    with recorded([client], recorder):
        tuner.fit(data)
    labels = tuner.folder.labels()
    assert labels is not None
    return updates_of(recorder.seen(), 0, 0)[-1], labels


def scores(jacobian: HostJacobian, reading: Reading, rows: I64, labels: AnyArray, rounds: int) -> dict[str, float]:
    """AUC by attack."""
    found = invert(jacobian, reading, 1, rounds)
    findings = (evaluate(guess, labels, 2, 0) for guess in guesses(found, rows, 2, "host0/set0"))
    return {finding.attack.rpartition("/")[2]: round(finding.score, 4) for finding in findings if finding is not None}


def rate_of(step: int) -> float:
    """The trainer's schedule at the attacked step, which a host that knows the settings knows."""
    return learning_rate(step, STEPS + 1, (STEPS + 1) // 10, RATE)


def measure(client: Client, data: Dataset) -> dict[str, Any]:
    """Every ratio of noise to update, on the step's own rows and on fresh ones."""
    update, labels = train(client, data)
    reader = SGDReader(SGDSettings(lr=RATE, weight_decay=DECAY))
    exact = reader.read(update.before, update.after, rate_of(update.batches[1]))
    size, rng = float(np.linalg.norm(exact.gradient)), np.random.default_rng(0)
    fresh = np.setdiff1d(np.arange(len(labels)), update.rows)[:BATCH]
    table = []
    for ratio in RATIOS:
        noise = rng.normal(size=len(exact.gradient)) * size / np.sqrt(len(exact.gradient))
        reading = replace(exact, gradient=exact.gradient + ratio * noise)
        rounds = 6 if ratio == 0 else ROUNDS_UNDER_NOISE
        line: dict[str, Any] = {"noise_over_update": ratio, "multiplier": round(ratio / np.sqrt(len(noise)), 4)}
        for name, rows in (("step", update.rows), ("fresh", fresh)):
            with HostJacobian(client, update.job, rows, update.before) as jacobian:
                line[name] = scores(jacobian, reading, rows, labels, rounds)
        line["best"] = max(line["step"].values())
        line["excess"] = round(line["best"] - max(line["fresh"].values()), 4)
        print(json.dumps(line), flush=True)
        table.append(line)
    return {"batch": BATCH, "steps": STEPS, "optimizer": "sgd", "table": table}


def main() -> int:
    """Print the table and keep it."""
    if not (DATA / "train.tsv").exists():
        print(f"no data in {DATA}: set DATA to a folder with train.tsv and dev.tsv (nothing measured)")
        return 0
    started, data = time.monotonic(), read_dataset(DATA / "train.tsv")
    some = data.take(np.random.default_rng(0).permutation(len(data))[:6000])
    threads = os.environ.get("THREADS", "2")
    with Hosts(BINARY, {"engine.threads": threads, "database.durable": "false"}, {MODEL: BACKBONE}) as hosts:
        found = measure(hosts.get().client(), some)
    RESULTS.parent.mkdir(exist_ok=True)
    Path(RESULTS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
