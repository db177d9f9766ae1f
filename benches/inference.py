"""Embeddings of one short text on MiniLM: requests per second, with one caller and with sixteen at once.

Owns: the calls. Hosts are `hosts.py`'s; loopback only.
Each number of callers runs with passes that are shared and without (`engine.stack_tokens = 0`).
Run it by `python benches/inference.py`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from hosts import Hosts

ROOT = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("BLINDTUNE_BIN", ROOT / "target/debug/blindtuned"))
BACKBONE = Path(os.environ.get("BLINDTUNE_MINILM", ROOT / ".deps/all-MiniLM-L6-v2"))
SECONDS = float(os.environ.get("SECONDS_EACH", "8"))
TEXT = "The scan shows no change since the last visit."


def drive(base_url: str, key: str, until: float, times: list[float]) -> None:
    """Asks again and again; appends milliseconds."""
    body = {"model": "mini", "input": TEXT, "encoding_format": "base64"}
    with httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            client.post("/v1/embeddings", json=body).raise_for_status()
            times.append((time.perf_counter() - begun) * 1e3)


def measure(base_url: str, key: str, callers: int, shared: bool) -> dict[str, float | bool]:
    """Requests per second and milliseconds with so many callers at once."""
    drive(base_url, key, time.perf_counter() + 1.0, [])
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    threads = [threading.Thread(target=drive, args=(base_url, key, until, times)) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p95 = np.percentile(times, [50, 95])
    return {"callers": callers, "shared": shared, "per_s": len(times) / SECONDS, "p50_ms": p50, "p95_ms": p95}


def main() -> int:
    """Print a table."""
    results = []
    # One engine thread: a core is left for the service and the callers.
    with Hosts(BINARY, {"engine.threads": "1"}, {"mini": BACKBONE}) as hosts:
        for shared in (False, True):
            host = hosts.get({} if shared else {"engine.stack_tokens": "0"})
            results += [measure(host.url, host.key, callers, shared) for callers in (1, 16)]
            hosts.stop()
    print(f"embeddings of {TEXT!r}")
    print(f"{'callers':>8}{'shared':>8}{'per s':>9}{'p50 ms':>9}{'p95 ms':>9}")
    for row in results:
        shared = "yes" if row["shared"] else "no"
        print(f"{row['callers']:>8}{shared:>8}{row['per_s']:>9.0f}{row['p50_ms']:>9.1f}{row['p95_ms']:>9.1f}")
    out = ROOT / "var/bench/inference.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
