"""Memory over many steps: `make soak`. STEPS (10,000) training steps of changing lengths on one host.

Its memory is read when it has rested for long enough to give back what is free: after a tenth of the steps (at least
100) and at the end.

Owns: its own host. Loopback only; ends by itself. Must never: compare figures from before the host was warm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from bench import Options
from cases import like_sst2, make_batch
from hosts import Host, Hosts
from sides import HostJob, Work

MIB = 1024 * 1024
MOST_MIB = 20.0
# An idle host looks every five seconds for what it can give back.
REST_S = 11.0
WIDTH, VOCABULARY, ROWS = 384, 30522, 4


def rested_mib(host: Host) -> float:
    """Private memory of the host when it is idle."""
    time.sleep(REST_S)
    return host.anonymous() / MIB


def soak(host: Host, steps: int, batches: int) -> dict[str, float]:
    """Take the steps, over so many different batches; memory in MiB, and how long they took."""
    job = HostJob(host, Work("bench", "", WIDTH, 2))
    begun, warm, total = time.perf_counter(), 0.0, 0
    for step in range(steps):
        job.step(make_batch(like_sst2(VOCABULARY), ROWS, (2, 2), (job.parameters, WIDTH), step % batches))
        total += 1
        if total == max(100, steps // 10):
            warm = rested_mib(host)
        if total % 1000 == 0:
            print(f"  {total} steps, {host.anonymous() / MIB:.0f} MiB before resting", flush=True)
    seconds = time.perf_counter() - begun
    end = rested_mib(host)
    return {"steps": total, "seconds": seconds, "warm_mib": warm, "end_mib": end, "grown_mib": end - warm}


def run(steps: int, out: Path, batches: int | None = None) -> dict[str, float]:
    """A host of its own on MiniLM, with a small budget for graphs, so that eviction is part of it.

    Without `batches` every step has lengths of its own. oneDNN keeps code for each number of tokens, so that memory
    grows until the host has met them all: a short run tells a leak from that only when its batches come again.
    """
    options = Options.read()
    base = {"engine.threads": str(options.threads), "engine.graph_bytes": str(64 * MIB)}
    with Hosts(options.binary, base, {"bench": options.minilm}) as hosts:
        found = soak(hosts.get(), steps, batches or steps)
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(found, indent=1))
    return found


def main() -> int:
    """Print the figures; exit 1 when memory grew by more than 20 MB."""
    found = run(int(os.environ.get("STEPS", "10000")), Options.read().out)
    print(
        f"{found['steps']:.0f} steps in {found['seconds']:.0f} s: {found['warm_mib']:.1f} MiB after a tenth of them, "
        f"{found['end_mib']:.1f} MiB at the end, grown by {found['grown_mib']:.1f} (goal: at most {MOST_MIB:.0f})"
    )
    return 0 if found["grown_mib"] <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
