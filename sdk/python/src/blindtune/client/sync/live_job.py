"""The handle of one job: data, steps and its `with` block.

Owns: sending a job's steps in their order. Must never: hold labels, or repeat a step with other bytes.
"""

# Made from ../aio/live_job.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ..._generated import operations as op
from ..._generated.operations import Operation
from ..._generated.schemas import AdapterLayout, OptimStepAnswer
from ...errors import BlindtuneError
from ..job_handle import JobHandle
from ..objects import Checkpoint, Event, Job
from ..progress import Bar
from ..requests import reads
from ..step_calls import ForwardRequest, StepAnswer
from .pages import Pages

if TYPE_CHECKING:
    from ...arrays import F32, AnyArray
    from .client import Client

log = logging.getLogger("blindtune")


class LiveJob(JobHandle):
    """A job and what can be done with it.

    In a `with` block, an error that leaves the block pauses the job, for what it has learnt is worth keeping:
    `client.jobs.resume(job.id)` goes on. A job that has taken no step is cancelled instead. A block that ends without
    an error leaves the job as it is: completed if you called `complete`, otherwise open.
    """

    def __init__(self, client: Client, job: Job) -> None:
        super().__init__(job)
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        rescue = self._rescue(error)
        if rescue is not None:
            try:
                self._send(rescue)
            except BlindtuneError as another:  # the error that left the block says more
                log.warning("%s is left as it is: %s", self.id, another)

    def forward(self, request: ForwardRequest) -> StepAnswer:
        """Activations `h.{i}` [B, H] and `h.base`. A training forward is given the job's next step number."""
        with self._counting():
            answer = self._client.send(self._forward_call(request))
        if request.train:
            self._answered(answer.metadata)
        return answer

    def backward(self, shares: Mapping[tuple[int, int], F32], forward_id: str | None = None) -> StepAnswer:
        """Client custody: `G.{i}.{j}` [P], what each share (set i, j) [B, H] of the last forward became."""
        with self._counting():
            answer = self._client.send(self._backward_call(shares, forward_id))
        self._answered(answer.metadata)
        return answer

    def optim_step(self, **settings: Any) -> OptimStepAnswer:
        """Host custody: let the host step its own AdamW, with lr, betas, eps, weight_decay, max_grad_norm."""
        with self._counting():
            answer = self._client.optim_step(self.id, {"seq": self._seq, **settings})
        self._answered({})
        return answer

    def adapters(self) -> AdapterLayout:
        """Layout of the flat adapter vector: names, shapes, offsets."""
        return self._client.adapters(self.id)

    def adapter(self, index: int, form: str = "peft") -> dict[str, AnyArray]:
        """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
        return self._client.adapter(self.id, index, form)

    def put_adapter(self, index: int, theta: F32) -> None:
        """Set one adapter set from its flat vector [P]."""
        self._client.put_adapter(self.id, index, theta)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the host scalars of your choice.

        Nothing in this package calls it: a loss says something about labels.
        """
        self._client.jobs.metrics(self.id, step, metrics)

    def checkpoint(self, *, expires_after_s: int | None = None) -> Checkpoint:
        """Save the state now; with `expires_after_s`, for that long."""
        return self._client.jobs.checkpoints.create(self.id, expires_after_s=expires_after_s)

    def refresh(self) -> Self:
        """Follow what became of the job on the host."""
        return self._send(op.GET_JOB)

    def pause(self) -> Self:
        """Stop taking steps until `resume`; the host keeps a checkpoint."""
        return self._send(op.PAUSE_JOB)

    def resume(self) -> Self:
        """Take steps again."""
        return self._send(op.RESUME_JOB)

    def cancel(self) -> Self:
        """Stop for good."""
        return self._send(op.CANCEL_JOB)

    def complete(self) -> Self:
        """Finish: the adapters become a model, named in `fine_tuned_model`."""
        return self._send(op.COMPLETE_JOB)

    def events(self, limit: int | None = None, *, order: str | None = None) -> Pages[Event]:
        """What happened, newest first, or oldest first with `order="asc"`."""
        return self._client.jobs.events(self.id, limit, order=order)

    def stream_events(self, after: str | None = None) -> Iterator[Event]:
        """Every event as it happens, until the job has ended."""
        return self._client.jobs.stream_events(self.id, after)

    def progress(self, total: int | None = None, **options: Any) -> Self:
        """Follow the job with a bar until it has ended. `total` steps, and tqdm's other `options`."""
        with closing(Bar(self.id, total, **options)) as bar:
            for event in self.stream_events():
                bar.take(event)
        return self.refresh()

    def _send(self, operation: Operation) -> Self:
        """Send an operation on this job, and become what the host then says of it."""
        return self._become(self._client.call(operation, reads(Job), job_id=self.id))
