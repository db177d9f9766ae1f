"""A host small enough to read: the contract's rules with a toy backbone, for tests without the real binary.

The backbone averages random word vectors; adapter set i adds B_i A_i x, so its Jacobian products fit in two lines.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import zlib
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from blindtune.arrays import decode, encode

HIDDEN, RANK = 16, 2


class ToyEngine:
    """h = x + B A x, with x the mean of its words' vectors. theta = [A (r x H), B (H x r)]."""

    hidden, parameters = HIDDEN, 2 * RANK * HIDDEN

    def initial(self, seed: int, index: int) -> np.ndarray:
        a = np.random.default_rng([seed, index]).normal(size=(RANK, HIDDEN)) * 0.5
        return np.concatenate([a.ravel(), np.zeros(HIDDEN * RANK)]).astype(np.float32)

    def forward(self, texts: list[Any], theta: np.ndarray | None) -> tuple[np.ndarray, Any]:
        x = np.stack([self._embed(" ".join(t) if isinstance(t, list) else t) for t in texts]).astype(np.float32)
        if theta is None:
            return x, None
        a, b = theta[: RANK * HIDDEN].reshape(RANK, HIDDEN), theta[RANK * HIDDEN :].reshape(HIDDEN, RANK)
        return x + x @ a.T @ b.T, (x, a, b)

    def vjp(self, context: Any, s: np.ndarray) -> np.ndarray:
        x, a, b = context
        return np.concatenate([(b.T @ s.T @ x).ravel(), (s.T @ (x @ a.T)).ravel()]).astype(np.float32)

    def _embed(self, text: str) -> np.ndarray:
        return np.mean([_word(w) for w in text.split()], axis=0)


@cache
def _word(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=HIDDEN)


@dataclass
class Fault:
    """Answer the next `times` requests whose path matches with this instead."""

    pattern: str
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    times: int = 1
    cut: bool = False
    after: bool = False
    """Do the work first, then lose the answer."""


class Refusal(Exception):
    def __init__(self, status: int, code: str, **more: Any) -> None:
        self.status, self.body = status, {"error": {"message": code, "type": "x", "param": None, "code": code, **more}}


