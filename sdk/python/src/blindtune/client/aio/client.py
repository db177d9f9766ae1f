"""A typed client for one host.

Owns: sending, and the data plane. Must never: hold labels or anything of a run (training/ does). Management calls have
OpenAI's shapes; the data plane moves tensors as safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx
from typing_extensions import Self

from ..._generated import operations as op
from ..._generated.operations import Operation
from ..._generated.schemas import AdapterLayout, OptimStepAnswer
from ...arrays import decode, encode
from ..connection import Connection, Recorder, step_options
from ..requests import Body, decoded, nothing, request
from ..step_calls import BackwardRequest, Call, ForwardRequest, StepAnswer
from ..transport import UNREAD, RetryPolicy
from ..waiting import Notices
from .account import AsyncApiKeys, AsyncAuditLog, AsyncUsageReports
from .batches import AsyncBatches
from .events import AsyncEvents
from .files import AsyncFiles, AsyncUploads
from .inference import AsyncActivationCalls, AsyncEmbeddingCalls
from .jobs import AsyncJobs
from .models import AsyncModels
from .operator import AsyncOperator
from .retrying import AsyncRetryingTransport
from .webhooks import AsyncWebhooks

if TYPE_CHECKING:
    from ...arrays import F32, AnyArray

T = TypeVar("T")


class AsyncClient(Connection):
    """One host, one key, for asyncio. Lists and events are for `async for`; files on disk are read without awaiting.

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
        transport: httpx.AsyncBaseTransport | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(base_url, retry, recorder)
        inner = transport or httpx.AsyncHTTPTransport(retries=0)
        patient = AsyncRetryingTransport(inner, self.patience, self.traffic, notices=Notices(self.host))
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
    def events(self) -> AsyncEvents:
        """What happens to all jobs."""
        return AsyncEvents(self)

    @cached_property
    def activations(self) -> AsyncActivationCalls:
        """What a private head is put on."""
        return AsyncActivationCalls(self)

    @cached_property
    def embeddings(self) -> AsyncEmbeddingCalls:
        """Vectors of texts."""
        return AsyncEmbeddingCalls(self)

    @cached_property
    def batches(self) -> AsyncBatches:
        """Many requests in one file."""
        return AsyncBatches(self)

    @cached_property
    def webhooks(self) -> AsyncWebhooks:
        """Where the host says what happened."""
        return AsyncWebhooks(self)

    @cached_property
    def usage(self) -> AsyncUsageReports:
        """One row of usage."""
        return AsyncUsageReports(self)

    @cached_property
    def api_keys(self) -> AsyncApiKeys:
        """The project's keys."""
        return AsyncApiKeys(self)

    @cached_property
    def audit_log(self) -> AsyncAuditLog:
        """What was done with which key."""
        return AsyncAuditLog(self)

    @cached_property
    def operator(self) -> AsyncOperator:
        """The host and all its projects."""
        return AsyncOperator(self)

    # The data plane.

    async def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call; sending the same one again is safe."""
        return self._answered(call, await self.request("POST", call.path, **step_options(call)))

    async def forward(self, job_id: str, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`; metadata has `forward_id` when training."""
        return await self.send(request.call(job_id))

    async def backward(self, job_id: str, request: BackwardRequest) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share became."""
        return await self.send(request.call(job_id))

    async def optim_step(self, job_id: str, settings: Mapping[str, Any]) -> OptimStepAnswer:
        """Host custody.

        Let the host step its own AdamW. `settings` holds seq, lr, betas, eps, weight_decay, max_grad_norm.
        """
        return cast("OptimStepAnswer", await self.call(op.OPTIM_STEP, decoded, settings, job_id=job_id))

    async def adapters(self, job_id: str) -> AdapterLayout:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return cast("AdapterLayout", await self.call(op.GET_ADAPTERS, decoded, job_id=job_id))

    async def adapter(self, job_id: str, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        tensors, _ = await self.call(op.GET_ADAPTER, decode, job_id=job_id, set=index, format=form)
        return tensors

    async def put_adapter(self, job_id: str, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        await self.call(op.PUT_ADAPTER, nothing, encode({f"theta.{index}": theta}), job_id=job_id, set=index)

    # Everything goes through here.

    async def call(self, operation: Operation, read: Callable[[bytes], T], body: Body = None, /, **arguments: Any) -> T:
        """Send an operation of the contract with its arguments, and read its answer."""
        sent = request(operation, body, **arguments)
        return read(await self.request(sent.method, sent.path, **sent.options))

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        """Send, retry, raise; the body of a 2xx answer. `options` are those of `httpx.AsyncClient.request`."""
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return self._whole(response)

    async def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """A good answer to a GET, its body not read yet; close it."""
        request = self._http.build_request("GET", path, extensions={UNREAD: True}, **options)
        try:
            response = await self._http.send(request, stream=True)
            if not response.is_success:
                await response.aread()
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return self._good(response)
