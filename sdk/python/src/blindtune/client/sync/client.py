"""A typed client for one host.

Owns: sending, and the data plane. Must never: hold labels or anything of a run (training/ does). Management calls have
OpenAI's shapes; the data plane moves tensors as safetensors.
"""

# Made from ../aio/client.py by tools/unasync.py: `make sdk`.

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
from .account import ApiKeys, AuditLog, UsageReports
from .batches import Batches
from .events import Events
from .files import Files, Uploads
from .inference import ActivationCalls, EmbeddingCalls
from .jobs import Jobs
from .models import Models
from .operator import Operator
from .retrying import RetryingTransport
from .webhooks import Webhooks

if TYPE_CHECKING:
    from ...arrays import F32, AnyArray

T = TypeVar("T")


class Client(Connection):
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
        inner = transport or httpx.HTTPTransport(retries=0)
        patient = RetryingTransport(inner, self.patience, self.traffic, notices=Notices(self.host))
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
    def events(self) -> Events:
        """What happens to all jobs."""
        return Events(self)

    @cached_property
    def activations(self) -> ActivationCalls:
        """What a private head is put on."""
        return ActivationCalls(self)

    @cached_property
    def embeddings(self) -> EmbeddingCalls:
        """Vectors of texts."""
        return EmbeddingCalls(self)

    @cached_property
    def batches(self) -> Batches:
        """Many requests in one file."""
        return Batches(self)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Where the host says what happened."""
        return Webhooks(self)

    @cached_property
    def usage(self) -> UsageReports:
        """One row of usage."""
        return UsageReports(self)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """The project's keys."""
        return ApiKeys(self)

    @cached_property
    def audit_log(self) -> AuditLog:
        """What was done with which key."""
        return AuditLog(self)

    @cached_property
    def operator(self) -> Operator:
        """The host and all its projects."""
        return Operator(self)

    # The data plane.

    def send(self, call: Call) -> StepAnswer:
        """Send an encoded step call; sending the same one again is safe."""
        return self._answered(call, self.request("POST", call.path, **step_options(call)))

    def forward(self, job_id: str, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`; metadata has `forward_id` when training."""
        return self.send(request.call(job_id))

    def backward(self, job_id: str, request: BackwardRequest) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share became."""
        return self.send(request.call(job_id))

    def optim_step(self, job_id: str, settings: Mapping[str, Any]) -> OptimStepAnswer:
        """Host custody.

        Let the host step its own AdamW. `settings` holds seq, lr, betas, eps, weight_decay, max_grad_norm.
        """
        return cast("OptimStepAnswer", self.call(op.OPTIM_STEP, decoded, settings, job_id=job_id))

    def adapters(self, job_id: str) -> AdapterLayout:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return cast("AdapterLayout", self.call(op.GET_ADAPTERS, decoded, job_id=job_id))

    def adapter(self, job_id: str, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        tensors, _ = self.call(op.GET_ADAPTER, decode, job_id=job_id, set=index, format=form)
        return tensors

    def put_adapter(self, job_id: str, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        self.call(op.PUT_ADAPTER, nothing, encode({f"theta.{index}": theta}), job_id=job_id, set=index)

    # Everything goes through here.

    def call(self, operation: Operation, read: Callable[[bytes], T], body: Body = None, /, **arguments: Any) -> T:
        """Send an operation of the contract with its arguments, and read its answer."""
        sent = request(operation, body, **arguments)
        return read(self.request(sent.method, sent.path, **sent.options))

    def request(self, method: str, path: str, **options: Any) -> bytes:
        """Send, retry, raise; the body of a 2xx answer. `options` are those of `httpx.Client.request`."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return self._whole(response)

    def open_stream(self, path: str, **options: Any) -> httpx.Response:
        """A good answer to a GET, its body not read yet; close it."""
        request = self._http.build_request("GET", path, extensions={UNREAD: True}, **options)
        try:
            response = self._http.send(request, stream=True)
            if not response.is_success:
                response.read()
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return self._good(response)
