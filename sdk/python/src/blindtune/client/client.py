"""Typed clients for one host: `Client`, and `AsyncClient` with the same words.

Owns: addresses, keys, sending, and what becomes an exception. Must never: hold labels or anything of a run (training/
does), or say what a call is (`operations` and step_calls.py do). Management calls have OpenAI's shapes; the data plane
moves tensors as safetensors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

import httpx
from typing_extensions import Self

from .._version import __version__
from ..arrays import F32, AnyArray
from ..errors import ApiConnectionError, BlindtuneError, error_from
from .jobs import AsyncJobs, Jobs
from .operations import steps
from .operations.core import Ask, Listing
from .operations.jobs import ledger
from .resources import (
    ActivationCalls,
    ApiKeys,
    AsyncActivationCalls,
    AsyncApiKeys,
    AsyncAuditLog,
    AsyncEmbeddingCalls,
    AsyncFiles,
    AsyncModels,
    AsyncUploads,
    AsyncUsageReports,
    AsyncWebhooks,
    AuditLog,
    EmbeddingCalls,
    Files,
    Models,
    Uploads,
    UsageReports,
    Webhooks,
)
from .step_calls import TENSORS, BackwardRequest, Call, ForwardRequest, StepAnswer, step_answer
from .sync_async import Pages
from .transport import UNREAD, AsyncRetryingTransport, RetryingTransport, RetryPolicy, Traffic

__all__ = ["AsyncClient", "Client", "Recorder", "StepAnswer", "normalize_url"]

BASE_URL_VARIABLE = "BLINDTUNE_BASE_URL"
API_KEY_VARIABLE = "BLINDTUNE_API_KEY"

Recorder = Callable[[Call, bytes], None]
"""Is handed every step call as it was encoded, and the bytes of its answer."""

T = TypeVar("T")


class _Connection:
    """What both clients have: the host's address, how to be patient, and what an answer means."""

    def __init__(self, base_url: str | None, policy: RetryPolicy | None, recorder: Recorder | None) -> None:
        url = base_url or os.environ.get(BASE_URL_VARIABLE)
        if not url:
            raise BlindtuneError(f"no host: pass base_url or set {BASE_URL_VARIABLE}")
        self.base_url = normalize_url(url)
        self.policy = policy or RetryPolicy()
        self.recorder = recorder
        self.traffic = Traffic()
        """Bytes up and down so far."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_password(self.base_url)!r})"

    def _options(self, api_key: str | None, timeout_s: float) -> dict[str, Any]:
        key = api_key or os.environ.get(API_KEY_VARIABLE) or ""
        headers = {"User-Agent": f"blindtune-python/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return {"base_url": self.base_url, "headers": headers, "timeout": httpx.Timeout(timeout_s, connect=5.0)}

    def _lost(self, error: httpx.TransportError) -> ApiConnectionError:
        return ApiConnectionError(f"{_without_password(self.base_url)}: {type(error).__name__}: {error}")

    def _answered(self, call: Call, body: bytes) -> StepAnswer:
        answer = step_answer(body)
        if self.recorder is not None:
            self.recorder(call, body)
        return answer


class Client(_Connection):
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
        super().__init__(base_url, retry, recorder)
        patient = RetryingTransport(transport or httpx.HTTPTransport(retries=0), self.policy, self.traffic)
        self._http = httpx.Client(transport=patient, **self._options(api_key, timeout_s))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def files(self) -> Files:
        """Label-free inputs, and the results of jobs."""
        return Files(self)

    @cached_property
    def uploads(self) -> Uploads:
        """Large files in parts."""
        return Uploads(self)

    @cached_property
    def models(self) -> Models:
        """Backbones and fine-tuned models."""
        return Models(self)

    @cached_property
    def jobs(self) -> Jobs:
        """Fine-tuning runs."""
        return Jobs(self)

    @cached_property
    def activations(self) -> ActivationCalls:
        """What a private head is put on."""
        return ActivationCalls(self)

    @cached_property
    def embeddings(self) -> EmbeddingCalls:
        """Vectors of texts."""
        return EmbeddingCalls(self)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Where the host says what happened."""
        return Webhooks(self)

    @cached_property
    def usage(self) -> UsageReports:
        """What was used."""
        return UsageReports(self)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """The project's keys."""
        return ApiKeys(self)

    @cached_property
    def audit_log(self) -> AuditLog:
        """What was done with which key."""
        return AuditLog(self)

    # The data plane.

    def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call; sending the same one again is safe."""
        return self._answered(call, self.request("POST", call.path, **_step_options(call)))

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
        return self.ask(steps.optim_step(job_id, settings))

    def adapters(self, job_id: str) -> dict[str, Any]:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return self.ask(steps.adapters(job_id))

    def adapter(self, job_id: str, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        return self.ask(steps.adapter(job_id, index, form))

    def put_adapter(self, job_id: str, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        self.ask(steps.put_adapter(job_id, index, theta))

    def ledger(self, job_id: str) -> Iterator[dict[str, Any]]:
        """What the host was sent, call by call: names, shapes, bytes, hashes. As `jobs.ledger`, as it came."""
        return iter(Pages(self, Listing(ledger(job_id).path, dict)))

    def metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        self.jobs.metrics(job_id, step, metrics)

    # Everything goes through here.

    def ask(self, ask: Ask[T]) -> T:
        """Send a call and read its answer."""
        return ask.read(self.request(ask.method, ask.path, **ask.prepared()))

    def request(self, method: str, path: str, **options: Any) -> bytes:
        """Send, retry, raise; the body of a 2xx answer. `options` are those of `httpx.Client.request`."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return _body(response)

    def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """A good answer to a GET, its body not read yet; close it."""
        request = self._http.build_request("GET", path, extensions={UNREAD: True}, **options)
        try:
            response = self._http.send(request, stream=True)
            if not response.is_success:
                response.read()
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return _good(response)


