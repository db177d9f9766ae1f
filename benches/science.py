"""The laboratory on real data: SST-2 with all-MiniLM-L6-v2 over HTTP, method by method, attacked: `make science`.

Owns: its own hosts (loopback, one engine thread each), `var/science` and `benches/results/science.json`. The same
command again repeats nothing that is done. Must never: copy a text or a label of the data set into the project.

    DATA     folder with train.tsv and dev.tsv (default ../shared/data/sst2; nothing runs when it is absent)
    MINUTES  budget (default 75); points that do not fit are named in the file
    ONLY     lines whose name begins so, several parted by ";"; the file keeps what it has of the others
    SHORT=1  the few-minutes form that `make test` runs: 60 steps of three methods, results in a temporary folder
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindtune import Dataset, read_dataset
from blindtune.audit import Effort
from blindtune.frontier import Plan, Report, Rows, Where, run_frontier
from blindtune.frontier.grid import DC_PUBLISHED, PUBLISHED, GridPoint, of_use
from hosts import Host, Hosts

ROOT = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("BLINDTUNE_BIN", ROOT / "target/debug/blindtuned"))
BACKBONE = Path(os.environ.get("BLINDTUNE_MINILM", ROOT / ".deps/all-MiniLM-L6-v2"))
DATA = Path(os.environ.get("DATA", ROOT.parent / "shared/data/sst2"))
RESULTS = ROOT / "benches/results/science.json"
MODEL = "all-MiniLM-L6-v2"
LIMIT = 0.6
LONG, SHORT = Effort(products=74, restarts=3), Effort()
"""Of the audits: attacks that begin at random have three starts, and tier 3 two rounds beyond least squares."""

COMMON: dict[str, Any] = {"batch_size": 64, "lr": 3e-3, "pooling": "cls", "save_every": 50}
STEPS = 400
SEEDS = (0, 1, 2)
PROBE = {**PUBLISHED, "schedule": "ramp", "ramp_steps": 200, "obfuscation": "plain", "audit_every": 50}
COST = {"steps": 60, "audit_every": 0}


@dataclass(frozen=True)
class Row:
    """One line of the table: a grid point at some seeds. The order in `rows` is that of the work."""

    name: str
    settings: Mapping[str, Any]
    seed: int = 0
    hosts: int = 1
    alone: bool = False
    """Whether nothing else may run meanwhile, because its time counts."""


def probe(name: str, seed: int = 0, **settings: Any) -> Row:
    """P3EFT as published (arXiv 2412.16669), but with a ramp unless another schedule is given."""
    return Row(f"p3eft as published{name}", {**PROBE, **settings}, seed)


def ours(name: str, seed: int = 0, hosts: int = 1, **settings: Any) -> Row:
    """P3EFT with camouflage and the automatic weight: the defaults."""
    kept = settings if hosts > 1 else {"obfuscation": "plain", **settings}
    return Row(f"p3eft, automatic weight{name}", kept, seed, hosts)


def lora(name: str, seed: int = 0, **settings: Any) -> Row:
    """Plain LoRA, and what is put on top of it."""
    return Row(f"lora{name}", {"method": "lora", "audit_every": 50, **settings}, seed)


def constant(weight: float, seed: int) -> Row:
    """The weight that it starts with to the end, as the paper has it."""
    return probe(f", constant weight {weight:g}", seed, schedule="constant", activation_weight=weight)


def side(name: str, seed: int, **settings: Any) -> Row:
    """Networks at home on all rows; the settings of benches/side.py."""
    three = {"epochs": 3, "batch_size": 128, "lr": 1e-3, "networks": 1}
    return Row(f"side, attentive{name}", {"method": "side", **three, **settings}, seed)


def rows() -> list[Row]:
    """Every line, what matters most first."""
    noisy = {"update_clip": 0.1}
    return [
        *(row for seed in SEEDS for row in (lora("", seed), ours("", seed))),
        *(side("", seed) for seed in SEEDS),
        *(probe("", seed) for seed in SEEDS),
        *(probe(" + difference", seed, difference_weight=0.3) for seed in SEEDS),
        *(lora(f", label epsilon {e}", label_epsilon=float(e)) for e in (1, 2, 4)),
        Row("frozen, CLS", {"method": "frozen", "steps": 500}),
        *(Row("dc as published", {**DC_PUBLISHED, "audit_every": 50}, seed) for seed in SEEDS),
        Row("pslf", {"method": "pslf", "audit_every": 50}),
        ours(", two hosts, shares", hosts=2),
        Row("cost: lora", {"method": "lora", **COST}, alone=True),
        Row(
            "cost: p3eft as published, two sets, two hosts",
            {**PROBE, **COST, "obfuscation": "shares"},
            0,
            2,
            alone=True,
        ),
        ours(", label epsilon 2", label_epsilon=2.0),
        *(lora(f", update noise {s:g}", **noisy, update_noise=s) for s in (0.37, 0.037, 0.11, 1.1)),
        *(ours(", larger decoys", seed, decoy_amplitude=0.375) for seed in (0, 1)),
        *(ours(", two sets, larger decoys", seed, adapter_sets=2, decoy_amplitude=0.375) for seed in (0, 1)),
        *(constant(weight, 0) for weight in (0.3, 0.1, 0.0)),
        probe(", one set", adapter_sets=1),
        probe(", weight 1", activation_weight=1.0),
        *(constant(weight, seed) for seed in (1, 2) for weight in (0.3, 0.1, 0.0)),
        Row("p3eft, probe on activations and shifts", {**PROBE, "shift_weight": 0.3}),
        Row("frozen, mean", {"method": "frozen", "steps": 500, "pooling": "mean"}),
        ours(", decoys for gradients", obfuscation="decoys"),
    ]


def short_rows() -> list[Row]:
    """Enough to see that all of it runs."""
    settings = {"steps": 60, "batch_size": 32}
    return [
        Row("frozen, CLS", {"method": "frozen", **settings}),
        Row("lora", {"method": "lora", **settings}),
        Row("p3eft, automatic weight", {"obfuscation": "plain", **settings}),
    ]


def plan(row: Row, where: Where, data: Rows, out: Path, budget_s: float) -> Plan:
    """A frontier of one line, in a folder of its own: two processes must not write the same files."""
    own = GridPoint(row.name, row.settings, row.hosts)
    point = GridPoint(row.name, {**of_use({"steps": STEPS, **COMMON}, own), **row.settings}, row.hosts)
    effort = SHORT if row.settings.get("steps", STEPS) < STEPS else LONG
    folder = out / point.key(row.seed)
    return Plan(where, data, (point,), (row.seed,), budget_s, folder, LIMIT, effort=effort)


def work(row: Row, where: Where, data: Rows, out: Path, until: float) -> Report:
    """One line, if the budget is not spent."""
    return run_frontier(plan(row, where, data, out, max(0.0, until - time.monotonic())))


def in_halves(lines: Sequence[Row], hosts: Sequence[Host], data: Rows, out: Path, until: float) -> list[Report]:
    """What needs both hosts or an idle machine, line by line; then the others on both hosts at once, a core each."""
    double = [row for row in lines if row.hosts > 1 or row.alone]
    single = [row for row in lines if row not in double]
    places = [Where(MODEL, (host.url,), (host.key,)) for host in hosts]
    both = Where(MODEL, tuple(h.url for h in hosts), tuple(h.key for h in hosts))
    found = [work(row, both if row.hosts > 1 else places[0], data, out, until) for row in double]
    waiting = deque(single)
    with ProcessPoolExecutor(len(hosts)) as pool, ThreadPoolExecutor(len(hosts)) as keepers:

        def keep_busy(place: Where) -> list[Report]:
            mine = []
            while waiting:
                mine.append(pool.submit(work, waiting.popleft(), place, data, out, until).result())
            return mine

        return found + [report for part in keepers.map(keep_busy, places) for report in part]


def joined(reports: Sequence[Report], lines: Sequence[Row]) -> Report:
    """All of it in the table's order."""
    order = {(row.name, row.seed): k for k, row in enumerate(lines)}
    points = sorted((p for r in reports for p in r.points), key=lambda p: order[p.name, p.seed])
    left_out = sorted((e for r in reports for e in r.left_out), key=lambda e: order[e.name, e.seed])
    about = {**reports[0].about, "hosts": ["loopback"], "grid": list(dict.fromkeys(row.name for row in lines))}
    about["seeds"] = sorted({row.seed for row in lines})
    about["command"] = "make science"
    return Report(about, tuple(points), tuple(left_out))


