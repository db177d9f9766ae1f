"""Hidden states of all levels: our host over HTTP against transformers in-process: `make bench-features`.

Both sides in one run, in turns, on the same LibTorch, weights and one thread; the first rows of SST-2 in the order of
the file. The host is given texts, by calls and by a job, and its time is all that its client waits: HTTP, tokens, the
pass, bytes. transformers is given token ids, padded to batches of 64, and its time is that of the forwards alone.
Beside it what the host's device did for these features, and for an epoch of plain LoRA on the same rows.

Owns: the run, and `var/bench/features.json`. Must never: time the peer's tokens, or compare answers that differ.

    DATA     a table of texts (default ../shared/data/sst2/train.tsv; nothing runs when it is absent)
    ROWS     how many of them (default 4,096)
    ROUNDS   turns (default 3)
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench import machine, same_libtorch
from blindtune import Client, Dataset, Tuner
from blindtune.data import read_texts
from blindtune.data.chunks import evaluation_chunks, upload_bytes
from hosts import Host, Hosts
from peerlink import PeerLink
from science import BACKBONE, BINARY, MODEL, ROOT

DATA = Path(os.environ.get("DATA", ROOT.parent / "shared/data/sst2/train.tsv"))
PEER = Path(os.environ.get("BLINDTUNE_PEER", ROOT / ".deps/peft/bin/python"))
ROWS = int(os.environ.get("ROWS", "4096"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
BATCH, CHUNK = 64, 128
COMPARED = 256
TOLERANCE = 1e-5
OVER = ("succeeded", "failed", "cancelled")


def by_calls(client: Client, texts: Sequence[str], dtype: str = "float16") -> None:
    """All levels and tokens, 128 texts a call, one call after the other."""
    for chunk in evaluation_chunks(texts, CHUNK):
        client.activations.hidden_states(MODEL, chunk, dtype=dtype)


def last_tokens(client: Client, texts: Sequence[str]) -> None:
    """The last level alone, as evaluation asks for it: `pooling: none`."""
    for chunk in evaluation_chunks(texts, CHUNK):
        client.activations.create(MODEL, chunk, pooling="none")


def by_job(client: Client, texts: Sequence[str]) -> None:
    """From the upload to the last byte of the last file."""
    file = client.files.create(("inputs.jsonl", upload_bytes(texts)))
    method = {"type": "features", "features": {"layers": "all", "tokens": "all", "dtype": "float16"}}
    job = client.jobs.create(MODEL, method, training_file=file.id, protection="blind")
    while job.status not in OVER:
        time.sleep(0.02)
        job = client.jobs.retrieve(job.id)
    if job.status != "succeeded":
        raise RuntimeError(f"the features job is {job.status}: {job.error}")
    for name in (*job.result_files, file.id):
        client.files.content(name)
        client.files.delete(name)


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and processor seconds of all who worked: host, its Postgres and the client, or the peer."""

    wall: float
    cpu: float


def of_peer(link: PeerLink, ids: Sequence[Sequence[int]]) -> Spent:
    """Its forwards."""
    answer = link.ask("hidden_states", name=MODEL, ids=ids, batch=BATCH)
    return Spent(float(answer["wall"]), float(answer["cpu"]))


def check_same(client: Client, link: PeerLink, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> float:
    """The largest difference of any level of the first rows, in float32; refused where it is no rounding."""
    ours = client.activations.hidden_states(MODEL, texts[:COMPARED]).tensors
    answer = link.folder / "hidden.safetensors"
    link.ask("hidden_states", name=MODEL, ids=ids[:COMPARED], batch=BATCH, answer=str(answer))
    theirs = link.read(answer)
    worst = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours if name.startswith("hidden."))
    if worst > TOLERANCE:
        raise RuntimeError(f"hidden states differ by {worst:g}")
    return worst


def of_host(host: Host, work: Callable[[], None]) -> Spent:
    """All that it takes."""
    before, begun = host.cpu(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - begun, sum(host.cpu().since(before).values()))


def device_seconds(client: Client, work: Callable[[], object]) -> float:
    """What the host's device did meanwhile."""
    before = float(client.usage.retrieve().total["device_seconds"])
    work()
    return float(client.usage.retrieve().total["device_seconds"]) - before


