"""Method side beside plain LoRA on real data, with all-MiniLM-L6-v2: `make science-side`.

SST-2 under three secrets, and RTE (pairs of sentences) under five. Features are asked once for each data set and serve
every run of method side.

Owns: its own host (loopback, one engine thread), `var/science-side` and `benches/results/side.json`. The same command
again repeats nothing that is done. Must never: choose a setting by the dev rows; copy a text or a label of a data set
into the project.

    DATA     folder of data sets, each with train.tsv and dev.tsv (default ../shared/data; what is absent is left out)
    SETS     names of data sets (default sst2,rte)
    SEEDS    which secrets, where not all that are said above: 1,2
    ONLY     lines whose name begins so; several are parted by ";"
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blindtune import Client, Dataset, Tuner, read_dataset
from blindtune.features import FeatureSource, FeatureStore, download
from blindtune.training.run_folder import RunFolder
from hosts import Host, Hosts
from science import BACKBONE, BINARY, MODEL, ROOT, Rows

DATA = Path(os.environ.get("DATA", ROOT.parent / "shared/data"))
RESULTS = ROOT / "benches/results/side.json"
FEATURE_BYTES = 16 * 10**9
FEW = 25_600
SEEDS = {"sst2": 3, "rte": 5}


@dataclass(frozen=True)
class SideRow:
    """One line of the table: settings, and how many training rows they see (all where None)."""

    name: str
    settings: Mapping[str, Any]
    rows: int | None = None

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        if self.settings.get("side") == "ladder" and find_spec("torch") is None:
            return "needs torch: the Python of make test-torch has it"
        return None

    @property
    def shares_features(self) -> bool:
        """Whether it learns from the hidden states that are asked for once; a projection has a job of its own."""
        return self.settings["method"] == "side" and "project" not in self.settings


ATTENTIVE: dict[str, Any] = {"method": "side", "epochs": 3, "batch_size": 128, "lr": 1e-3, "networks": 1}
LADDER: dict[str, Any] = {"method": "side", "side": "ladder", "epochs": 5, "networks": 1, "held_out": 0.05}
NARROW: dict[str, Any] = {"feature_dtype": "int8", "project": 96}
"""An eighth of the bytes: all 7 levels, each in 96 components of 8 bits, from a features job of its own."""
POOLED: dict[str, Any] = {"method": "side", "side": "pooled", "networks": 1}
"""As `Settings` has it: 20 epochs."""
LORA: dict[str, Any] = {"method": "lora", "batch_size": 64, "lr": 3e-3, "pooling": "cls", "save_every": 200}
FROZEN: dict[str, Any] = {"method": "frozen", "steps": 500, "batch_size": 64, "lr": 3e-3}
SMALL: dict[str, Any] = {"batch_size": 32, "held_out": 0.1}
"""For a few thousand rows."""


def sst2_rows() -> list[SideRow]:
    """Every line, what matters most first. None was chosen by the dev rows."""
    return [
        SideRow("lora, one epoch", {**LORA, "epochs": 1}),
        SideRow("attentive", ATTENTIVE),
        SideRow("lora, three epochs", {**LORA, "epochs": 3}),
        SideRow("attentive, three networks, six epochs", {**ATTENTIVE, "epochs": 6, "networks": 3}),
        SideRow("attentive, 25,600 rows, six epochs", {**ATTENTIVE, "epochs": 6}, FEW),
        SideRow("lora, 400 steps", {**LORA, "steps": 400}),
        SideRow("frozen, mean", {**FROZEN, "pooling": "mean"}),
        SideRow("frozen, CLS", {**FROZEN, "pooling": "cls"}),
        SideRow("ladder", LADDER),
        SideRow("attentive, 96 components a level, int8", {**ATTENTIVE, **NARROW}),
        SideRow("ladder, 96 components a level, int8", {**LADDER, **NARROW}),
        SideRow("pooled", POOLED),
        SideRow("attentive, last layer alone", {**ATTENTIVE, "layers": "6,"}),
        SideRow("attentive, four levels", {**ATTENTIVE, "layers": "4"}),
    ]


def rte_rows() -> list[SideRow]:
    """The same of pairs, of which there are few."""
    return [
        SideRow("attentive", {**ATTENTIVE, **SMALL, "epochs": 20, "networks": 3}),
        SideRow("ladder", {**LADDER, **SMALL, "epochs": 10}),
        SideRow("lora", {**LORA, "batch_size": 32, "lr": 1e-3, "epochs": 8}),
        SideRow("frozen, mean", {**FROZEN, "batch_size": 32, "pooling": "mean"}),
    ]


LINES = {"sst2": sst2_rows, "rte": rte_rows}


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


@dataclass
class Meter:
    """What the host did, and what went over the wire, since it was made."""

    client: Client

    def __post_init__(self) -> None:
        self._before = self._now()

    def read(self) -> dict[str, float]:
        """`device_seconds`, `megabytes_up`, `megabytes_down`."""
        return {name: round(value - self._before[name], 3) for name, value in self._now().items()}

    def _now(self) -> dict[str, float]:
        traffic = self.client.traffic
        used = self.client.usage.retrieve().total["device_seconds"]
        return {"device_seconds": used, "megabytes_up": traffic.up / 1e6, "megabytes_down": traffic.down / 1e6}


def fetch(lab: Lab) -> dict[str, float]:
    """All hidden states of all texts, once, and what that took of both sides."""
    client = lab.client()
    meter, started = Meter(client), time.monotonic()
    texts = [*lab.data.train.texts, *lab.data.dev.texts]
    download(FeatureSource(client, MODEL), texts, lab.store(), progress=True)
    return {"texts": len(set(texts)), "seconds": time.monotonic() - started, **meter.read()}


def measure(row: SideRow, seed: int, lab: Lab) -> dict[str, Any]:
    """One run under one secret."""
    folder = lab.out / "runs" / _key(row, seed)
    shutil.rmtree(folder, ignore_errors=True)  # of a host that is gone
    RunFolder(folder).write("secret", hashlib.sha256(f"{row.name}, seed {seed}".encode()).hexdigest().encode())
    client = lab.client()
    tuner = Tuner(MODEL, [client], run=folder, features=lab.store(), progress=True, seed=seed, **row.settings)
    train = lab.data.train if row.rows is None else first(lab.data.train, row.rows)
    meter, started = Meter(client), time.monotonic()
    result = tuner.fit(train)
    spent = {"client_seconds": round(time.monotonic() - started, 1), **meter.read()}
    found = {"name": row.name, "seed": seed, "rows": len(train), "settings": dict(row.settings)}
    found |= {"accuracy": tuner.evaluate(lab.data.dev)["accuracy"], **spent}
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
    todo = [(line, seed) for seed in seeds for line in lines if line.missing is None]
    new = [(line, seed) for line, seed in todo if not _kept(line, seed, out).exists()]
    if new:
        with Hosts(BINARY, {"engine.threads": "1", "database.durable": "false"}, {MODEL: BACKBONE}) as hosts:
            lab = Lab(hosts.get(purpose="side"), data, out)
            # A host is known by its address, and this one has another every time: what it gave before is not found.
            lab.store().clear()
            if any(line.shares_features for line, _ in new):
                (out / "features.json").write_text(json.dumps(fetch(lab)))
            for line, seed in new:
                point = measure(line, seed, lab)
                _kept(line, seed, out).write_text(json.dumps(point))
                print(shown(point), flush=True)
    features = out / "features.json"
    return {
        "features": json.loads(features.read_text()) if features.exists() else None,
        "points": [json.loads(_kept(line, seed, out).read_text()) for line, seed in todo],
        "left_out": [{"name": line.name, "reason": line.missing} for line in lines if line.missing is not None],
    }


def _kept(row: SideRow, seed: int, out: Path) -> Path:
    return out / f"{_key(row, seed)}.json"


def shown(point: Mapping[str, Any]) -> str:
    """A line of the table."""
    return (
        f"{point['name']:<42} seed {point['seed']}  {point['rows']:,} rows  accuracy {point['accuracy']:.4f}  "
        f"{point['client_seconds']:.0f} s, {point['device_seconds']:.0f} s of them on the device  {point['protection']}"
    )


def read(folder: Path) -> Rows:
    """A data set."""
    train = read_dataset(folder / "train.tsv")
    return Rows(train, read_dataset(folder / "dev.tsv", train.label_names))


def chosen(name: str) -> list[int]:
    """The secrets of a data set that `SEEDS` names."""
    every = range(SEEDS[name])
    wanted = os.environ.get("SEEDS")
    return [*every] if wanted is None else [seed for seed in map(int, wanted.split(",")) if seed in every]


def main() -> int:
    """Measure, print, keep."""
    only, report = tuple(os.environ.get("ONLY", "").split(";")), {}
    for name in os.environ.get("SETS", ",".join(LINES)).split(","):
        if not (DATA / name / "train.tsv").exists():
            print(f"no data in {DATA / name}: set DATA to a folder with {name}/train.tsv and {name}/dev.tsv")
            continue
        lines = [line for line in LINES[name]() if line.name.startswith(only)]
        report[name] = run(lines, chosen(name), read(DATA / name), ROOT / "var/science-side" / name)
        for left in report[name]["left_out"]:
            print(f"{left['name']:<42} left out: {left['reason']}")
    if report:
        RESULTS.parent.mkdir(exist_ok=True)
        kept = {"command": "make science-side", "model": MODEL, **report}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