def run(lines: Sequence[Row], data: Rows, out: Path, budget_s: float) -> Report:
    """Measure every line on hosts of our own."""
    out.mkdir(parents=True, exist_ok=True)
    base = {"engine.threads": "1", "database.durable": "false"}
    until = time.monotonic() + budget_s
    with Hosts(BINARY, base, {MODEL: BACKBONE}) as hosts:
        both = [hosts.get(purpose=name) for name in ("first", "second")]
        return joined(in_halves(lines, both, data, out, until), lines)


def kept(found: Report, before: Report, lines: Sequence[Row]) -> Report:
    """What was found, and of the lines that were not measured now what the file had, in the table's order.

    A line that the table no longer has stays where it was measured, and is not missed where it was not.
    """
    now = {(entry.name, entry.seed) for entry in (*found.points, *found.left_out)}
    table = {(row.name, row.seed) for row in lines}
    old_points = [point for point in before.points if (point.name, point.seed) not in now]
    old_left = [entry for entry in before.left_out if (entry.name, entry.seed) in table - now]
    order = [row.name for row in lines] + [point.name for point in old_points]
    points = sorted((*found.points, *old_points), key=lambda point: (order.index(point.name), point.seed))
    names = list(dict.fromkeys(point.name for point in points))
    about = {**found.about, "grid": names, "seeds": sorted({point.seed for point in points})}
    return Report(about, tuple(points), (*found.left_out, *old_left))


