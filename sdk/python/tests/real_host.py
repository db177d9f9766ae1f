"""Real hosts for tests: the binary that BLINDTUNE_BIN names, each with a private Postgres, ended by its own pid."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from blindtune import Client

MODEL = "all-MiniLM-L6-v2"


class RealHost:
    """One host on a state folder of its own; can be killed and started again."""

    running_per_project = 64
    """All tests share one project, and some leave their jobs open."""

    def __init__(self, binary: Path, backbone: Path, state: Path) -> None:
        self.binary, self.state = binary, state
        self.process: subprocess.Popen[str] | None = None
        self.port = 0
        self.command("models", "add", str(backbone), "--name", MODEL)
        self.api_key = self.make_key()

    def make_key(self, *flags: str) -> str:
        """A new key."""
        return self.command("keys", "create", *flags)

    def command(self, *words: str) -> str:
        """The last line that the command line prints."""
        done = subprocess.run(
            [self.binary, *words, "--state-dir", self.state], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def start(self) -> None:
        """Start, on the port of before where there was one, and wait until it is ready."""
        words = [self.binary, "serve", "--port", str(self.port), "--state-dir", self.state]
        settings = {"BLINDTUNE_DATABASE__DURABLE": "false", "BLINDTUNE_JOBS__LEASE_SECS": "3", "RUST_LOG": "warn"}
        # Hosts and tests share the cores: a thread that waits must not keep one busy.
        settings |= {"OMP_WAIT_POLICY": "passive", "BLINDTUNE_ENGINE__THREADS": "1"}
        # A webhook of a test listens on loopback.
        settings |= {"BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE": "true"}
        settings |= {"BLINDTUNE_LIMITS__RUNNING_PER_PROJECT": str(self.running_per_project)}
        with (self.state.parent / "host.log").open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | settings
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        assert httpx.get(f"{self.url}/readyz").status_code == 200

    def kill(self) -> None:
        """End it without warning."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0

    def client(self) -> Client:
        """A client with the host's key."""
        return Client(self.url, self.api_key)


def new_host(folder: Path) -> RealHost:
    """A started host, or a skip where there is no binary."""
    binary, backbone = os.environ.get("BLINDTUNE_BIN"), os.environ.get("BLINDTUNE_MINILM")
    if not binary or not backbone:
        pytest.skip("BLINDTUNE_BIN and BLINDTUNE_MINILM are not set; make test-sdk sets them")
    host = RealHost(Path(binary), Path(backbone), folder / "state")
    host.start()
    return host