class FakeHost:
    """`url`, everything it was sent in `seen`, and ways to hurt it."""

    def __init__(self, engine: Any = None) -> None:
        self.engine = engine or ToyEngine()
        self.files: dict[str, list[Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str, bytes]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def restart(self) -> None:
        """What a kill -9 leaves: jobs and counters, but no adapters and no graphs."""
        for job in self.jobs.values():
            job.update(theta={}, forward=None)

    # Routes.

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[Any, bytes | None]:
        parts = path.removeprefix("/v1/").split("/")
        if parts == ["files"]:
            return self._create_file(body), None
        if parts == ["fine_tuning", "jobs"] and method == "POST":
            return self._create_job(json.loads(body)), None
        if parts[:2] == ["fine_tuning", "jobs"]:
            job = self.jobs.get(parts[2])
            if job is None:
                raise Refusal(404, "not_found")
            return self._on_job(job, method, parts[3:], query, body, headers)
        if parts == ["activations"]:
            return None, self._tokens(json.loads(body))
        raise Refusal(404, "not_found")

    def _tokens(self, request: dict) -> bytes:
        """`/v1/activations` with pooling none: a vector for each word."""
        texts = [text if isinstance(text, str) else " ".join(text) for text in request["input"]]
        words = [_word(word) for text in texts for word in text.split()]
        lengths = np.array([len(text.split()) for text in texts], dtype=np.int64)
        return encode({"h.base": np.stack(words).astype(np.float32), "lengths": lengths})

    def _on_job(
        self, job: dict, method: str, rest: list[str], query: dict, body: bytes, headers: Any
    ) -> tuple[Any, Any]:
        if not rest:
            return self._job_object(job), None
        if rest == ["complete"]:
            job["status"] = "succeeded"
            return self._job_object(job) | {"fine_tuned_model": f"ft:{job['id']}"}, None
        if rest[0] == "adapters":
            index = int(rest[1])
            if method == "GET":
                return None, encode({f"theta.{index}": job["theta"].get(index, self._initial(job, index))})
            job["theta"][index] = decode(body)[0][f"theta.{index}"]
            return {"ok": True}, None
        if job["status"] != "running":
            raise Refusal(409, "job_not_running")
        if rest == ["forward"]:
            return None, self._forward(job, query, body, headers)
        if rest == ["backward"]:
            return None, self._step(
                job, int(query["seq"]), body + json.dumps(query).encode(), self._backward, query, body
            )
        raise Refusal(404, "not_found")

    def _forward(self, job: dict, query: dict, body: bytes, headers: Any) -> bytes:
        if headers["Content-Type"] == "application/json":
            fields = json.loads(body)
            theta = {int(i): tensor_of(t) for i, t in fields.get("theta", {}).items()}
            request = {
                "texts": fields["texts"],
                **{k: fields[k] for k in ("train", "adapters", "base")},
                "theta": theta,
            }
        else:
            tensors, _ = decode(body)
            texts = [self.files[job["file"]][int(r)] for r in tensors["rows"]]
            theta = {int(k[6:]): v for k, v in tensors.items() if k.startswith("theta.")}
            flags = {"train": query["train"] == "true", "base": query["base"] == "true"}
            request = {"texts": texts, "theta": theta, "adapters": query["adapters"], **flags}
        if not request["train"]:
            return self._activations(job, request, {}, keep=False)
        seq = int(query["seq"])
        return self._step(job, seq, body + json.dumps(query).encode(), self._train_forward, seq, request)

    def _train_forward(self, job: dict, seq: int, request: dict) -> bytes:
        job["latest_forward"] = seq
        return self._activations(job, request, {"forward_id": f"fwd-{seq}", "seq": str(seq)}, keep=True)

    def _activations(self, job: dict, request: dict, metadata: dict, keep: bool) -> bytes:
        job["theta"].update(request["theta"])
        answer, contexts = {}, {}
        for i in range(job["sets"]) if request["adapters"] != "none" else []:
            if i not in job["theta"]:
                raise Refusal(409, "adapters_needed")
            answer[f"h.{i}"], contexts[i] = self.engine.forward(request["texts"], job["theta"][i])
        if request["base"]:
            answer["h.base"] = self.engine.forward(request["texts"], None)[0]
        if keep:
            job["forward"] = (metadata["forward_id"], contexts)
        return _body(answer, metadata)

    def _backward(self, job: dict, query: dict, body: bytes) -> bytes:
        if job["forward"] is None or job["forward"][0] != query["forward_id"]:
            raise Refusal(409, "forward_lost")
        answer = {}
        for name, share in decode(body)[0].items():
            _, i, j = name.split(".")
            answer[f"G.{i}.{j}"] = self.engine.vjp(job["forward"][1][int(i)], share)
        return _body(answer, {"seq": query["seq"]})

    def _step(self, job: dict, seq: int, content: bytes, work: Any, *arguments: Any) -> bytes:
        digest, known = hashlib.sha256(content).hexdigest(), job["steps"].get(seq)
        if known is not None:
            if seq < job["latest_forward"]:
                raise Refusal(409, "answer_expired")
            if known != digest:
                raise Refusal(422, "step_conflict")
            return work(job, *arguments)
        if seq != job["next_seq"]:
            raise Refusal(409, "step_out_of_order", expected_seq=job["next_seq"])
        answer = work(job, *arguments)
        job["steps"][seq], job["next_seq"] = digest, seq + 1
        return answer

    # Objects.

    def _create_file(self, body: bytes) -> dict:
        part = next(part for part in body.split(b"\r\n--") if b'name="file"' in part)
        content = part.split(b"\r\n\r\n", 1)[1]
        rows = [json.loads(line) for line in content.decode().splitlines()]
        assert all(set(row) <= {"text", "text_pair"} for row in rows), "label_present"
        name = f"file-{len(self.files)}"
        self.files[name] = [row["text"] if "text_pair" not in row else [row["text"], row["text_pair"]] for row in rows]
        return {"id": name, "object": "file", "rows": len(rows), "status": "processed", "invented": 1}

    def _create_job(self, body: dict) -> dict:
        name = f"ftjob-{len(self.jobs)}"
        split = body["method"]["split"]
        job = {"id": name, "status": "running", "file": body.get("training_file"), "seed": body["seed"], "theta": {}}
        job |= {"sets": split["adapter_sets"], "next_seq": 1, "steps": {}, "forward": None, "latest_forward": 0}
        self.jobs[name] = job
        for i in range(job["sets"]):
            job["theta"][i] = self._initial(job, i)
        return self._job_object(job)

    def _initial(self, job: dict, index: int) -> np.ndarray:
        return self.engine.initial(job["seed"], index)

    def _job_object(self, job: dict) -> dict:
        split = {"next_seq": job["next_seq"], "hidden_size": self.engine.hidden}
        split["adapter_parameters"] = self.engine.parameters
        return {"id": job["id"], "object": "fine_tuning.job", "status": job["status"], "model": "toy", "split": split}

    # HTTP.

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, path):
                fault.times -= 1
                return fault
        return None

    def _handler(host) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, *arguments: Any) -> None:
                pass

            def answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with host.lock:
                    host.seen.append((self.command, self.path, body))
                    fault = host._fault(url.path)
                    if fault is None or fault.after:
                        status, kind, content = self.work(url, body)
                if fault is not None:
                    if fault.cut:
                        self.close_connection = True
                        self.connection.close()
                        return
                    status, kind, content = fault.status, "application/json", json.dumps(fault.body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("x-request-id", "req-1")
                for name, value in (fault.headers if fault else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def work(self, url: Any, body: bytes) -> tuple[int, str, bytes]:
                try:
                    plain, raw = host.handle(self.command, url.path, dict(parse_qsl(url.query)), body, self.headers)
                except Refusal as refusal:
                    return refusal.status, "application/json", json.dumps(refusal.body).encode()
                if raw is not None:
                    return 200, "application/octet-stream", raw
                return 200, "application/json", json.dumps(plain).encode()

            do_GET = do_POST = do_PUT = do_DELETE = answer

        return Handler


def tensor_of(value: dict[str, Any]) -> np.ndarray:
    """A tensor in the contract's JSON form."""
    return np.frombuffer(base64.b64decode(value["data"]), "<f4").reshape(value["shape"])


def _body(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    from safetensors.numpy import save

    return save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=metadata or None)
