"""The folder a run lives in: what it needs to continue after a crash, and its records.

Owns: the files and their atomic replacement. Must never: be shared; it holds the head, the secret and recent gradients
(mode 0700), but no API key.

    run.json           format, settings, plan of steps, hosts, job ids and fine-tuned models, label names
    lock               the process that trains here (folder_lock.py)
    secret             32 bytes, hex
    state.safetensors  step, adapters, head, optimizer moments; and the best adapters and head by the dev rows
    steps.jsonl        one line per step: losses, norms, bytes
    dev.jsonl          one line per evaluation on dev rows: step, scores, whether it was the best
    audits.jsonl       one line per look at the leak while training
    sent.jsonl         every call of its jobs, before it was sent: kind, step, size, hash (sent_record.py)
    seen/              what the hosts saw of the last rows, recorded from the wire: what the audit attacks
    updates/seen/      the adapters of the first and the last update, as the hosts saw them: what tier 3 attacks
    gates.json         what audits hold the run to, fixed before its first step
    labels.safetensors the labels of the job's rows, to score the audit
    thresholds.json    from which probability on labels are said, where that was chosen
    temperature.json   what outputs are divided by before they become probabilities, where that was fitted
    evaluation.json    the last evaluation by `blindtune evaluate` or on the board
    quality.json       the last one on the board, with curves and the worst errors' texts (board/quality.py)
    layout.json        of a finished run: how flat adapters lie, so that an export needs no job
    report.json        the last report
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .._version import __version__
from ..arrays import AnyArray, decode, encode
from ..errors import RunError
from ..private.secret import SecretStream
from .folder_lock import locked

ABOUT = "run.json"
FORMAT = 1
"""Of run folders. Those without a number are of format 1, and nothing in them has to be changed."""


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

    def about(self) -> dict[str, Any] | None:
        """What `run.json` says, or None. A folder of a later format is refused."""
        body = self.read_json(ABOUT)
        if body is None:
            return None
        found = body.get("format", 1)
        if not isinstance(found, int) or found > FORMAT:
            raise RunError(
                f"{self.path}: a run folder of format {found}; blindtune {__version__} knows formats up to {FORMAT}: "
                "install a newer version to use this run"
            )
        return body

    def write_about(self, body: Mapping[str, Any]) -> None:
        """Write `run.json`: its presence says that the run can be continued."""
        self.write_json(ABOUT, {"format": FORMAT, **body})

    def locked(self) -> AbstractContextManager[None]:
        """Inside, no other process trains in this folder; refused where one does."""
        return locked(self.path)

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
        self._append("steps.jsonl", record)

    def steps(self) -> list[dict[str, Any]]:
        """All recorded steps; a step done twice counts as it was done last, a line cut by a crash is left out."""
        return self._records("steps.jsonl")

    def record_evaluation(self, record: Mapping[str, Any]) -> None:
        """Append one evaluation to `dev.jsonl`: step, scores, and the hash of the rows."""
        self._append("dev.jsonl", record)

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations, as `steps` does it."""
        return self._records("dev.jsonl")

    def record_audit(self, record: Mapping[str, Any]) -> None:
        """Append one look at the leak to `audits.jsonl`: step, tiers, weight."""
        self._append("audits.jsonl", record)

    def audits(self) -> list[dict[str, Any]]:
        """All looks, as `steps` does it."""
        return self._records("audits.jsonl")

    def dev(self) -> list[dict[str, Any]]:
        """The scores of all evaluations by name, with step, and of method side network and epoch."""
        places = ("step", "network", "epoch")
        return [{p: one[p] for p in places if p in one} | one["scores"] for one in self.evaluations()]

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _records(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        found: dict[int, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[int(record["step"])] = record
        return [found[step] for step in sorted(found)]

    def save_labels(self, labels: AnyArray) -> None:
        """Keep the labels [N] of the job's rows, in their order, for the audit of a run that is taken up again."""
        self.write("labels.safetensors", encode({"labels": labels}))

    def labels(self) -> AnyArray | None:
        """What `save_labels` kept, or None."""
        path = self.path / "labels.safetensors"
        return decode(path.read_bytes())[0]["labels"] if path.exists() else None

    # `audit.Recorder(store=folder)` keeps its record here.

    def write_seen(self, name: str, content: bytes) -> None:
        """Keep one call as a host saw it."""
        self.write(f"seen/{name}.safetensors", content, durable=False)

    def forget_seen(self, name: str) -> None:
        """Drop one, if it is there."""
        (self.path / "seen" / f"{name}.safetensors").unlink(missing_ok=True)

    def read_seen(self) -> Iterator[bytes]:
        """Everything that is kept of what the hosts saw, by name."""
        for path in sorted((self.path / "seen").glob("*.safetensors")):
            yield path.read_bytes()
