"""Runs a case: every side in turn, round after round, on the same batches.

Owns: the order of rounds. Must never: keep a side's tensors longer than its round.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blindtune import BlindtuneError
from cases import Case, Draw, make_batch
from hosts import HostError, Hosts
from peerlink import PeerError, PeerLink
from sides import HostJob, Runner, Sample, Work, difference, make_runner
from table import Measured, Row, compare

REFUSALS = (HostError, PeerError, BlindtuneError)


class DisagreementError(Exception):
    """The sides did not compute the same: their times mean nothing."""


@dataclass(frozen=True)
class Bench:
    """What a run works with. `link` is None in the short form; `sources` has the inputs of a length (None: SST-2's)."""

    hosts: Hosts
    link: PeerLink | None
    rounds: int
    sources: Mapping[int | None, Draw]
    # A host keeps two graphs of a job: its memory has been touched before only from the third step on.
    warm_ups: int = 3

    def turns(self) -> Iterator[tuple[int, bool, str]]:
        """The number of each round, whether it counts, and how progress calls it."""
        for turn in range(self.warm_ups):
            yield turn, False, "warm-up"
        for turn in range(self.warm_ups, self.warm_ups + self.rounds):
            yield turn, True, f"{turn - self.warm_ups + 1}/{self.rounds}"


@dataclass
class Result:
    """The rows of a case, every round for the record, and the sides that could not be run, with the reason."""

    rows: list[Row]
    record: dict[str, Any]
    refused: dict[str, str] = field(default_factory=dict)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_case(bench: Bench, case: Case, work: Work) -> Result:
    """Take the case's steps on every side that runs."""
    refused: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        runners = _open(bench, case, work, (stack, refused))
        measured, inputs = _rounds(bench, case, work, runners)
    record = {
        "inputs": inputs,
        "differs": measured.differs,
        "rounds": {name: [sample.figures() for sample in of_side] for name, of_side in measured.samples.items()},
    }
    rows = [
        compare((case.name, case.title), (one.ours, one.theirs), measured, one.goal)
        for one in case.comparisons
        if one.ours in runners and one.theirs in runners
    ]
    return Result(rows, record, refused)


def _open(bench: Bench, case: Case, work: Work, ends: tuple[contextlib.ExitStack, dict[str, str]]) -> dict[str, Runner]:
    stack, refused = ends
    runners: dict[str, Runner] = {}
    for side in case.sides:
        try:
            # Jobs that take turns in one process would get each other's freed memory, and pages to fault in with it.
            host = bench.hosts.get(side.settings, side.precision) if side.kind == "host" else None
            runners[side.name] = make_runner(side, work, host, bench.link)
        except REFUSALS as error:
            refused[side.name] = f"{type(error).__name__}: {error}"
        else:
            stack.callback(runners[side.name].close)
    names = [runner.names for runner in runners.values()]
    if any(other != names[0] for other in names):
        raise DisagreementError(f"{case.name}: the sides lay adapters out differently")
    return runners


def _rounds(
    bench: Bench, case: Case, work: Work, runners: dict[str, Runner]
) -> tuple[Measured, list[dict[str, float]]]:
    parameters = next((r.parameters for r in runners.values() if isinstance(r, HostJob)), None)
    if parameters is None:
        raise HostError(f"{case.name}: no side of ours runs")
    measured = Measured({name: [] for name in runners}, {name: {"h": 0.0, "G": 0.0} for name in runners})
    inputs = []
    for turn, counted, name in bench.turns():
        counts, sizes = (case.sets, case.shares), (parameters, work.width)
        batch = make_batch(bench.sources[case.length], case.rows, counts, sizes, turn)
        order = list(runners) if turn % 2 else list(reversed(runners))
        taken = {side: runners[side].step(batch) for side in order}
        check_agreement(case, taken, measured.differs)
        say(f"  {case.name} {name}: " + ", ".join(f"{side} {sample.wall:.2f} s" for side, sample in taken.items()))
        if counted:
            inputs.append({"tokens": batch.tokens, "fill": batch.fill})
            for side, sample in taken.items():
                measured.samples[side].append(sample)
    return measured, inputs


def check_agreement(case: Case, taken: dict[str, Sample], differs: dict[str, dict[str, float]]) -> None:
    """Note how far each side is from the first that ran; float32 sides must agree. The tensors go."""
    sides = [side for side in case.sides if side.name in taken]
    reference = taken[sides[0].name]
    for side in sides:
        for kind in ("h", "G"):
            gap = difference(taken[side.name].tensors, reference.tensors, kind)
            differs[side.name][kind] = max(differs[side.name][kind], gap)
            if side.precision == "float32" and not gap <= case.tolerance:
                what = f"{case.name}: {kind} of {side.name} differs from {sides[0].name} by {gap:.1e}"
                raise DisagreementError(f"{what}, at most {case.tolerance:.0e} is right")
    for sample in taken.values():
        sample.tensors.clear()
