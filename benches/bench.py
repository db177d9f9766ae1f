"""Our host over HTTP against transformers + PEFT in-process: `make bench`.

Both sides in one run, on the same LibTorch, weights, threads, adapters, ids and cotangents; rounds in turns.
Options are environment variables: CASES (patterns of names, with commas), ROUNDS, THREADS, DATA (a table of texts),
SHORT=1 (no PEFT: checks on MiniLM that the host's own ways of taking a step agree, and that the harness works).
Prints a table and writes var/bench/bench-<date>.json. Owns: the run. Must never: fail because of a missed goal.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blindtune.data import read_texts
from cases import BERT_64MIB, BERT_BASE, CASE_OF_JOBS, CASES, SEED, Case, Draw, from_texts, like_sst2, of_length
from hosts import Hosts
from jobs import run_jobs
from measure import REFUSALS, Bench, DisagreementError, Result, run_case, say
from peerlink import PeerLink
from sides import Work
from table import Fact, Row, render

from service import measure_service

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 30522
SERVICE_NAME = "service"


@dataclass(frozen=True)
class Options:
    """What the environment asks for."""

    binary: Path
    peer: Path
    minilm: Path
    data: Path
    out: Path
    models: Path
    cases: str
    rounds: int
    threads: int
    short: bool

    @classmethod
    def read(cls) -> Options:
        """From the environment."""
        env = os.environ
        short = env.get("SHORT", "") not in ("", "0")
        return cls(
            binary=Path(env.get("BLINDTUNE_BIN", ROOT / "target/debug/blindtuned")),
            peer=Path(env.get("BLINDTUNE_PEER", ROOT / ".deps/peft/bin/python")),
            minilm=Path(env.get("BLINDTUNE_MINILM", ROOT / ".deps/all-MiniLM-L6-v2")),
            data=Path(env.get("DATA", ROOT / "../shared/data/sst2/train.tsv")),
            out=Path(env.get("BENCH_OUT", ROOT / "var/bench")),
            models=Path(env.get("BENCH_MODELS", ROOT / "var/bench/models")),
            cases=env.get("CASES", "*"),
            rounds=int(env.get("ROUNDS", "1" if short else "5")),
            threads=int(env.get("THREADS", "1")),
            short=short,
        )


@dataclass
class Outcome:
    """All that a run found."""

    rows: list[Row] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def attempt(self, options: Options, name: str, work: Callable[[], None]) -> None:
        """One part of the run, if it is asked for; what fails does not stop the others."""
        if not any(fnmatch.fnmatch(name, pattern) for pattern in options.cases.split(",")):
            return
        say(name)
        try:
            work()
        except Exception as error:
            if not isinstance(error, (*REFUSALS, DisagreementError)):
                traceback.print_exc()
            self.not_run[name] = f"{type(error).__name__}: {error}"

    def case(self, bench: Bench, case: Case, work: Work) -> None:
        """One case."""
        self.take(case.name, run_case(bench, case, work))

    def jobs(self, bench: Bench, work: Work) -> None:
        """The jobs at once; they are cheap, so there are more rounds."""
        more = dataclasses.replace(bench, rounds=2 * bench.rounds)
        self.take(CASE_OF_JOBS.name, run_jobs(more, work, VOCABULARY))

    def take(self, name: str, result: Result) -> None:
        """Keep what a case gave."""
        self.rows += result.rows
        self.records[name] = result.record
        self.not_run |= {f"{name}, {side}": why for side, why in result.refused.items()}

    def service(self, hosts: Hosts, work: Work, vocabulary: int, note: str) -> None:
        """Load time and memory."""
        self.facts += measure_service(hosts, work, vocabulary, note)


def run_long(options: Options) -> tuple[Outcome, dict[str, Any]]:
    """Everything, against PEFT."""
    outcome = Outcome()
    with PeerLink(options.peer, options.threads) as link:
        peer = link.ask("hello")
        models = {name: options.models / name for name in ("bert-base", "bert-64mib")}
        for name, config in (("bert-base", BERT_BASE), ("bert-64mib", BERT_64MIB)):
            make_model(link, models[name], config)
        sources = make_sources(options, link)
        with Hosts(options.binary, {"engine.threads": str(options.threads)}, models) as hosts:
            bench = Bench(hosts, link, options.rounds, sources)
            work = Work("bert-base", str(models["bert-base"]), BERT_BASE["hidden_size"], 1)
            for case in CASES:
                of_case = dataclasses.replace(work, sets=case.sets)
                outcome.attempt(options, case.name, lambda c=case, w=of_case: outcome.case(bench, c, w))
            outcome.attempt(options, CASE_OF_JOBS.name, lambda: outcome.jobs(bench, work))
            hosts.stop()
            small = Work("bert-64mib", "", BERT_64MIB["hidden_size"], 1)
            vocabulary = BERT_64MIB["vocab_size"]
            outcome.attempt(options, SERVICE_NAME, lambda: outcome.service(hosts, small, vocabulary, "a 64 MiB model"))
    return outcome, peer


def run_short(options: Options) -> tuple[Outcome, dict[str, Any]]:
    """The host's own ways against each other, on MiniLM: what must be equal is, and the harness works."""
    outcome = Outcome()
    models = {"mini": options.minilm}
    with Hosts(options.binary, {"engine.threads": str(options.threads)}, models) as hosts:
        bench = Bench(hosts, None, options.rounds, {None: like_sst2(VOCABULARY)}, warm_ups=1)
        work = Work("mini", str(options.minilm), 384, 2)
        full = next(case for case in CASES if case.name == "retained-n2m2")
        case = dataclasses.replace(full, rows=8, title="graphs kept, batch 8 of lengths like SST-2's, n=2 m=2")
        outcome.attempt(options, case.name, lambda: outcome.case(bench, case, work))
        outcome.attempt(options, CASE_OF_JOBS.name, lambda: outcome.jobs(bench, dataclasses.replace(work, sets=1)))
        outcome.attempt(options, SERVICE_NAME, lambda: outcome.service(hosts, work, VOCABULARY, "MiniLM"))
    return outcome, {}


