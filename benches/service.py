"""What a second process on the same backbone costs, and how long a backbone takes to load.

Owns: two hosts of its own on the same folder. Must never: read a figure before both have run a step.
"""

from __future__ import annotations

import re
import time

from cases import make_batch, of_length
from hosts import Host, Hosts
from sides import HostJob, Work
from table import Fact

MIB = 1024 * 1024
LOAD_GOAL_MS = 5.0
# The host's own words on loading a backbone.
LOADED = re.compile(r"loaded the backbone.*?\bload_us=(\d+)")


def first_step_ms(host: Host, work: Work, vocabulary: int) -> float:
    """Milliseconds by which a job's first one-token forward is longer than its second: an upper bound of the load."""
    job = HostJob(host, work)
    took = []
    for turn in range(2):
        batch = make_batch(of_length(1, vocabulary), 1, (work.sets, 1), (job.parameters, work.width), turn)
        begun = time.perf_counter()
        _, between = job.take(batch)
        took.append((between - begun) * 1e3)
    job.client.close()  # the job stays, and with it the backbone
    return max(0.0, took[0] - took[1])


def measure_service(hosts: Hosts, work: Work, vocabulary: int, size_note: str) -> list[Fact]:
    """Two hosts with the same model open: the load, and each one's memory of the weights."""
    first, second = hosts.get(purpose="first"), hosts.get(purpose="second")
    bounds = [first_step_ms(host, work, vocabulary) for host in (first, second)]
    logged = [int(found) / 1e3 for host in (first, second) for found in LOADED.findall(host.logged())]
    facts = [_load(logged, bounds, size_note)]
    for name, host in (("first host", first), ("second host", second)):
        memory = host.mapped()
        shared = f"resident {memory['rss'] / MIB:.1f} MiB, proportional {memory['pss'] / MIB:.1f} MiB"
        goal = 0.0 if host is second else None
        private = memory["private_dirty"] / MIB  # clean pages are the page cache's, whoever maps them
        facts.append(Fact(f"weights of {size_note}, {name}: private memory", private, "MiB", goal, shared))
        facts.append(Fact(f"{name}: anonymous memory of the whole process", host.anonymous() / MIB, "MiB", None))
    return facts


def _load(logged: list[float], bounds: list[float], size_note: str) -> Fact:
    if logged:
        return Fact(f"loading {size_note}, as the host logs it, slowest", max(logged), "ms", LOAD_GOAL_MS)
    note = "the host does not log its load; first forward less second"
    return Fact(f"loading {size_note}, upper bound", max(bounds), "ms", None, note)
