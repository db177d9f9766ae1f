"""Batches: many requests in one file, answered one batch after another, as OpenAI's API has them.

Owns: the states of a batch, the checks of its lines, and its output files. Must never: answer a line otherwise than the
live path does, or drop one: each is in the output file or in the error file.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .answers import ENDPOINTS, Models, answers
from .errors import Refused
from .store import Store, file_fields

log = logging.getLogger("blindtune")

OVER = ("completed", "failed", "cancelled")
PIECE = 128
"""Lines that are answered together; between pieces a batch can be cancelled."""
MOST_LINES = 50_000
"""As OpenAI has it."""
MOST_ERRORS = 100
TIMES = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class Batches:
    """The batches of a store, worked off by one thread."""

    def __init__(self, store: Store, models: Models) -> None:
        self.store, self.models = store, models
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gateway batches", daemon=True)

    def start(self) -> None:
        """Begin, with what was left of before: from its first line, since nothing of it was written."""
        for batch in reversed(self.store.all("batch")):
            if batch["status"] not in OVER:
                self._queue.put(batch["id"])
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Take no more; what is under way is begun again at the next start."""
        self._stopped.set()
        self._queue.put(None)
        self._thread.join(patience_s)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A new batch, whose lines are checked in its turn."""
        metadata, path = body.get("metadata"), body.get("endpoint")
        if path not in ENDPOINTS:
            raise Refused(400, "invalid_endpoint", f"endpoint: {' or '.join(ENDPOINTS)}.", "endpoint")
        if body.get("completion_window") != "24h":
            raise Refused(400, "invalid_window", "completion_window: 24h.", "completion_window")
        file = self.store.get("file", str(body.get("input_file_id")))
        if file is None or file["purpose"] != "batch":
            raise Refused(400, "invalid_file", "input_file_id: a file of purpose 'batch'.", "input_file_id")
        fields: dict[str, Any] = {"object": "batch", "endpoint": path, "input_file_id": file["id"]}
        fields |= {"completion_window": "24h", "status": "validating", "metadata": metadata}
        nothing = dict.fromkeys(("errors", "output_file_id", "error_file_id", *(f"{name}_at" for name in TIMES)))
        made = self.store.add("batch", fields | nothing | {"request_counts": _counts(0, [], [])})
        self._queue.put(made["id"])
        return made

    def cancel(self, name: str) -> None:
        """Stop a batch behind the piece that is under way; its answers so far are kept."""
        if not self._turn(name, "cancelling", unless=("cancelling", *OVER)):
            batch = self.store.get("batch", name) or {}
            raise Refused(409, "batch_is_over", f"The batch is {batch.get('status')} already.")

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            try:
                self._run(name)
            except Exception:
                log.exception("batch %s", name)
                self._fail(name, [_error("gateway_failed", "The gateway failed; its log says why.")])

    def _run(self, name: str) -> None:
        batch = self.store.get("batch", name)
        if batch is None or batch["status"] in OVER:
            return
        requests, errors = read_requests(self.store.file(batch["input_file_id"]).read_bytes(), batch["endpoint"])
        if errors:
            self._fail(name, errors)
            return
        self._turn(name, "in_progress", unless=("cancelling", *OVER))
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for first in range(0, len(requests), PIECE):
            if self._stopped.is_set():
                return
            if (self.store.get("batch", name) or {}).get("status") != "in_progress":
                break
            piece = requests[first : first + PIECE]
            found = answers(self.models, batch["endpoint"], [request["body"] for request in piece])
            if all(isinstance(one, Refused) and one.status >= 500 for one in found):
                self._fail(name, [_error("host_failed", str(found[0]))], self._files(done, failed))
                return
            for request, one in zip(piece, found, strict=True):
                (failed if isinstance(one, Refused) else done).append(_line(request["custom_id"], one))
            self.store.change("batch", name, {"request_counts": _counts(len(requests), done, failed)})
        self._turn(name, "finalizing", unless=("cancelling", *OVER))
        files = self._files(done, failed)
        if not self._turn(name, "completed", files, unless=("cancelling", *OVER)):
            self._turn(name, "cancelled", files, unless=OVER)

    def _fail(self, name: str, errors: list[dict[str, Any]], files: Mapping[str, Any] | None = None) -> None:
        found = {"object": "list", "data": errors[:MOST_ERRORS]}
        self._turn(name, "failed", {"errors": found, **(files or {})}, unless=OVER)

    def _turn(
        self, name: str, status: str, more: Mapping[str, Any] | None = None, unless: tuple[str, ...] = OVER
    ) -> bool:
        fields = {"status": status, f"{status}_at": int(time.time()), **(more or {})}
        return self.store.change("batch", name, fields, unless=unless)

    def _files(self, done: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Keep answers and refusals as files; none of nothing."""
        made = {}
        for field, lines in (("output_file_id", done), ("error_file_id", failed)):
            if lines:
                content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
                name = f"batch_{field.removesuffix('_file_id')}.jsonl"
                file = self.store.add("file", file_fields(name, "batch_output", len(content)))
                self.store.write_file(file["id"], content)
                made[field] = file["id"]
        return made


def read_requests(content: bytes, path: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a batch, and what is wrong with them, by line."""
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        return [], [_error("invalid_file", f"The file is not UTF-8 (byte {error.start}).")]
    requests, errors, known = [], [], set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except ValueError:
            errors.append(_error("invalid_json_line", "The line is not JSON.", number))
            continue
        wrong = next(_wrong(request, path), None)
        if wrong is None and request["custom_id"] in known:
            wrong = ("duplicate_custom_id", "custom_id: an earlier line has it.", "custom_id")
        if wrong is not None:
            errors.append(_error(wrong[0], wrong[1], number, wrong[2]))
            continue
        known.add(request["custom_id"])
        requests.append(request)
    if not requests and not errors:
        errors.append(_error("empty_file", "The file has no line."))
    if len(requests) > MOST_LINES:
        errors.append(_error("too_many_lines", f"A batch has at most {MOST_LINES} lines, not {len(requests)}."))
    return requests, errors


def _wrong(request: Any, path: str) -> Iterator[tuple[str, str, str | None]]:
    if not isinstance(request, dict):
        yield "invalid_json_line", "The line is not a JSON object.", None
        return
    if not isinstance(request.get("custom_id"), str) or not request["custom_id"]:
        yield "missing_custom_id", "custom_id: a text that no other line has.", "custom_id"
    if request.get("method") != "POST":
        yield "invalid_method", "method: POST.", "method"
    if request.get("url") != path:
        yield "mismatched_url", f"url: the batch's endpoint, {path}.", "url"
    if not isinstance(request.get("body"), dict):
        yield "missing_body", "body: a JSON object.", "body"
    elif request["body"].get("stream"):
        yield "unsupported_field", "body.stream: a batch's answers are not streamed.", "body.stream"


def _error(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}


def _counts(total: int, done: Sequence[object], failed: Sequence[object]) -> dict[str, int]:
    return {"total": total, "completed": len(done), "failed": len(failed)}


def _line(custom_id: str, found: Mapping[str, Any] | Refused) -> dict[str, Any]:
    """A line of the output file, or of the error file."""
    status, body = (found.status, found.envelope()) if isinstance(found, Refused) else (200, found)
    response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
    return {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": custom_id, "response": response, "error": None}
