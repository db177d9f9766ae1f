"""Eight jobs of one short text each: all at once, against the same eight one after the other.

Owns: eight clients with a job each on two hosts: `together` has the host's own settings, `one by one` stacks nothing,
so that a host that waits for company is not compared with its own waiting. Must never: give the two different inputs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cases import CASE_OF_JOBS, JOB_TOKENS, JOBS, Batch, make_batch, of_length
from hosts import Host
from measure import Bench, Result, check_agreement, say
from sides import HostJob, Sample, Work
from table import Measured, compare

ALONE = {"engine.stack_tokens": "0"}
STEPS = 5


class Clients:
    """Eight clients of one host, each with a thread and a job."""

    def __init__(self, host: Host, work: Work) -> None:
        self.host = host
        self.jobs = [HostJob(host, work) for _ in range(JOBS)]
        self.pool = ThreadPoolExecutor(JOBS)

    def together(self, batches: list[Batch], steps: int) -> Sample:
        """In lock step: a step begins when all have ended the last one."""
        barrier = threading.Barrier(JOBS)

        def drive(job: HostJob, batch: Batch) -> dict[str, Any]:
            tensors: dict[str, Any] = {}
            try:
                for _ in range(steps):
                    barrier.wait()
                    tensors = job.take(batch)[0]
            except BaseException:
                barrier.abort()  # the others must not wait for it
                raise
            return tensors

        return self._timed(steps, lambda: list(self.pool.map(drive, self.jobs, batches)))

    def one_by_one(self, batches: list[Batch], steps: int) -> Sample:
        """The next client's step begins when the last one's has ended."""

        def drive() -> list[dict[str, Any]]:
            for _ in range(steps):
                tensors = [job.take(batch)[0] for job, batch in zip(self.jobs, batches, strict=True)]
            return tensors

        return self._timed(steps, drive)

    @property
    def retries(self) -> int:
        """Calls that the host had refused for a while."""
        return sum(job.client.traffic.retries for job in self.jobs)

    def close(self) -> None:
        """End the threads and the jobs."""
        self.pool.shutdown(cancel_futures=True)
        for job in self.jobs:
            job.close()

    def _timed(self, steps: int, work: Callable[[], list[dict[str, Any]]]) -> Sample:
        retries = self.retries
        before, begun = self.host.cpu(), time.perf_counter()
        of_jobs = work()
        wall = time.perf_counter() - begun
        cpu = {name: used / steps for name, used in self.host.cpu().since(before).items()}
        tensors = {f"{name}/{place}": value for place, one in enumerate(of_jobs) for name, value in one.items()}
        return Sample(wall / steps, cpu, tensors, {"retries": self.retries - retries})


def run_jobs(bench: Bench, work: Work, vocabulary: int, steps: int = STEPS) -> Result:
    """The rows, and every round for the record."""
    case = CASE_OF_JOBS
    many, alone = Clients(bench.hosts.get(purpose="jobs"), work), Clients(bench.hosts.get(ALONE, "jobs"), work)
    ways: dict[str, Callable[[list[Batch], int], Sample]] = {
        "one by one": alone.one_by_one,
        "together": many.together,
        "together, unstacked": alone.together,
    }
    measured = Measured({name: [] for name in ways}, {name: {"h": 0.0, "G": 0.0} for name in ways})
    sizes = (many.jobs[0].parameters, work.width)
    try:
        for turn, counted, name in bench.turns():
            draw = of_length(JOB_TOKENS, vocabulary)
            batches = [make_batch(draw, 1, (1, 1), sizes, turn * JOBS + place) for place in range(JOBS)]
            order = list(ways) if turn % 2 else list(reversed(ways))
            taken = {way: ways[way](batches, steps) for way in order}
            check_agreement(case, taken, measured.differs)
            say(f"  {case.name} {name}: " + ", ".join(f"{way} {sample.wall:.3f} s" for way, sample in taken.items()))
            for way, sample in taken.items():
                measured.samples[way] += [sample] if counted else []
    finally:
        many.close()
        alone.close()
    rows = [compare((case.name, case.title), (one.ours, one.theirs), measured, one.goal) for one in case.comparisons]
    rounds = {name: [sample.figures() for sample in of_side] for name, of_side in measured.samples.items()}
    return Result(rows, {"differs": measured.differs, "rounds": rounds, "steps_a_round": steps})
