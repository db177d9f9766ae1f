"""Hosts on this machine, started for the demo and stopped with it.

Owns: the host processes, their logs and their keys. Must never: touch a process that it did not start, or print a key.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from blindtune import ApiConnectionError
from transcript import TranscribedClient

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 25.0
COMMAND_WITHIN_S = 120.0
LISTENING = "listening on "
PROJECT = "demo"
LOG_LINES = 15


class HostError(Exception):
    """A host that does not start or does not obey; the message says where its log is."""


@dataclass(frozen=True)
class LocalHost:
    """A running host and a key for it."""

    name: str
    url: str
    key: str

    def client(self) -> TranscribedClient:
        """A client of its own, whose traffic counts from zero."""
        return TranscribedClient(self.url, self.key)


@contextmanager
def local_hosts(
    binary: Path, backbone: Path, model: str, out: Path, names: tuple[str, ...]
) -> Iterator[list[LocalHost]]:
    """Start one host per name, each with a state folder of its own; stop them all at the end, whatever happened."""
    if not binary.is_file():
        raise HostError(f"there is no host program at {binary}: run `make build`, or set BLINDTUNE_BIN")
    if not (backbone / "config.json").is_file():
        raise HostError(f"there is no model in {backbone}: run `make setup`, or set BLINDTUNE_MINILM")
    started: list[_Process] = []
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for name in names:
            started.append(_Process(binary, out / name))
        yield [process.prepare(backbone, model) for process in started]
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop_all(started)
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def clients_of(hosts: Sequence[LocalHost]) -> Iterator[list[TranscribedClient]]:
    """A client of its own for each host, closed at the end."""
    clients = [host.client() for host in hosts]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


class _Process:
    """One `blindtuned serve`."""

    def __init__(self, binary: Path, state: Path) -> None:
        self.binary, self.state = binary, state
        self.log = state.with_suffix(".log")
        state.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "serve", "--state-dir", str(state), "--port", "0"]
        # Two hosts share the cores: a thread that waits must not keep one busy.
        environment = {"OMP_WAIT_POLICY": "passive"} | os.environ
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this program only, which then stops the hosts in order.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_forward_lines, args=(self.process.stdout, self._lines), daemon=True).start()

    def prepare(self, backbone: Path, model: str) -> LocalHost:
        """Wait until it is ready; make a key, and add the model if it is not there from an earlier run."""
        deadline = time.monotonic() + READY_WITHIN_S
        url = self._address(deadline)
        self._wait_ready(url, deadline)
        printed = self._run("keys", "create", "--project", PROJECT).splitlines()
        if not printed:
            raise HostError(f"{self.state.name}: `blindtuned keys create` printed no key")
        host = LocalHost(self.state.name, url, printed[-1].strip())
        if model not in _models(host):
            self._run("models", "add", str(backbone), "--name", model)
        return host

    def _address(self, deadline: float) -> str:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failed(f"did not say where it listens within {READY_WITHIN_S:.0f} s") from None
            if line is None:
                raise self._failed(f"ended at its start with code {self.process.wait()}")
            if line.startswith(LISTENING):
                return line.removeprefix(LISTENING).strip()

    def _wait_ready(self, url: str, deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            if self.process.poll() is not None:
                raise self._failed(f"ended at its start with code {self.process.returncode}")
            time.sleep(0.2)
        raise self._failed(f"was not ready within {READY_WITHIN_S:.0f} s")

    def _run(self, *arguments: str) -> str:
        command = [str(self.binary), *arguments, "--state-dir", str(self.state)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False)
        except subprocess.TimeoutExpired:
            raise HostError(f"`blindtune {' '.join(arguments[:2])}` took over {COMMAND_WITHIN_S:.0f} s") from None
        if done.returncode != 0:
            name, problem = " ".join(arguments[:2]), done.stderr.strip()
            raise HostError(f"{self.state.name}: `blindtune {name}` failed with code {done.returncode}: {problem}")
        return done.stdout.strip()

    def _failed(self, what: str) -> HostError:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        return HostError(f"{self.state.name} {what}; the end of {self.log}:\n{tail}")


def _models(host: LocalHost) -> set[str]:
    client = host.client()
    try:
        return {model.id for model in client.models.list()}
    except ApiConnectionError as error:
        raise HostError(f"{host.name} does not answer: {error}") from error
    finally:
        client.close()


def _forward_lines(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _stop_all(processes: list[_Process]) -> None:
    """Ask all to stop, then wait for each; a second Ctrl-C shortens the wait, not the stopping."""
    for process in processes:
        process.process.terminate()
    deadline = time.monotonic() + STOP_WITHIN_S
    for process in processes:
        try:
            process.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.process.kill()
            process.process.wait()


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