def make_model(link: PeerLink, folder: Path, config: dict[str, Any], precision: str = "float32") -> None:
    """A random model of this shape, written once, and again when the shape has changed."""
    shape = folder / "shape.json"
    wanted = config | {"precision": precision, "seed": SEED}
    if shape.is_file() and json.loads(shape.read_text()) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    say(f"writing a random model into {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    link.ask("make_model", folder=str(folder), config=config, precision=precision, seed=SEED)
    shape.write_text(json.dumps(wanted))


def make_sources(options: Options, link: PeerLink) -> dict[int | None, Draw]:
    """Inputs by length; without SST-2, random ids with its lengths."""
    sources: dict[int | None, Draw] = {case.length: of_length(case.length, VOCABULARY) for case in CASES if case.length}
    if not options.data.is_file():
        say(f"there is no {options.data}: lengths are drawn from a list")
        return sources | {None: like_sst2(VOCABULARY)}
    texts = [text if isinstance(text, str) else " ".join(text) for text in read_texts(options.data)]
    tokenizer = str(options.minilm / "tokenizer.json")
    return sources | {
        None: from_texts(texts, lambda some: link.ask("tokenize", tokenizer=tokenizer, texts=some)["ids"])
    }


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.partition(":")[2].strip() for line in info if line.startswith("model name")}
    commit = ""
    if shutil.which("git"):
        git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
        commit = git.stdout.strip()
    return {
        "cpu": ", ".join(sorted(names)),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "commit": commit,
    }


def same_libtorch(peer: dict[str, Any]) -> bool | None:
    """Whether the host's LibTorch and the worker's are the same file, byte for byte."""
    ours = ROOT / ".deps/libtorch/lib/libtorch_cpu.so"
    if not peer or not ours.is_file():
        return None
    return len({_sha256(path) for path in (ours, Path(peer["libtorch"]))}) == 1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(options: Options, outcome: Outcome, about: dict[str, Any], name: str) -> Path:
    """The JSON file of a run."""
    now = datetime.datetime.now(datetime.timezone.utc)
    record = about | {
        "date": now.isoformat(timespec="seconds"),
        "options": {key: str(value) for key, value in dataclasses.asdict(options).items()},
        "seed": SEED,
        "comparisons": [row.record() for row in outcome.rows],
        "facts": [fact.record() for fact in outcome.facts],
        "cases": outcome.records,
        "not_run": outcome.not_run,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}-{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def main() -> int:
    """Measure and print; 1 when something could not be run or the sides disagree. A missed goal is no failure."""
    options = Options.read()
    begun = machine()
    outcome, peer = run_short(options) if options.short else run_long(options)
    about = {"machine": begun, "load_after": os.getloadavg(), "peer": peer, "same_libtorch": same_libtorch(peer)}
    path = write(options, outcome, about, "short" if options.short else "bench")
    print(f"{begun['cpu']}, {begun['cores']} cores, load {begun['load'][0]:.1f}, {options.threads} thread(s), ", end="")
    print(f"{options.rounds} round(s), same LibTorch: {about['same_libtorch']}")
    print("seconds: median (least-most); ratios: median of the rounds (least-most); CPU all: host, Postgres and client")
    print(render(outcome.rows, outcome.facts, outcome.not_run))
    print(f"\nevery round: {path}")
    return 1 if outcome.not_run else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except REFUSALS as error:
        sys.exit(f"bench: {error}")