def lora_epoch(client: Client, texts: Sequence[str]) -> None:
    """Plain LoRA, batches of 64. Labels are by chance: what a step takes does not depend on them."""
    data = Dataset(tuple(texts), np.arange(len(texts)) % 2, ("a", "b"))
    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(
            MODEL, [client], run=folder, progress=False, method="lora", pooling="cls", batch_size=64, epochs=1
        )
        tuner.fit(data)
        tuner.complete()


def host_work(client: Client, texts: Sequence[str]) -> dict[str, float]:
    """Device seconds of the features of these rows, once, and of one epoch of LoRA on them."""
    return {
        "features": device_seconds(client, lambda: by_calls(client, texts)),
        "lora, one epoch": device_seconds(client, lambda: lora_epoch(client, texts)),
    }


def measure(host: Host, link: PeerLink, texts: Sequence[str]) -> dict[str, Any]:
    """What each way takes, round by round."""
    client = host.client()
    ids = link.ask("tokenize", tokenizer=str(BACKBONE / "tokenizer.json"), texts=list(texts))["ids"]
    link.ask("load_frozen", name=MODEL, folder=str(BACKBONE))
    difference = check_same(client, link, texts, ids)
    ways: dict[str, Callable[[], Spent]] = {
        "transformers, in-process": lambda: of_peer(link, ids),
        "host, by calls": lambda: of_host(host, lambda: by_calls(client, texts)),
        "host, by a job": lambda: of_host(host, lambda: by_job(client, texts)),
        "host, last level (pooling none)": lambda: of_host(host, lambda: last_tokens(client, texts)),
    }
    for way in ways.values():
        way()  # reads the weights, writes the kernels
    rounds = [{name: asdict(way()) for name, way in ways.items()} for _ in range(ROUNDS)]
    work = [host_work(client, texts) for _ in range(ROUNDS)]
    about = {"rows": len(texts), "tokens": sum(map(len, ids)), "difference": difference}
    return about | {"seconds": rounds, "device_seconds": work}


def show(found: dict[str, Any]) -> None:
    """The table, each line with its ratio to the peer in the same round."""
    rows, turns = found["rows"], found["seconds"]
    print(f"{rows:,} rows, {found['tokens']:,} tokens; hidden states differ by {found['difference']:.1e} at most")
    first = next(iter(turns[0]))
    print(f"{'':<34}{'rows/s':>8}{'x':>7}{'least':>7}{'most':>7}{'CPU s for 1,000 rows':>22}{'x':>7}")
    for name in turns[0]:
        by_clock, by_cpu = ([t[first][kind] / t[name][kind] for t in turns] for kind in ("wall", "cpu"))
        cpu = 1000 * median(t[name]["cpu"] for t in turns) / rows
        print(
            f"{name:<34}{rows / median(t[name]['wall'] for t in turns):>8.0f}{median(by_clock):>7.2f}"
            f"{min(by_clock):>7.2f}{max(by_clock):>7.2f}{cpu:>22.2f}{median(by_cpu):>7.2f}"
        )
    features, epoch = ([turn[name] for turn in found["device_seconds"]] for name in found["device_seconds"][0])
    shares = [mine / theirs for mine, theirs in zip(features, epoch, strict=True)]
    print(
        f"device seconds: features {median(features):.1f}, an epoch of LoRA {median(epoch):.1f}: "
        f"{median(shares):.2f} of it ({min(shares):.2f} to {max(shares):.2f})"
    )


def main() -> int:
    """Print a table."""
    if not DATA.is_file():
        print(f"no data in {DATA}: set DATA to a table of texts (nothing measured)")
        return 0
    texts = [text for text in read_texts(DATA)[:ROWS] if isinstance(text, str)]
    with PeerLink(PEER, 1) as link, Hosts(BINARY, {"engine.threads": "1"}, {MODEL: BACKBONE}) as hosts:
        about = {"peer": link.ask("hello"), "machine": machine()}
        about["same_libtorch"] = same_libtorch(about["peer"])
        found = measure(hosts.get(), link, texts) | about
    show(found)
    out = ROOT / "var/bench/features.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
