"""`blindtune train` against real hosts: killed and started again, it ends where an undisturbed run ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .conftest import MODEL, RealHost
from .test_training import notes

STEPS = 8


def train(hosts: list[RealHost], data: Path, run: Path) -> list[str]:
    where = [word for host in hosts for word in ("--host", host.url, "--api-key", host.api_key)]
    settings = ["--steps", str(STEPS), "--batch-size", "8", "--save-every", "1", "--warmup", "2", "--seed", "4"]
    settings += ["--effort", "quick"]
    words = ["train", "--data", str(data), "--dev", str(data), "--model", MODEL, "--method", "p3eft", "--run", str(run)]
    return [sys.executable, "-m", "blindtune.cli", *words, *where, *settings]


def test_a_killed_client_continues_to_the_same_adapters(hosts: list[RealHost], tmp_path: Path) -> None:
    data = tmp_path / "train.tsv"
    rows = notes(48)
    lines = [f"{text}\t{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    data.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    subprocess.run(train(hosts, data, calm), check=True, capture_output=True, timeout=300)
    shaken.mkdir()
    shutil.copy(calm / "secret", shaken / "secret")
    _kill_after_steps(train(hosts, data, shaken), shaken, 3)
    subprocess.run(train(hosts, data, shaken), check=True, capture_output=True, timeout=300)
    report = json.loads((shaken / "report.json").read_text())
    assert report["adapter_sha256"] == json.loads((calm / "report.json").read_text())["adapter_sha256"]
    assert report["steps"] == STEPS and 0.0 <= report["leak"]["gradients"] <= 1.0


def _kill_after_steps(command: list[str], run: Path, steps: int) -> None:
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 240
    while client.poll() is None and time.monotonic() < deadline:
        record = run / "steps.jsonl"
        if record.exists() and record.read_text().count("\n") >= steps:
            break
        time.sleep(0.02)
    assert client.poll() is None, "it was to be killed while it trains"
    client.send_signal(signal.SIGKILL)
    client.wait(10)