class AsyncClient(_Connection):
    """One host, one key, for asyncio: the words of `Client`, to await; lists and events are for `async for`.

    `base_url` and `api_key` default to BLINDTUNE_BASE_URL and BLINDTUNE_API_KEY. Files on disk are read and written
    without awaiting.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 600.0,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(base_url, retry, recorder)
        patient = AsyncRetryingTransport(transport or httpx.AsyncHTTPTransport(retries=0), self.policy, self.traffic)
        self._http = httpx.AsyncClient(transport=patient, **self._options(api_key, timeout_s))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        await self.close()

    @cached_property
    def files(self) -> AsyncFiles:
        """Label-free inputs, and the results of jobs."""
        return AsyncFiles(self)

    @cached_property
    def uploads(self) -> AsyncUploads:
        """Large files in parts."""
        return AsyncUploads(self)

    @cached_property
    def models(self) -> AsyncModels:
        """Backbones and fine-tuned models."""
        return AsyncModels(self)

    @cached_property
    def jobs(self) -> AsyncJobs:
        """Fine-tuning runs."""
        return AsyncJobs(self)

    @cached_property
    def activations(self) -> AsyncActivationCalls:
        """What a private head is put on."""
        return AsyncActivationCalls(self)

    @cached_property
    def embeddings(self) -> AsyncEmbeddingCalls:
        """Vectors of texts."""
        return AsyncEmbeddingCalls(self)

    @cached_property
    def webhooks(self) -> AsyncWebhooks:
        """Where the host says what happened."""
        return AsyncWebhooks(self)

    @cached_property
    def usage(self) -> AsyncUsageReports:
        """What was used."""
        return AsyncUsageReports(self)

    @cached_property
    def api_keys(self) -> AsyncApiKeys:
        """The project's keys."""
        return AsyncApiKeys(self)

    @cached_property
    def audit_log(self) -> AsyncAuditLog:
        """What was done with which key."""
        return AsyncAuditLog(self)

    # The data plane.

    async def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call; sending the same one again is safe."""
        return self._answered(call, await self.request("POST", call.path, **_step_options(call)))

    async def forward(self, job_id: str, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`; metadata has `forward_id` when training."""
        return await self.send(request.call(job_id))

    async def backward(self, job_id: str, request: BackwardRequest) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share became."""
        return await self.send(request.call(job_id))

    async def optim_step(self, job_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Host custody.

        Let the host step its own AdamW. `settings` holds seq, lr, betas, eps, weight_decay, max_grad_norm.
        """
        return await self.ask(steps.optim_step(job_id, settings))

    async def adapters(self, job_id: str) -> dict[str, Any]:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return await self.ask(steps.adapters(job_id))

    async def adapter(self, job_id: str, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        return await self.ask(steps.adapter(job_id, index, form))

    async def put_adapter(self, job_id: str, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        await self.ask(steps.put_adapter(job_id, index, theta))

    # Everything goes through here.

    async def ask(self, ask: Ask[T]) -> T:
        """Send a call and read its answer."""
        return ask.read(await self.request(ask.method, ask.path, **ask.prepared()))

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        """Send, retry, raise; the body of a 2xx answer. `options` are those of `httpx.AsyncClient.request`."""
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return _body(response)

    async def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """A good answer to a GET, its body not read yet; close it."""
        request = self._http.build_request("GET", path, extensions={UNREAD: True}, **options)
        try:
            response = await self._http.send(request, stream=True)
            if not response.is_success:
                await response.aread()
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return _good(response)


def _step_options(call: Call) -> dict[str, Any]:
    headers = {"Content-Type": call.content_type, "Accept": TENSORS}
    return {"params": dict(call.query), "content": call.body, "headers": headers}


def _good(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise error_from(response.status_code, response.content, response.headers.get("x-request-id"))


def _body(response: httpx.Response) -> bytes:
    return _good(response).content


def _without_password(url: str) -> str:
    """For messages: what stands before `@` is a secret."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(username=None, password=None)) if parsed.userinfo else url


def normalize_url(url: str) -> str:
    """`host:port`, with or without scheme, slash and `/v1`, as one base URL ending in `/v1/`."""
    with_scheme = url if "://" in url else f"http://{url}"
    trimmed = with_scheme.rstrip("/")
    return (trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1") + "/"