def read() -> Rows:
    """The data set, where it is."""
    train = read_dataset(DATA / "train.tsv")
    return Rows(train, read_dataset(DATA / "dev.tsv", train.label_names))


def compact(report: Report) -> str:
    """JSON with one line for each run: a run that is measured again changes one line in git, not a thousand."""
    parts = report.to_dict()
    lists = {name: parts.pop(name) for name in ("points", "left_out")}
    head = [f"{_json(name)}:{_json(value)}" for name, value in parts.items()]
    runs = [f"{_json(name)}:[{','.join(chr(10) + _json(run) for run in some)}\n]" for name, some in lists.items()]
    return "{" + ",\n".join(head + runs) + "}\n"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def show(report: Report) -> None:
    """The table."""
    for point in report.points:
        tiers = "  ".join(f"tier {tier} {leak.score:.3f}" for tier, leak in sorted(point.tiers.items()))
        print(f"{point.name:<42} seed {point.seed}  accuracy {point.accuracy:.3f}  {tiers}  {point.seconds:.0f} s")
    for entry in report.left_out:
        print(f"{entry.name:<42} seed {entry.seed}  {entry.status}: {entry.reason}")


def main() -> int:
    """Measure, print, keep."""
    if not (DATA / "train.tsv").exists():
        print(f"no data in {DATA}: set DATA to a folder with train.tsv and dev.tsv (nothing measured)")
        return 0
    lines = [row for row in rows() if row.name.startswith(tuple(os.environ.get("ONLY", "").split(";")))]
    report = run(lines, read(), ROOT / "var/science", 60.0 * float(os.environ.get("MINUTES", "75")))
    show(report)
    RESULTS.parent.mkdir(exist_ok=True)
    if "ONLY" in os.environ and RESULTS.exists():
        report = kept(report, Report.read(RESULTS), rows())
    RESULTS.write_text(compact(report), encoding="utf-8")
    return 0


def small(data: Rows, train_rows: int, dev_rows: int) -> Rows:
    """The first rows of each part."""

    def first(part: Dataset, count: int) -> Dataset:
        return Dataset(part.texts[:count], part.labels[:count], part.label_names)

    return Rows(first(data.train, train_rows), first(data.dev, dev_rows))


if __name__ == "__main__":
    sys.exit(main())
