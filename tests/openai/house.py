"""A gateway process in front of a host, as `blindtune gateway` starts it: one for all versions that run at once.

Owns: its folder, its process (ended by its own pid), how it is handed on. Never: ending one that somebody else started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tiny_host import MODEL, ROOT, TinyHost

KEY = "of-this-house"
URL, PYTHON = "BLINDTUNE_TEST_GATEWAY_URL", "BLINDTUNE_TEST_PYTHON"


@contextmanager
def running_gateway(host: TinyHost) -> Iterator[str]:
    """The address of a started gateway; it and its folder are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="blindtune-gateway-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ["gateway", "--host", host.url, "--model", MODEL, "--port", str(port), "--state", f"{folder}/state"]
        key = host.key("gateway")
        environment = os.environ | {"PYTHONPATH": str(ROOT / "sdk/python/src"), "BLINDTUNE_API_KEY": key}
        environment |= {"BLINDTUNE_GATEWAY_KEY": KEY, "BLINDTUNE_FEATURES": f"{folder}/features"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with Path(folder, "gateway.log").open("w+") as log:
            process = subprocess.Popen(
                [_python(), "-m", "blindtune.cli", *words], stderr=log, stdout=log, env=environment
            )
            try:
                _wait_until_listening(port, process)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.send_signal(signal.SIGINT)
                code = process.wait(60)
                log.seek(0)
                assert code in (0, 130), log.read()


def handed_on(url: str) -> Mapping[str, str]:
    """What a child's environment says of a gateway."""
    return {URL: url, PYTHON: sys.executable}


@contextmanager
def shared_gateway(host: TinyHost) -> Iterator[str]:
    """The gateway that was handed on, or one of our own."""
    if URL in os.environ:
        yield os.environ[URL]
        return
    with running_gateway(host) as url:
        yield url


def _python() -> str:
    """One that has what the SDK needs; the environments of the stock package do not."""
    return os.environ.get(PYTHON) or str(ROOT / ".deps/venv/bin/python")


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError(f"the gateway does not listen; exit code {process.poll()}")
