"""Method side on real data: SST-2 with all-MiniLM-L6-v2, from features asked once: `make science-side`.

Owns: its own host (loopback, one engine thread), `var/science-side` and `benches/results/side.json`. The same command
again repeats nothing that is done. Must never: choose a setting by the dev rows; copy a text or a label of the data set
into the project.

    DATA     folder with train.tsv and dev.tsv (default ../shared/data/sst2; nothing runs when it is absent)
    SEEDS    how many secrets, each with a run of every row (default 3)
    ONLY     rows whose name begins so
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blindtune import Client, Dataset, Tuner
from blindtune.features import FeatureSource, FeatureStore, download
from blindtune.training.run_folder import RunFolder
from hosts import Host, Hosts
from science import BACKBONE, BINARY, DATA, MODEL, ROOT, Rows, read

RESULTS = ROOT / "benches/results/side.json"
FEATURE_BYTES = 12 * 10**9
FEW = 25_600


@dataclass(frozen=True)
class SideRow:
    """One line of the table: settings at home, and how many training rows they see (all where None)."""

    name: str
    settings: Mapping[str, Any]
    rows: int | None = None

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        if self.settings.get("side") == "ladder" and find_spec("torch") is None:
            return "needs torch: the Python of make test-torch has it"
        return None


ATTENTIVE: dict[str, Any] = {"method": "side", "epochs": 3, "batch_size": 128, "lr": 1e-3, "networks": 1}
LADDER: dict[str, Any] = {"method": "side", "side": "ladder", "epochs": 5, "networks": 1, "held_out": 0.05}


def rows() -> list[SideRow]:
    """Every line, what matters most first. None was chosen by the dev rows."""
    return [
        SideRow("attentive", ATTENTIVE),
        SideRow("ladder", LADDER),
        SideRow("attentive, 25,600 rows, six epochs", {**ATTENTIVE, "epochs": 6}, FEW),
        SideRow("attentive, three networks, six epochs", {**ATTENTIVE, "epochs": 6, "networks": 3}),
        SideRow("attentive, last layer alone", {**ATTENTIVE, "layers": "6,"}),
        SideRow("attentive, four levels", {**ATTENTIVE, "layers": "4"}),
    ]


@dataclass(frozen=True)
class Lab:
    """Where it runs, on what, and what is kept."""

    host: Host
    data: Rows
    out: Path

    def client(self) -> Client:
        """A client of the host."""
        return Client(self.host.url, self.host.key)

    def store(self) -> FeatureStore:
        """The features, which all rows share."""
        return FeatureStore(self.out / "features", FEATURE_BYTES)


def fetch(lab: Lab) -> dict[str, float]:
    """All hidden states of all texts, once; what that took of both sides, where they were not here already."""
    client, store = lab.client(), lab.store()
    started = time.monotonic()
    before = client.traffic.down
    source = FeatureSource(client, MODEL)
    download(source, [*lab.data.train.texts, *lab.data.dev.texts], store, progress=True)
    return {
        "texts": len(set(lab.data.train.texts) | set(lab.data.dev.texts)),
        "seconds": time.monotonic() - started,
        "device_seconds": client.usage.retrieve().total["device_seconds"],
        "megabytes": (client.traffic.down - before) / 1e6,
    }


def measure(row: SideRow, seed: int, lab: Lab) -> dict[str, Any]:
    """One run under one secret."""
    folder = lab.out / "runs" / _key(row, seed)
    RunFolder(folder).write("secret", hashlib.sha256(f"{row.name}, seed {seed}".encode()).hexdigest().encode())
    tuner = Tuner(MODEL, [lab.client()], run=folder, features=lab.store(), progress=True, seed=seed, **row.settings)
    train = lab.data.train if row.rows is None else first(lab.data.train, row.rows)
    started = time.monotonic()
    result = tuner.fit(train)
    seconds = time.monotonic() - started
    found = {"name": row.name, "seed": seed, "rows": len(train), "settings": dict(row.settings)}
    found |= {"accuracy": tuner.evaluate(lab.data.dev)["accuracy"], "client_seconds": seconds}
    return found | {"steps": result.steps, "protection": tuner.summary()["protection"]}


def first(part: Dataset, count: int) -> Dataset:
    """The first rows."""
    return Dataset(part.texts[:count], part.labels[:count], part.label_names)


def _key(row: SideRow, seed: int) -> str:
    described = json.dumps([row.name, dict(row.settings), row.rows, seed], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def run(lines: Sequence[SideRow], seeds: Sequence[int], data: Rows, out: Path) -> dict[str, Any]:
    """Features, then every line under every secret; a line that cannot run is named with the reason."""
    out.mkdir(parents=True, exist_ok=True)
    todo = [(line, seed) for line in lines if line.missing is None for seed in seeds]
    new = [(line, seed) for line, seed in todo if not _kept(line, seed, out).exists()]
    if new:
        with Hosts(BINARY, {"engine.threads": "1", "database.durable": "false"}, {MODEL: BACKBONE}) as hosts:
            lab = Lab(hosts.get(purpose="side"), data, out)
            # A host is known by its address, and this one has another every time: what it gave before is not found.
            lab.store().clear()
            (out / "features.json").write_text(json.dumps(fetch(lab)))
            for line, seed in new:
                point = measure(line, seed, lab)
                _kept(line, seed, out).write_text(json.dumps(point))
                print(shown(point), flush=True)
    return {
        "command": "make science-side",
        "features": json.loads((out / "features.json").read_text()),
        "points": [json.loads(_kept(line, seed, out).read_text()) for line, seed in todo],
        "left_out": [{"name": line.name, "reason": line.missing} for line in lines if line.missing is not None],
    }


def _kept(row: SideRow, seed: int, out: Path) -> Path:
    return out / f"{_key(row, seed)}.json"


def shown(point: Mapping[str, Any]) -> str:
    """A line of the table."""
    return (
        f"{point['name']:<42} seed {point['seed']}  {point['rows']:,} rows  accuracy {point['accuracy']:.4f}  "
        f"{point['client_seconds']:.0f} s at home"
    )


def main() -> int:
    """Measure, print, keep."""
    if not (DATA / "train.tsv").exists():
        print(f"no data in {DATA}: set DATA to a folder with train.tsv and dev.tsv (nothing measured)")
        return 0
    only = os.environ.get("ONLY", "")
    lines = [line for line in rows() if line.name.startswith(only)]
    report = run(lines, range(int(os.environ.get("SEEDS", "3"))), read(), ROOT / "var/science-side")
    for left in report["left_out"]:
        print(f"{left['name']:<42} left out: {left['reason']}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
