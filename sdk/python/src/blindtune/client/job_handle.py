"""What the handle of a job knows: what the host last said of it, and the number of its next step.

Owns: a handle's step number, and what becomes of a job when an error leaves its `with` block. Must never: hold labels,
send anything, or repeat a step with other bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from .._generated import operations as op
from .._generated.schemas import JobView
from ..errors import ApiConnectionError, ApiError
from .display import html_table
from .objects import Job
from .step_calls import BackwardRequest, Call, ForwardRequest

if TYPE_CHECKING:
    from ..arrays import F32


class JobHandle(JobView):
    """A job that is followed: unlike other objects it changes, to what the host last said of it."""

    _now: Job

    def __init__(self, job: Job) -> None:
        self._now = job
        self._seq = job.next_seq
        self._forward_id = ""

    @property
    def extra(self) -> Mapping[str, Any]:
        """What this release does not know of it."""
        return self._now.extra

    @property
    def next_seq(self) -> int:
        """The number the host expects of the next step call."""
        return self._now.next_seq

    @property
    def hidden_size(self) -> int:
        """H, the width of the activations."""
        return self._now.hidden_size

    @property
    def open(self) -> bool:
        """Whether the job still takes steps."""
        return self._now.open

    def shown(self) -> dict[str, Any]:
        """What may be shown of it."""
        return self._now.shown()

    def __repr__(self) -> str:
        return self._now.described(type(self).__name__)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [self.shown()])

    def _become(self, job: Job) -> Self:
        """Take over what the host now says. It never goes back in the count of steps that were answered here."""
        self._now = job
        self._seq = max(job.next_seq, self._seq)
        return self

    def _forward_call(self, request: ForwardRequest) -> Call:
        numbered = replace(request, seq=self._seq) if request.train and request.seq is None else request
        return numbered.call(self.id)

    def _backward_call(self, shares: Mapping[tuple[int, int], F32], forward_id: str | None) -> Call:
        return BackwardRequest(self._seq, forward_id or self._forward_id, shares).call(self.id)

    def _answered(self, metadata: Mapping[str, Any]) -> None:
        """A numbered step was answered."""
        self._seq += 1
        self._forward_id = str(metadata.get("forward_id", self._forward_id))

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """A step that is refused for its number: the host's count is adopted, so that the next call fits."""
        try:
            yield
        except ApiError as error:
            if "expected_seq" in error.envelope:
                self._seq = int(error.envelope["expected_seq"])
            raise

    def _rescue(self, error: BaseException | None) -> op.Operation | None:
        """What to do when a `with` block ends with this. A host that is away pauses an idle job by itself."""
        if error is None or isinstance(error, ApiConnectionError) or not self.open:
            return None
        return op.PAUSE_JOB if self._seq > 1 else op.CANCEL_JOB
