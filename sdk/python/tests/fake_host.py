"""A host small enough to read: the contract's rules with a toy backbone, for tests without the real binary.

The backbone averages random word vectors; adapter set i adds B_i A_i x, so its Jacobian products fit in two lines. That
it keeps the step protocol as a real host does, test_protocol.py shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from fake_features import HIDDEN, FeatureJobs, Refusal, embeddings, long_texts, refuse_long, word_vector

from blindtune.arrays import decode, encode

RANK = 2
LAYOUT = [
    {"name": "base_model.model.toy.lora_A.weight", "shape": [RANK, HIDDEN], "offset": 0},
    {"name": "base_model.model.toy.lora_B.weight", "shape": [HIDDEN, RANK], "offset": RANK * HIDDEN},
]


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
        return np.mean([word_vector(w) for w in text.split()], axis=0)


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


VERBS = {
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "cancel": (("running", "paused"), "cancelled"),
    "complete": (("running", "paused"), "succeeded"),
}
"""From which states, and to which."""


@dataclass(frozen=True)
class Step:
    """A step call: `sent` are its tensors, `content` all its bytes."""

    kind: str
    seq: int
    content: bytes
    sent: dict[str, Any]


class FakeHost:
    """`url`, everything it was sent in `seen`, and ways to hurt it."""

    def __init__(self, engine: Any = None) -> None:
        self.engine = engine or ToyEngine()
        self.files: dict[str, list[Any]] = {}
        self.features = FeatureJobs()
        self.uploads = 0
        self.max_words, self.counts_truncated = 0, True
        """Of an input outside of jobs; 0 is no bound."""
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
            job.update(theta={}, graphs={}, answers={})

    # Routes.

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[Any, bytes | None]:
        parts = path.removeprefix("/v1/").split("/")
        if parts == ["files"]:
            return self._create_file(body), None
        if parts[0] == "files":
            return self.features.on_file(self.files, method, parts[1])
        if parts == ["fine_tuning", "capabilities"]:
            return self.features.capabilities(), None
        if parts == ["embeddings"]:
            texts = json.loads(body)["input"]
            return embeddings(self.engine.forward(texts, None)[0], texts), None
        if parts == ["fine_tuning", "jobs"] and method == "POST":
            return self._create_job(json.loads(body)), None
        if parts[:2] == ["fine_tuning", "jobs"]:
            job = self.jobs.get(parts[2])
            if job is None:
                raise Refusal(404, "not_found")
            return self._on_job(job, method, parts[3:], query, body, headers)
        if parts[0] == "models":
            name, most = unquote(parts[1]), self.max_words or 512
            base = self._model(name)["id"] if name.startswith("ft:") else None
            return {"id": name, "object": "model", "base_model": base, "max_tokens": most}, None
        if parts == ["activations"]:
            request = json.loads(body)
            refuse_long(request["input"], self.max_words)
            model = request["model"].startswith("ft:")
            return None, self._of_model(request) if model else self.features.hidden_states(request)
        raise Refusal(404, "not_found")

    def _on_job(
        self, job: dict, method: str, rest: list[str], query: dict, body: bytes, headers: Any
    ) -> tuple[Any, Any]:
        if not rest:
            return self._job_object(job), None
        if rest[0] in VERBS:
            return self._verb(job, rest[0]), None
        if rest in (["events"], ["ledger"]):
            oldest_first = rest == ["ledger"] or query.get("order") == "asc"
            found = job[rest[0]]
            return {"object": "list", "data": found if oldest_first else found[::-1], "has_more": False}, None
        if rest == ["metrics"]:
            return self._metrics(job, json.loads(body)), None
        if rest == ["adapters"]:
            config = {"peft_type": "LORA", "r": RANK}
            return {"parameters": self.engine.parameters, "layout": LAYOUT, "peft_config": config}, None
        if rest[0] == "adapters":
            return self._adapters(job, method, int(rest[1]), body)
        if rest == ["forward"]:
            return None, self._forward(job, _read_forward(query, body, headers), body + json.dumps(query).encode())
        if rest == ["backward"]:
            shares = _read_shares(decode(body)[0])
            step = Step("backward", int(query["seq"]), body + json.dumps(query).encode(), shares)
            return None, self._numbered(job, step, lambda: self._backward(job, query, shares))
        raise Refusal(404, "not_found")

    # Fine-tuned models.

    def _model(self, name: str) -> dict:
        """The job that became a model."""
        job = self.jobs.get(name.removeprefix("ft:"))
        if job is None or job["status"] != "succeeded":
            raise Refusal(404, "not_found", "model")
        return job

    def _lengths(self, job: dict, request: dict) -> dict[str, str]:
        long = len(long_texts(self._texts(job, request), self.max_words))
        return {"truncated": str(long)} if self.counts_truncated else {}

    def _of_model(self, request: dict) -> bytes:
        job, texts = self._model(request["model"]), request["input"]
        chosen = _chosen(request["adapters"], job["sets"])
        found = {f"h.{i}": self.engine.forward(texts, job["theta"][i])[0] for i in chosen}
        return _body(found | ({"h.base": self.engine.forward(texts, None)[0]} if request["base"] else {}), {})

    # The life of a job.

    def _verb(self, job: dict, verb: str) -> dict:
        if verb == "complete":
            self._open(job)
        allowed, state = VERBS[verb]
        if job["status"] not in allowed:
            raise Refusal(409, "invalid_job_state")
        self._becomes(job, state)
        if verb == "pause":
            job.update(graphs={}, answers={})
        return self._job_object(job) | {"fine_tuned_model": f"ft:{job['id']}" if verb == "complete" else None}

    def _open(self, job: dict) -> None:
        """For a call: a paused job runs again, one that is over does not."""
        if job["status"] == "paused":
            self._becomes(job, "running")
        if job["status"] != "running":
            raise Refusal(409, "job_not_running")

    def _becomes(self, job: dict, state: str) -> None:
        job["status"] = state
        _tell(job, "message", f"Fine-tuning job is {state}", {"status": state})

    def _metrics(self, job: dict, body: dict) -> dict:
        self._open(job)
        for name in body["metrics"]:
            if "label" in name:
                raise Refusal(400, "label_present", f"metrics.{name}")
        return _tell(job, "metrics", "Metrics", {**body["metrics"], "step": body["step"]})

    def _adapters(self, job: dict, method: str, index: int, body: bytes) -> tuple[Any, bytes | None]:
        self._open(job)
        if index >= job["sets"]:
            raise Refusal(404, "not_found")
        if method == "GET":
            return None, encode({f"theta.{index}": job["theta"].get(index, self._initial(job, index))})
        tensors = decode(body)[0]
        self._set_theta(job, {index: tensors[f"theta.{index}"]})
        _note(job, "put_adapter", None, tensors)
        return {"ok": True}, None

    def _set_theta(self, job: dict, theta: dict[int, np.ndarray]) -> None:
        for index, values in theta.items():
            if index >= job["sets"] or values.shape != (self.engine.parameters,):
                raise Refusal(422, "tensor_invalid", f"theta.{index}")
        job["theta"].update(theta)

    # Steps.

    def _numbered(self, job: dict, step: Step, work: Callable[[], bytes]) -> bytes:
        """A step is done once, in its turn, and answered again until a newer forward is done."""
        self._open(job)
        digest = hashlib.sha256(step.kind.encode() + step.content).hexdigest()
        known, new = job["steps"].get(step.seq), step.seq == job["next_seq"]
        if not new and known is None:
            raise Refusal(409, "step_out_of_order", "seq", expected_seq=job["next_seq"])
        if not new and known != digest:
            raise Refusal(422, "step_conflict", "seq")
        if not new and step.seq < job["latest_forward"]:
            raise Refusal(409, "answer_expired", "seq")
        if step.seq not in job["answers"]:
            job["answers"][step.seq] = work()
        if new:
            job["steps"][step.seq], job["next_seq"] = digest, step.seq + 1
            _note(job, step.kind, step.seq, step.sent)
        return bytes(job["answers"][step.seq])

    def _forward(self, job: dict, request: dict, content: bytes) -> bytes:
        seq = request["seq"]
        if seq is not None:
            step = Step("forward", seq, content, request["sent"])
            return self._numbered(job, step, lambda: self._train_forward(job, seq, request))
        self._open(job)
        answer, _ = self._activations(job, request)
        _note(job, "evaluate", None, request["sent"])
        return _body(answer, self._lengths(job, request))

    def _train_forward(self, job: dict, seq: int, request: dict) -> bytes:
        answer, graph = self._activations(job, request)
        forward_id = f"fwd-{job['id']}-{seq}"
        job["graphs"][forward_id] = graph
        job["latest_forward"], job["latest_id"] = seq, forward_id
        return _body(answer, {"forward_id": forward_id, "seq": str(seq)} | self._lengths(job, request))

    def _activations(self, job: dict, request: dict) -> tuple[dict[str, np.ndarray], dict[int, Any]]:
        texts, sets = self._texts(job, request), _chosen(request["adapters"], job["sets"])
        self._set_theta(job, request["theta"])
        answer, graph = {}, {}
        for i in sets:
            if i not in job["theta"]:
                raise Refusal(409, "adapters_needed")
            answer[f"h.{i}"], graph[i] = self.engine.forward(texts, job["theta"][i])
        if request["base"]:
            answer["h.base"] = self.engine.forward(texts, None)[0]
        return answer, graph

    def _texts(self, job: dict, request: dict) -> list[Any]:
        if request["rows"] is None:
            return list(request["texts"])
        if job["file"] is None:
            raise Refusal(400, "no_training_file", "rows")
        known = self.files[job["file"]]
        if not all(0 <= row < len(known) for row in request["rows"]):
            raise Refusal(422, "row_out_of_range", "rows")
        return [known[int(row)] for row in request["rows"]]

    def _backward(self, job: dict, query: dict, shares: dict[str, np.ndarray]) -> bytes:
        graph = job["graphs"].get(query["forward_id"])
        if graph is None and query["forward_id"] == job["latest_id"]:
            raise Refusal(409, "forward_lost", "forward_id")
        if graph is None:
            raise Refusal(404, "not_found", "forward_id")
        answer = {}
        for name, share in shares.items():
            _, i, j = name.split(".")
            if int(i) not in graph or len(share) != len(graph[int(i)][0]):
                raise Refusal(422, "tensor_invalid", name)
            answer[f"G.{i}.{j}"] = self.engine.vjp(graph[int(i)], share)
        return _body(answer, {"seq": query["seq"]})

    # Objects.

    def _create_file(self, body: bytes) -> dict:
        part = next(part for part in body.split(b"\r\n--") if b'name="file"' in part)
        content = part.split(b"\r\n\r\n", 1)[1]
        rows = [json.loads(line) for line in content.decode().splitlines()]
        assert all(set(row) <= {"text", "text_pair"} for row in rows), "label_present"
        name = f"file-{self.uploads}"
        self.uploads += 1
        self.files[name] = [row["text"] if "text_pair" not in row else [row["text"], row["text_pair"]] for row in rows]
        return {"id": name, "object": "file", "rows": len(rows), "status": "processed", "invented": 1}

    def _create_job(self, body: dict) -> dict:
        if body["method"].get("type") == "features":
            name = f"ftjob-{len(self.jobs)}"
            self.jobs[name] = self.features.create(name, body, self.files[body["training_file"]])
            return self.jobs[name]
        name = f"ftjob-{len(self.jobs)}"
        split = body["method"]["split"]
        job = {"id": name, "status": "running", "file": body.get("training_file"), "seed": body["seed"], "theta": {}}
        job |= {"sets": split["adapter_sets"], "next_seq": 1, "steps": {}, "events": [], "ledger": []}
        job |= {
            "method": body["method"],
            "protection": body.get("protection"),
            "graphs": {},
            "answers": {},
            "latest_forward": 0,
            "latest_id": "",
        }
        self.jobs[name] = job
        _tell(job, "message", f"Created fine-tuning job: {name}", {})
        self._becomes(job, "running")
        for i in range(job["sets"]):
            job["theta"][i] = self._initial(job, i)
        return self._job_object(job)

    def _initial(self, job: dict, index: int) -> np.ndarray:
        return self.engine.initial(job["seed"], index)

    def _job_object(self, job: dict) -> dict:
        if job["method"].get("type") == "features":
            return job
        split = {"next_seq": job["next_seq"], "hidden_size": self.engine.hidden}
        split["adapter_parameters"] = self.engine.parameters
        found = {"id": job["id"], "object": "fine_tuning.job", "status": job["status"], "model": "toy", "split": split}
        found |= {"protection": job["protection"]}
        return found | {"method": job["method"], "training_file": job["file"], "seed": job["seed"]}

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


def _read_forward(query: dict[str, str], body: bytes, headers: Any) -> dict[str, Any]:
    """The scalars, the batch and the adapters of a forward, in either form."""
    if headers["Content-Type"] == "application/json":
        fields = json.loads(body)
        sent: dict[str, Any] = {f"theta.{i}": tensor_of(t) for i, t in fields.get("theta", {}).items()}
        sent["texts"] = fields["texts"]
    else:
        fields = dict(query, **{flag: query[flag] == "true" for flag in ("train", "base") if flag in query})
        sent = decode(body)[0]
    train, seq = fields.get("train", True), fields.get("seq")
    if train and seq is None:
        raise Refusal(400, "seq_missing", "seq")
    if not train and seq is not None:
        raise Refusal(400, "seq_unexpected", "seq")
    _refuse_others(sent, r"theta\.\d+|rows|texts")
    if "rows" not in sent and not sent.get("texts"):
        raise Refusal(400, "inputs_missing", "rows")
    theta = {int(name[6:]): value for name, value in sent.items() if name.startswith("theta.")}
    scalars = {"seq": None if seq is None else int(seq), "base": fields.get("base", False)}
    batch = {"rows": sent.get("rows"), "texts": sent.get("texts"), "theta": theta, "sent": sent}
    return scalars | batch | {"adapters": fields.get("adapters", "all")}


def _read_shares(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    _refuse_others(tensors, r"s\.\d+\.\d+")
    if not tensors:
        raise Refusal(400, "shares_missing", "s.0.0")
    return tensors


def _refuse_others(tensors: dict[str, Any], known: str) -> None:
    for name in sorted(tensors):
        if not re.fullmatch(known, name):
            raise Refusal(400, "label_present" if "label" in name else "unknown_tensor", name)


def _chosen(adapters: Any, sets: int) -> list[int]:
    """Set numbers, of `all`, `none`, `0,1` or a list."""
    if adapters in ("all", "none"):
        return list(range(sets)) if adapters == "all" else []
    numbers = adapters.split(",") if isinstance(adapters, str) else adapters
    if not all(str(number).isdigit() and int(number) < sets for number in numbers):
        raise Refusal(400, "invalid_adapters", "adapters")
    return sorted({int(number) for number in numbers})


def _tell(job: dict, kind: str, message: str, data: dict[str, Any]) -> dict[str, Any]:
    """One more event."""
    event = {"id": f"ftevent-{len(job['events'])}", "object": "fine_tuning.job.event", "type": kind, "level": "info"}
    event |= {"message": message, "data": data, "created_at": 0}
    job["events"].append(event)
    return event


def _note(job: dict, kind: str, seq: int | None, sent: dict[str, Any]) -> None:
    """One more entry of the ledger: names, shapes, bytes, hashes."""
    tensors = []
    for name, value in sorted(sent.items()):
        array = np.frombuffer(json.dumps(value).encode(), np.uint8) if name == "texts" else np.asarray(value)
        dtype = {"float32": "F32", "int64": "I64"}.get(str(array.dtype), "U8")
        content = np.ascontiguousarray(array).tobytes()
        told = {"name": name, "dtype": dtype, "shape": list(array.shape), "bytes": len(content)}
        tensors.append(told | {"sha256": hashlib.sha256(content).hexdigest()})
    entry = {"object": "fine_tuning.job.ledger_entry", "id": str(len(job["ledger"])), "kind": kind, "seq": seq}
    job["ledger"].append(entry | {"tensors": tensors, "created_at": 0})
