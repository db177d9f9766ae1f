"""The P3EFT part of the demo under many seeds, each with a secret of its own. Run by `make demo-seeds`.

Owns: the loop, the table of seeds, and how far the bars are from what seeds give. Must never: leave out a seed that
failed. SEEDS is how many (20); every finished seed is in var/demo/seeds.json at once.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from blindtune import BlindtuneError, Dataset
from corpus import make_corpus
from demo import HOSTS, dataset, log_to_file, say
from local_hosts import HostError, LocalHost, clients_of, local_hosts
from methods import MethodReport, train_method
from plan import Plan, read_plan
from report import Bar, judge_p3eft

STANDARD_ERRORS = 4.0
"""By how many standard deviations over seeds a bar has to be away from their mean."""


class SeedReport(TypedDict):
    """One seed, as it stands in seeds.json."""

    seed: int
    p3eft: MethodReport
    worst_attack: str
    bars: list[Bar]


def main() -> int:
    """0 if every seed keeps every promise with room to spare, 1 if not."""
    made_up = {name: value for name, value in os.environ.items() if name != "DATA"}
    plan, count = read_plan(made_up), int(os.environ.get("SEEDS", "20"))
    log_to_file(plan)
    corpus = make_corpus()
    train, dev = dataset(corpus.train), dataset(corpus.dev)
    try:
        with local_hosts(plan.binary, plan.backbone, plan.model, plan.out, HOSTS) as hosts:
            lora = train_once("lora", plan, (train, dev), hosts[:1])[0]
            say(f"lora: accuracy {lora['accuracy']:.3f}. p3eft under {count} seeds:")
            say(f"{'seed':>4} {'accuracy':>9} {'gradients':>10} {'worst':>6} {'seconds':>8}  the worst attack")
            found: list[SeedReport] = []
            for seed in range(count):
                found.append(try_seed(replace(plan, seed=seed), (train, dev), hosts, lora))
                (plan.out / "seeds.json").write_text(json.dumps({"lora": lora, "seeds": found}, indent=2) + "\n")
    except (HostError, BlindtuneError) as error:
        say(f"demo-seeds: {error}")
        return 1
    return conclude(found)


def train_once(
    method: str, plan: Plan, data: tuple[Dataset, Dataset], hosts: Sequence[LocalHost]
) -> tuple[MethodReport, str]:
    """What came out of one run, and its best attack."""
    with clients_of(hosts) as clients:
        outcome = train_method(method, plan, *data, clients, progress=False)
    return outcome.report, outcome.worst_attack


def try_seed(plan: Plan, data: tuple[Dataset, Dataset], hosts: Sequence[LocalHost], lora: MethodReport) -> SeedReport:
    """Train, judge and print one seed."""
    assert plan.bars is not None, "the made-up corpus has bars"
    report, worst = train_once("p3eft", plan, data, hosts)
    bars, leak = judge_p3eft(plan.bars, lora["accuracy"], report), report["leak"]
    broken = "".join(f"; BROKEN: {bar['promise']}" for bar in bars if not bar["reached"])
    say(
        f"{plan.seed:>4} {report['accuracy']:>9.3f} {leak['gradients']:>10.3f} {leak['worst']:>6.2f} "
        f"{report['seconds']:>8.0f}  {worst}{broken}"
    )
    return {"seed": plan.seed, "p3eft": report, "worst_attack": worst, "bars": bars}


def conclude(found: Sequence[SeedReport]) -> int:
    """How many seeds keep all promises, and how far each bar is from what seeds give."""
    kept = [one for one in found if all(bar["reached"] for bar in one["bars"])]
    say(f"{len(kept)} of {len(found)} seeds keep every promise.")
    measured = distances(found)
    for words, distance in measured:
        say(f"{words}: {distance:.1f} standard deviations from the bar")
    far = all(distance >= STANDARD_ERRORS for _, distance in measured)
    return 0 if len(kept) == len(found) and far else 1


def distances(found: Sequence[SeedReport]) -> list[tuple[str, float]]:
    """For each promise: mean and spread over the seeds in words, and the distance to its bar in spreads.

    Without a second seed the spread is unknown, and the distance counts as infinite.
    """
    lines = []
    for bars in zip(*(one["bars"] for one in found), strict=True):
        values, limit = [bar["value"] for bar in bars], bars[0]["limit"]
        mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        words = (
            f"{bars[0]['promise']}: {mean:.4f} +- {spread:.4f} ({min(values):.3f} to {max(values):.3f}), bar {limit:g}"
        )
        lines.append((words, abs(mean - limit) / spread if spread else float("inf")))
    return lines


if __name__ == "__main__":
    sys.exit(main())
