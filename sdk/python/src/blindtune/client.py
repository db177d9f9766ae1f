"""A typed client for one host.

Owns: paths, headers, and what becomes an exception. Must never: hold labels or anything of a run; see trainer.py.
Management calls have OpenAI's shapes; the data plane moves tensors as safetensors.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import httpx

from ._generated.api.fine_tuning import list_ledger, report_metrics
from ._generated.models import MetricsBody
from ._transport import RetryingTransport, RetryPolicy, Traffic
from .arrays import F32, AnyArray, decode, encode
from .calls import BackwardRequest, Call, ForwardRequest
from .errors import ApiConnectionError, BlindtuneError, error_from
from .management import Files, Jobs, Models

BASE_URL_VARIABLE = "BLINDTUNE_BASE_URL"
API_KEY_VARIABLE = "BLINDTUNE_API_KEY"
TENSORS = "application/octet-stream"
JOBS = "fine_tuning/jobs"

Recorder = Callable[[Call, bytes], None]


@dataclass(frozen=True)
class StepAnswer:
    """Named tensors, and the scalars that came with them (strings, as safetensors has them)."""

    tensors: dict[str, AnyArray]
    metadata: dict[str, str]


class Client:
    """One host, one key. Threads may share it.

    `base_url` and `api_key` default to BLINDTUNE_BASE_URL and BLINDTUNE_API_KEY. `/v1` is added where it is missing.
    `recorder` is handed every step call as it was encoded and the bytes of its answer: `audit.Recorder(...).on(0)`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 600.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        url = base_url or os.environ.get(BASE_URL_VARIABLE)
        if not url:
            raise BlindtuneError(f"no host: pass base_url or set {BASE_URL_VARIABLE}")
        key = api_key or os.environ.get(API_KEY_VARIABLE) or ""
        headers = {"User-Agent": "blindtune-python/0.1.0"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.base_url = normalize_url(url)
        self.recorder = recorder
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
        answer = StepAnswer(*decode(body))
        if self.recorder is not None:
            self.recorder(call, body)
        return answer

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
        return _object(self.request("POST", f"{JOBS}/{job_id}/optim_step", json=dict(settings)))

    def adapters(self, job_id: str) -> dict[str, Any]:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return _object(self.request("GET", f"{JOBS}/{job_id}/adapters"))

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
        return self.pages(list_ledger, job_id=job_id)

    def metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        body = MetricsBody.from_dict({"step": step, "metrics": dict(metrics)})
        self.send_core(report_metrics, job_id=job_id, body=body)

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

    def send_core(self, operation: ModuleType, **arguments: Any) -> bytes:
        """Send a call of the generated core: path, query and body as the contract has them.

        Its own sending is not used: it knows no retries, and refuses answers that say more than it expects.
        """
        wanted = dict(operation._get_kwargs(**arguments))
        headers = dict(wanted.pop("headers", {}))
        if "files" in wanted:
            headers.pop("Content-Type", None)  # its boundary is fixed, and may occur in a file
        if wanted["method"] == "post":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        path = str(wanted.pop("url")).removeprefix("/v1/")
        return self.request(wanted.pop("method").upper(), path, headers=headers, **wanted)

    def call(self, operation: ModuleType, **arguments: Any) -> dict[str, Any]:
        """`send_core`, with the answer decoded."""
        return _object(self.send_core(operation, **arguments))

    def pages(self, operation: ModuleType, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        query = {key: value for key, value in arguments.items() if value is not None}
        while True:
            page = self.call(operation, **query)
            items: Sequence[dict[str, Any]] = page.get("data", [])
            yield from items
            last = items[-1] if items else {}
            after = page.get("last_id") or last.get("id") or last.get("seq")
            if not page.get("has_more") or after is None or after == query.get("after"):
                return
            query["after"] = after


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise BlindtuneError(f"expected a JSON object, got {type(value).__name__}")
    return value


def normalize_url(url: str) -> str:
    """`host:port`, with or without scheme, slash and `/v1`, as one base URL ending in `/v1/`."""
    with_scheme = url if "://" in url else f"http://{url}"
    trimmed = with_scheme.rstrip("/")
    return (trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1") + "/"
