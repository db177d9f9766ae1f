"""The bench's end of the PEFT worker (`peer.py`): starts it, asks it line by line, ends it.

Owns: that process and the folder its tensors travel in. Must never: import torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from blindtune.arrays import AnyArray, decode, encode

SCRIPT = Path(__file__).with_name("peer.py")


class PeerError(Exception):
    """The worker could not do what it was asked."""


class PeerLink:
    """One worker."""

    def __init__(self, python: Path, threads: int, device: str = "cpu") -> None:
        if not python.exists():
            raise PeerError(
                f"there is no environment with transformers and PEFT at {python}: run scripts/setup/peft.sh"
            )
        self.folder = Path(tempfile.mkdtemp(prefix="blindtune-peer-"))
        kept = os.environ.get("BENCH_LOGS")
        self._log_path = Path(kept) / f"{self.folder.name}.log" if kept else self.folder / "peer.log"
        self._log = self._log_path.open("wb")
        count = str(threads)
        # Its packages are its own, wherever ours lie.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "OMP_WAIT_POLICY": "passive",
            "PEER_DEVICE": device,
            "HF_HUB_OFFLINE": "1",
        }
        self.process = subprocess.Popen(
            [python, SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def __enter__(self) -> PeerLink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # it ends with its input
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """One command and its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its log says why
        line = self.process.stdout.readline()
        if not line:
            tail = self._log_path.read_text(errors="replace").splitlines()[-8:]
            raise PeerError("the PEFT worker ended: " + " ".join(tail))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{do}: {answer['error']}")
        return answer

    def read(self, answer: Path) -> dict[str, AnyArray]:
        """A file of tensors that the worker wrote."""
        return decode(answer.read_bytes())[0]

    def step(self, name: str, tensors: dict[str, AnyArray]) -> tuple[dict[str, float], dict[str, AnyArray]]:
        """Its times, and h.{i} and G.{i}.{j}."""
        batch, answer = self.folder / "batch.safetensors", self.folder / "answer.safetensors"
        batch.write_bytes(encode(tensors))
        times = self.ask("step", name=name, batch=str(batch), answer=str(answer))
        return times, self.read(answer)
