"""Hosts of the bench: one process for each set of settings, with its CPU time and its memory.

Owns: the processes, their state folders (temporary), their keys and their logs, which stay where BENCH_LOGS names a
folder for them. Must never: touch a process that it did not start.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindtune import Client, RetryPolicy

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
# What eight clients at once need; nothing here changes how a step is computed.
ALWAYS = {
    "limits.steps_in_flight_per_project": "64",
    "limits.running_per_project": "64",
    "engine.queue": "64",
}


class HostError(Exception):
    """A host that does not start or does not obey."""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of our side so far: the host's process, its Postgres, and the client (this process)."""

    host: float
    postgres: float
    client: float

    def since(self, earlier: Cpu) -> dict[str, float]:
        """What was used in between."""
        return {
            "host": self.host - earlier.host,
            "postgres": max(0.0, self.postgres - earlier.postgres),
            "client": self.client - earlier.client,
        }


class Host:
    """One `blindtuned serve` with a private, durable Postgres."""

    def __init__(self, binary: Path, folder: Path, settings: Mapping[str, str], models: Mapping[str, Path]) -> None:
        self.binary, self.state, self.settings = binary, folder / "host", dict(settings)
        self.log = folder / "host.log"
        if "BENCH_LOGS" in os.environ:
            self.log = Path(os.environ["BENCH_LOGS"]) / f"{folder.name}.log"
        for name, path in models.items():
            self.add(name, path)
        self.key = self._command("keys", "create")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--port", "0", "--state-dir", self.state],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment(),
                start_new_session=True,
            )
        self.url = self._address()

    def add(self, name: str, path: Path) -> None:
        """Add a backbone; quicker while the host runs than before, for then Postgres does."""
        self._command("models", "add", str(path), "--name", name)

    def client(self, retry: RetryPolicy | None = None) -> Client:
        """A client of its own."""
        return Client(self.url, self.key, retry=retry)

    def cpu(self) -> Cpu:
        """CPU seconds so far, in ticks of 10 ms for what is not this process."""
        seconds = _cpu_of_tree(self.process.pid)
        host = seconds.pop(self.process.pid, 0.0)
        return Cpu(host, sum(seconds.values()), time.process_time())

    def mapped(self, suffix: str = ".safetensors") -> dict[str, int]:
        """Bytes of the host's mappings of files that end so: rss, pss, private_dirty, ..."""
        sums: dict[str, int] = {"rss": 0, "pss": 0, "private_clean": 0, "private_dirty": 0, "shared_clean": 0}
        inside = False
        for line in Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                inside = words[-1].endswith(suffix)
            elif inside and words[0][:-1].lower() in sums:
                sums[words[0][:-1].lower()] += int(words[1]) * 1024
        return sums

    def anonymous(self) -> int:
        """Private bytes of the whole process that no file backs."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(kb) * 1024 for kb in re.findall(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE))

    def logged(self) -> str:
        """Its log so far, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def stop(self) -> None:
        """Ask it to stop; kill it when it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _environment(self) -> dict[str, str]:
        named = {f"BLINDTUNE_{name.upper().replace('.', '__')}": value for name, value in self.settings.items()}
        # A thread of LibTorch that waits must not take a core from Postgres.
        return os.environ | {"OMP_WAIT_POLICY": "passive", "NO_COLOR": "1"} | named

    def _command(self, *words: str) -> str:
        command = [str(self.binary), *words, "--state-dir", str(self.state)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        if done.returncode != 0:
            raise HostError(f"`blindtune {' '.join(words[:2])}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip().splitlines()[-1]

    def _address(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], READY_WITHIN_S)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith("listening on "):
            self.stop()
            raise HostError(f"a host did not start: {' '.join(self.logged().splitlines()[-5:])}")
        return line.removeprefix("listening on ").strip()


class Hosts:
    """Starts a host when its settings are first asked for, and stops them all at the end."""

    def __init__(self, binary: Path, base: Mapping[str, str], models: Mapping[str, Path]) -> None:
        if not binary.is_file():
            raise HostError(f"there is no host program at {binary}: run `make build`, or set BLINDTUNE_BIN")
        self.binary, self.base, self.models = binary, dict(base), dict(models)
        self._running: dict[tuple[Any, ...], Host] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.clear()
        self._stack.close()

    def get(self, settings: Mapping[str, str] | None = None, purpose: str = "") -> Host:
        """The host with these settings over the bench's own; each purpose has a process of its own."""
        wanted = (purpose, *sorted((settings or {}).items()))
        if wanted not in self._running:
            self._running[wanted] = self._start(dict(settings or {}))
        return self._running[wanted]

    def stop(self) -> None:
        """Stop them all; the next `get` starts a new one."""
        self._running.clear()
        self._stack.close()

    def _start(self, settings: dict[str, str]) -> Host:
        folder = Path(tempfile.mkdtemp(prefix="blindtune-bench-"))
        folder.chmod(0o755)  # the private Postgres runs under another account
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        host = Host(self.binary, folder, ALWAYS | self.base | settings, self.models)
        self._stack.callback(host.stop)
        return host


def _cpu_of_tree(root: int) -> dict[int, float]:
    """CPU seconds of a process and of all that descend from it, by process id."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name in brackets may hold blanks: what follows it is counted from field 3 of proc(5).
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(fields[1])
        seconds[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    tree = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree |= more
        grown = bool(more)
    return {pid: seconds[pid] for pid in tree if pid in seconds}
