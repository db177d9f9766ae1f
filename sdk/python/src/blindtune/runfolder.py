"""The folder a run lives in: what it needs to continue after a crash, and its records.

Owns: the files and their atomic replacement. Must never: be shared; it holds the head, the secret and recent gradients
(mode 0700), but no API key.

    run.json           settings, hosts, job and file ids, label names
    secret             32 bytes, hex
    state.safetensors  step, adapters, head, optimizer moments
    steps.jsonl        one line per step: losses, norms, bytes
    sent/              gradients as sent, of the last steps: what the audit attacks
    report.json        the last report
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .arrays import AnyArray, decode, encode
from .errors import RunError
from .secret import SecretStream

SENT_ROWS = 2000


class RunFolder:
    """Files of one run. Without a path it is a temporary folder that goes away with the object."""

    def __init__(self, path: str | Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="blindtune-") if path is None else None
        self.path = Path(path if path is not None else self._temporary.name if self._temporary else "")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        """Replace a file at once or not at all; `durable` also against a loss of power."""
        target = self.path / name
        target.parent.mkdir(exist_ok=True, mode=0o700)
        partial = target.with_name(f".{target.name}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(target)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Readable JSON, atomically."""
        self.write(name, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """What `write_json` wrote, or None."""
        path = self.path / name
        if not path.exists():
            return None
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise RunError(f"{path}: not a JSON object")
        return value

    def secret(self) -> SecretStream:
        """The run's secret, made at the first call."""
        path = self.path / "secret"
        if not path.exists():
            self.write("secret", SecretStream.fresh().secret.hex().encode())
        return SecretStream(bytes.fromhex(path.read_text().strip()))

    def save_state(self, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]) -> None:
        """Arrays and a few plain values, in one file."""
        self.write("state.safetensors", encode(arrays, {"run": json.dumps(scalars)}))

    def load_state(self) -> tuple[dict[str, AnyArray], dict[str, Any]] | None:
        """What `save_state` wrote, bit for bit, or None."""
        path = self.path / "state.safetensors"
        if not path.exists():
            return None
        arrays, metadata = decode(path.read_bytes())
        return arrays, json.loads(metadata["run"])

    def record_step(self, record: Mapping[str, Any]) -> None:
        """Append one step to `steps.jsonl`."""
        with (self.path / "steps.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def steps(self) -> list[dict[str, Any]]:
        """All recorded steps; a step done twice counts as it was done last, a line cut by a crash is left out."""
        path = self.path / "steps.jsonl"
        found: dict[int, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[int(record["step"])] = record
        return [found[step] for step in sorted(found)]

    def record_sent(self, step: int, arrays: Mapping[str, AnyArray]) -> None:
        """Keep what was sent at `step` (with its `labels`), and of older steps no more than 2,000 rows."""
        self.write(f"sent/{step:07d}.safetensors", encode(arrays), durable=False)
        outdated = step - max(1, SENT_ROWS // max(1, len(arrays["labels"])))
        (self.path / "sent" / f"{outdated:07d}.safetensors").unlink(missing_ok=True)

    def sent(self) -> Iterator[dict[str, AnyArray]]:
        """What was sent at the last steps, oldest first."""
        for path in sorted((self.path / "sent").glob("*.safetensors")):
            yield decode(path.read_bytes())[0]
