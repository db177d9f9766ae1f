"""Trains a private classifier four ways over HTTP and shows what each host could read. Run by `make demo`.

Owns: the order of things and the words about them. Must never: leave a host running, or let a label out of here.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

import numpy as np
from blindtune import BlindtuneError, DataError, Dataset, read_dataset
from corpus import LABEL_NAMES, Note, make_corpus
from local_hosts import HostError, LocalHost, clients_of, local_hosts
from methods import Findings, Outcome, train_method, transcript_of_opposite
from picture import draw
from plan import METHODS, ROOT, Plan, read_plan
from report import DemoReport, describe, make_report, table, write_report

HOSTS = ("host-a", "host-b")
USES = {
    "frozen": "A bare backbone on one host; only a head is trained, here. This is what you get without fine-tuning.",
    "lora": "Ordinary LoRA on one host, which is sent the gradients in clear. This is what you get without privacy.",
    "p3eft": "P3EFT on two hosts: the label is camouflaged, and each host gets one share of every gradient.",
    "side": "A frozen backbone on one host gives its tokens once; everything that learns from a label stays here.",
}


def main() -> int:
    """0 if the demo shows what it promises, 1 if not or if a host fails, 2 for bad data, 130 when interrupted."""
    plan = read_plan()
    log_to_file(plan)
    try:
        return run(plan)
    except DataError as error:
        return _fail(str(error), 2)
    except FileNotFoundError as error:
        return _fail(f"there is no {error.filename}", 2)
    except (HostError, BlindtuneError) as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted; the hosts are stopped", 130)


def log_to_file(plan: Plan) -> None:
    """Warnings, those of libraries included, go to a file: the screen is for what came out."""
    plan.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=plan.out / "demo.log", filemode="w", level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    logging.captureWarnings(True)


def run(plan: Plan) -> int:
    """All stages; the exit code."""
    started = time.monotonic()
    train, dev = load_data(plan)
    say(f"\n[2/5] Starting two hosts on this machine: {plan.binary}")
    with local_hosts(plan.binary, plan.backbone, plan.model, plan.out, HOSTS) as hosts:
        for host in hosts:
            say(
                f"      {host.name} listens on {host.url}, serves {plan.model}; log: {_short(plan.out / host.name)}.log"
            )
        say("\n[3/5] Training the same classifier four ways, over HTTP")
        outcomes = {method: train_one(method, plan, train, dev, hosts) for method in METHODS}
        say("  once more with every label changed, to compare what the host is sent")
        same = same_transcript(plan, outcomes["side"], train, hosts[0])
        say("\n[4/5] Stopping the hosts")
    return conclude(plan, Findings(outcomes, same), train.label_names, time.monotonic() - started)


def load_data(plan: Plan) -> tuple[Dataset, Dataset]:
    """Labelled notes, for training and for measuring."""
    if plan.data is not None:
        say(f"[1/5] Reading {plan.data}/train.tsv and dev.tsv (DATA={plan.data.name})")
        train = read_dataset(plan.data / "train.tsv")
        dev = read_dataset(plan.data / "dev.tsv", train.label_names)
        say(f"      {len(train):,} rows to train on, {len(dev):,} to measure on")
        return train, dev
    corpus = make_corpus()
    say(f"[1/5] Making up {len(corpus.train):,} notes of a clinic's telephone desk; {len(corpus.dev):,} to measure on")
    say("      The private label: does the patient have the complaint now?")
    say(f"      Seed {plan.seed} determines everything: a demo's secret is fixed; a run's is not.")
    for note in corpus.train[:4]:
        say(f"        {LABEL_NAMES[note.label]:>3}  {note.text}")
    return dataset(corpus.train), dataset(corpus.dev)


def dataset(notes: Sequence[Note]) -> Dataset:
    """Notes as the SDK takes them."""
    labels = np.array([note.label for note in notes], dtype=np.int64)
    return Dataset(tuple(note.text for note in notes), labels, LABEL_NAMES)


def train_one(method: str, plan: Plan, train: Dataset, dev: Dataset, hosts: Sequence[LocalHost]) -> Outcome:
    """One method, with clients of its own."""
    used = hosts if method == "p3eft" else hosts[:1]
    say(f"\n  {method}: {USES[method]}\n  {_work(method, plan)}, then measuring on {len(dev)} rows")
    with clients_of(used) as clients:
        outcome = train_method(method, plan, train, dev, clients)
    say(f"  accuracy {outcome.report['accuracy']:.3f}, trained in {outcome.report['seconds']:.0f} s")
    return outcome


def _work(method: str, plan: Plan) -> str:
    if method == "side":
        return "one pass over the texts on the host, the rest at home"
    steps = plan.frozen_steps if method == "frozen" else plan.steps
    return f"{steps} steps of batch {plan.batch_size}"


def same_transcript(plan: Plan, outcome: Outcome, train: Dataset, host: LocalHost) -> bool:
    """Whether a run on opposite labels sends the host the same bytes as the run that came out so."""
    with clients_of([host]) as (client,):
        return transcript_of_opposite("side", plan, train, client, outcome.secret) == outcome.transcript


def conclude(plan: Plan, findings: Findings, label_names: tuple[str, ...], seconds: float) -> int:
    """Table, sentences, files, verdict."""
    report, outcomes = make_report(plan, findings), findings.outcomes
    say("\n[5/5] What came out (a leak of 0.50 is guessing, 1.00 is every label)\n")
    say(table(report["methods"]))
    say("  worst: the best of all attacks that know no label, on any of these tensors or several at once")
    for method, outcome in outcomes.items():
        say(f"\n{method}: each host learns")
        for line in outcome.host_learns:
            say(f"  - {line}")
    write_report(report, plan.out / "report.json")
    draw(outcomes, label_names, plan.out / "leak.png")
    say(f"\nWritten: {_short(plan.out / 'report.json')} and {_short(plan.out / 'leak.png')}, after {seconds:.0f} s.")
    return verdict(report, findings)


def verdict(report: DemoReport, findings: Findings) -> int:
    """What was promised and whether it is kept, then what is not promised; the exit code."""
    if not report["bars"]:
        say("Measured, not judged: nobody knows what your data must show.")
    else:
        say("\nPromised, and kept?")
    for bar in report["bars"]:
        say(describe(bar))
    hidden, blind = findings.outcomes["p3eft"], findings.outcomes["side"]
    if findings.same_transcript:
        say(
            f"Side is blind: with every label changed the host was sent the same bytes ({blind.transcript[:16]}).\n"
            f"What attacks read there ({blind.report['leak']['worst']:.2f}) anybody reads who has the texts."
        )
    say(
        f"P3EFT is a hurdle, not a proof: from what one host computed or was sent, the best attack without a label\n"
        f"({hidden.worst_attack}) reads {hidden.report['leak']['worst']:.2f}. SECURITY.md says what others find."
    )
    missed = [bar for bar in report["bars"] if not bar["reached"]]
    return _fail(f"{len(missed)} of {len(report['bars'])} promises are broken", 1) if missed else 0


def say(text: str) -> None:
    """Print at once, so that lines and progress bars come in order."""
    print(text, flush=True)


def _short(path: object) -> str:
    return str(path).removeprefix(f"{ROOT}/")


def _fail(message: str, code: int) -> int:
    print(f"demo: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
