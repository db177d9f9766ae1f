"""How near `/v1/fine_tuning/estimate` is to the run that follows: the SDK's P3EFT on MiniLM with 64 rows a step.

Owns: the run and the comparison. The host is `hosts.py`'s; loopback only. Texts are made up.
Tokens and bytes must agree to the byte; seconds are those of the host (waiting for it) and of the whole run.
Run it by `python benches/estimate.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from blindtune.client import Client
from blindtune.data import Dataset, upload_bytes
from blindtune.training.trainer import P3EFT
from hosts import Hosts

ROOT = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("BLINDTUNE_BIN", ROOT / "target/debug/blindtuned"))
BACKBONE = Path(os.environ.get("BLINDTUNE_MINILM", ROOT / ".deps/all-MiniLM-L6-v2"))
ROWS = int(os.environ.get("ROWS", "1280"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WORDS = [
    "the",
    "a",
    "film",
    "story",
    "of",
    "and",
    "is",
    "not",
    "very",
    "good",
    "bad",
    "slow",
    "warm",
    "plot",
    "acting",
    "music",
    "with",
    "without",
    "heart",
    "scenes",
]


def texts() -> tuple[str, ...]:
    """Of 4 to 40 words, as SST-2's are."""
    draw = np.random.default_rng(0)
    return tuple(" ".join(draw.choice(WORDS, size=draw.integers(4, 40))) for _ in range(ROWS))


class Timed(Client):
    """Adds up the time of the data plane's calls."""

    waited = 0.0

    def send(self, call):  # type: ignore[no-untyped-def]
        """One call, timed."""
        begun = time.perf_counter()
        answer = super().send(call)
        self.waited += time.perf_counter() - begun
        return answer


def once(base_url: str, key: str, sets: int) -> dict[str, float]:
    """Estimates a run, runs it, and compares."""
    data = Dataset(texts(), np.arange(ROWS) % 2, ("no", "yes"))
    shares = 4
    with httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=300) as http:
        form = {"file": ("rows.jsonl", upload_bytes(data.texts))}
        file = http.post("/v1/files", data={"purpose": "fine-tune"}, files=form).json()["id"]
        body = {"model": "mini", "training_file": file, "batch_size": 64, "n_epochs": 1, "shares": shares}
        body["method"] = {"type": "split", "split": {"adapter_sets": sets}}
        answer = http.post("/v1/fine_tuning/estimate", json=body)
        answer.raise_for_status()
        estimate = answer.json()
        client = Timed(base_url, key)
        tuner = P3EFT("mini", [client], progress=False, adapter_sets=sets, epochs=1.0, batch_size=64)
        result = tuner.fit(data)
        job = tuner.summary()["jobs"][0]
        trained = http.get(f"/v1/fine_tuning/jobs/{job}").json()["trained_tokens"]
        http.post(f"/v1/fine_tuning/jobs/{job}/cancel")
    return {
        "sets": sets,
        "steps": result.steps - estimate["steps"],
        "tokens": (trained or 0) - estimate["trained_tokens"],
        "up": result.bytes_up - estimate["bytes_up"],
        "down": result.bytes_down - estimate["bytes_down"],
        "estimated_s": estimate["seconds"],
        "host_s": client.waited,
        "run_s": result.seconds,
    }


def main() -> int:
    """Print a table; exit 1 when the host's seconds are off by more than a fifth."""
    with Hosts(BINARY, {"engine.threads": "0"}, {"mini": BACKBONE}) as hosts:
        host = hosts.get()
        rows = [once(host.url, host.key, 1 + number % 2) for number in range(ROUNDS)]
    print("differences of steps, tokens, bytes; seconds")
    for row in rows:
        row["off"] = row["estimated_s"] / row["host_s"] - 1
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    out = ROOT / "var/bench/estimate.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))
    return 0 if all(abs(row["off"]) <= 0.2 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
