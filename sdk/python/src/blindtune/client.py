"""A typed client for one host.

Owns: paths, headers, and what becomes an exception. Must never: hold labels or anything of a run; see trainer.py.
Management calls have OpenAI's shapes; the data plane moves tensors as safetensors.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from ._transport import RetryingTransport, RetryPolicy, Traffic
from .arrays import F32, AnyArray, decode, encode
from .calls import BackwardRequest, Call, ForwardRequest
from .errors import ApiConnectionError, BlindtuneError, error_from
from .objects import Checkpoint, Event, File, Job, Model

BASE_URL_VARIABLE = "BLINDTUNE_BASE_URL"
API_KEY_VARIABLE = "BLINDTUNE_API_KEY"
TENSORS = "application/octet-stream"
JOBS = "fine_tuning/jobs"


@dataclass(frozen=True)
class StepAnswer:
    """Named tensors, and the scalars that came with them (strings, as safetensors has them)."""

    tensors: dict[str, AnyArray]
    metadata: dict[str, str]


class Client:
    """One host, one key. Threads may share it.

    `base_url` and `api_key` default to BLINDTUNE_BASE_URL and BLINDTUNE_API_KEY. `/v1` is added where it is missing.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 600.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        url = base_url or os.environ.get(BASE_URL_VARIABLE)
        if not url:
            raise BlindtuneError(f"no host: pass base_url or set {BASE_URL_VARIABLE}")
        key = api_key or os.environ.get(API_KEY_VARIABLE) or ""
        headers = {"User-Agent": "blindtune-python/0.1.0"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.base_url = normalize_url(url)
        self._transport = RetryingTransport(transport or httpx.HTTPTransport(retries=0), retry or RetryPolicy())
        self._http = httpx.Client(
            base_url=self.base_url,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            transport=self._transport,
        )

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    @property
    def traffic(self) -> Traffic:
        """Bytes up and down so far."""
        return self._transport.traffic

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def files(self) -> Files:
        """`/files`"""
        return Files(self)

    @cached_property
    def models(self) -> Models:
        """`/models`"""
        return Models(self)

    @cached_property
    def jobs(self) -> Jobs:
        """`/fine_tuning/jobs`"""
        return Jobs(self)

    # The data plane.

    def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call; sending the same one again is safe."""
        headers = {"Content-Type": call.content_type, "Accept": TENSORS}
        body = self.request("POST", call.path, params=dict(call.query), content=call.body, headers=headers)
        return StepAnswer(*decode(body))

    def forward(self, job_id: str, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`; metadata has `forward_id` when training."""
        return self.send(request.call(job_id))

    def backward(self, job_id: str, request: BackwardRequest) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share became."""
        return self.send(request.call(job_id))

    def optim_step(self, job_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Host custody.

        Let the host step its own AdamW. `settings` holds seq, lr, betas, eps, weight_decay, max_grad_norm.
        """
        return self.json("POST", f"{JOBS}/{job_id}/optim_step", json=dict(settings))

    def adapters(self, job_id: str) -> dict[str, Any]:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return self.json("GET", f"{JOBS}/{job_id}/adapters")

    def adapter(self, job_id: str, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        path = f"{JOBS}/{job_id}/adapters/{index}"
        body = self.request("GET", path, params={"format": form}, headers={"Accept": TENSORS})
        return decode(body)[0]

    def put_adapter(self, job_id: str, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        body = encode({f"theta.{index}": theta})
        self.request("PUT", f"{JOBS}/{job_id}/adapters/{index}", content=body, headers={"Content-Type": TENSORS})

    def ledger(self, job_id: str) -> Iterator[dict[str, Any]]:
        """What the host was sent, call by call: names, shapes, bytes, hashes."""
        return self.pages(f"{JOBS}/{job_id}/ledger")

    def metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        self.json("POST", f"{JOBS}/{job_id}/metrics", json={"step": step, "metrics": dict(metrics)})

    # Everything goes through here.

    def request(self, method: str, path: str, **options: Any) -> bytes:
        """Send, retry, raise; the body of a 2xx answer. `options` are those of `httpx.Client.request`."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ApiConnectionError(f"{self.base_url}: {type(error).__name__}: {error}") from error
        if response.is_success:
            return response.content
        raise error_from(response.status_code, response.content, response.headers.get("x-request-id"))

    def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """`request`, with the answer decoded. Calls that make something carry an Idempotency-Key."""
        if method == "POST":
            options["headers"] = {"Idempotency-Key": str(uuid.uuid4()), **options.get("headers", {})}
        body = httpx.Response(200, content=self.request(method, path, **options)).json()
        if not isinstance(body, dict):
            raise BlindtuneError(f"{method} {path}: expected a JSON object")
        return body

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        query = {key: value for key, value in params.items() if value is not None}
        while True:
            page = self.json("GET", path, params=query)
            items: Sequence[dict[str, Any]] = page.get("data", [])
            yield from items
            last = items[-1] if items else {}
            after = page.get("last_id") or last.get("id") or last.get("seq")
            if not page.get("has_more") or after is None or after == query.get("after"):
                return
            query["after"] = after


class Files:
    """Label-free inputs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, file: tuple[str, bytes] | str | Path, purpose: str = "fine-tune") -> File:
        """Upload (name, bytes) or a path. The host refuses files with a column that looks like a label."""
        name, content = file if isinstance(file, tuple) else (Path(file).name, Path(file).read_bytes())
        return File.read(self._client.json("POST", "files", data={"purpose": purpose}, files={"file": (name, content)}))

    def list(self) -> Iterator[File]:
        """All files."""
        return map(File.read, self._client.pages("files"))

    def retrieve(self, file_id: str) -> File:
        """One file."""
        return File.read(self._client.json("GET", f"files/{file_id}"))

    def content(self, file_id: str) -> bytes:
        """What was uploaded."""
        return self._client.request("GET", f"files/{file_id}/content")

    def delete(self, file_id: str) -> None:
        """Remove it from the host."""
        self._client.request("DELETE", f"files/{file_id}")


class Models:
    """Backbones and fine-tuned models."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Iterator[Model]:
        """All that this key may use."""
        return map(Model.read, self._client.pages("models"))

    def retrieve(self, model: str) -> Model:
        """One model."""
        return Model.read(self._client.json("GET", f"models/{model}"))

    def delete(self, model: str) -> None:
        """Remove a fine-tuned model."""
        self._client.request("DELETE", f"models/{model}")


class Jobs:
    """Fine-tuning runs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, model: str, method: Mapping[str, Any], **fields: Any) -> Job:
        """Start a job.

        `method` is `{"type": "split", "split": {...}}`; `fields`: training_file, suffix, seed, metadata.
        """
        body = {"model": model, "method": dict(method), **{k: v for k, v in fields.items() if v is not None}}
        return Job.read(self._client.json("POST", JOBS, json=body))

    def list(self, limit: int | None = None) -> Iterator[Job]:
        """All jobs; `limit` is the page size."""
        return map(Job.read, self._client.pages(JOBS, limit=limit))

    def retrieve(self, job_id: str) -> Job:
        """One job."""
        return Job.read(self._client.json("GET", f"{JOBS}/{job_id}"))

    def cancel(self, job_id: str) -> Job:
        """Stop for good."""
        return self._act(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        """Stop taking steps until `resume`."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Take steps again."""
        return self._act(job_id, "resume")

    def complete(self, job_id: str) -> Job:
        """Finish: the adapters become a model, named in `fine_tuned_model`."""
        return self._act(job_id, "complete")

    def events(self, job_id: str) -> Iterator[Event]:
        """What happened, newest first."""
        return map(Event.read, self._client.pages(f"{JOBS}/{job_id}/events"))

    def checkpoints(self, job_id: str) -> Iterator[Checkpoint]:
        """Saved states, newest first."""
        return map(Checkpoint.read, self._client.pages(f"{JOBS}/{job_id}/checkpoints"))

    def create_checkpoint(self, job_id: str) -> Checkpoint:
        """Save the state now."""
        return Checkpoint.read(self._client.json("POST", f"{JOBS}/{job_id}/checkpoints", json={}))

    def _act(self, job_id: str, verb: str) -> Job:
        return Job.read(self._client.json("POST", f"{JOBS}/{job_id}/{verb}"))


def normalize_url(url: str) -> str:
    """`host:port`, with or without scheme, slash and `/v1`, as one base URL ending in `/v1/`."""
    with_scheme = url if "://" in url else f"http://{url}"
    trimmed = with_scheme.rstrip("/")
    return (trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1") + "/"
