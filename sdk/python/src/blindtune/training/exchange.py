"""Private backpropagation for training loops that are not trainer.py's: torch.py, mainly.

Owns: the jobs, which forward the hosts still hold, and the names of the obfuscation's draws. Must never: use a draw
for two gradients; its secret is new for every object and is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, I64, sha256
from ..client import Client
from ..client.step_calls import ForwardRequest
from ..data import Text, evaluation_chunks, upload_bytes
from ..errors import RunError
from .factory import fresh_secret, make_obfuscation
from .host_jobs import first_adapters, open_jobs
from .private_backprop import Plausible, PrivateBackprop
from .settings import Settings


@dataclass(frozen=True)
class Ticket:
    """A forward whose backward is to come: what it was asked, to repeat it if the hosts have dropped it."""

    rows: I64
    thetas: tuple[F32, ...]
    step: int


class Exchange:
    """Jobs on all hosts, with the texts uploaded in a secret order.

    `settings` are resolved. Rows here are the caller's; the hosts know them by other numbers.
    """

    def __init__(self, model: str, clients: Sequence[Client], texts: Sequence[Text], settings: Settings) -> None:
        self.settings = settings
        self.secret = fresh_secret()
        order = self.secret.permutation(len(texts), "rows")
        self._place = np.argsort(order, kind="stable").astype(np.int64)
        self._row_of = {text: row for row, text in enumerate(texts)}
        upload = upload_bytes([texts[int(row)] for row in order]) if texts else None
        self.group, self.hidden = open_jobs(model, settings, clients, upload)
        self.group.check_backbones(texts)
        self.backprop = PrivateBackprop(self.group, make_obfuscation(settings), self.secret)
        self._held: Ticket | None = None
        self._published = ""
        self._forwards = self._backwards = 0

    def first_adapters(self) -> list[F32]:
        """theta_i [P] as the host that runs set i starts it."""
        return first_adapters(self.group, self.settings.sets)

    def rows_of(self, texts: Iterable[Text]) -> I64:
        """The uploaded rows with these texts."""
        try:
            return np.array([self._row_of[text] for text in texts], dtype=np.int64)
        except KeyError:
            raise RunError("a text to train on is not among the uploaded `texts`") from None

    def forward(self, rows: I64, thetas: Sequence[F32], base: bool) -> tuple[list[F32], F32 | None, Ticket]:
        """h_i [B, H] for every set, h_base if asked for, and what `backward` needs."""
        if not len(self._place):
            raise RunError("nothing to train on: pass `texts`, which are uploaded without their labels")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self._place):
            raise RunError(f"rows must be from 0 to {len(self._place) - 1}, not {rows.min()} to {rows.max()}")
        ticket = Ticket(rows, tuple(theta.copy() for theta in thetas), self._forwards)  # optimizers write in place
        self._forwards += 1
        activations, h_base = self._run(ticket, base)
        return activations, h_base, ticket

    def backward(self, ticket: Ticket, gradients: Sequence[F32], plausible: Plausible | None = None) -> list[F32]:
        """dL/dtheta_i [P] for dL/dh_i [B, H]. The hosts hold one forward at a time: an older one is repeated first."""
        if ticket is not self._held:
            if self.settings.dropout:
                raise RunError(
                    "the hosts hold one forward at a time, and with dropout it cannot be repeated: call backward once "
                    "after each forward, or set dropout to 0"
                )
            self._run(ticket, False)
        self._held = None
        self._backwards += 1
        return self.backprop.backward(gradients, ("exchange", self._backwards), ticket.step, plausible)[0]

    def evaluate(self, texts: Sequence[Text], thetas: Sequence[F32], base: bool) -> tuple[list[F32], F32 | None]:
        """As `forward`, for any texts, without dropout, and with no backward to come."""
        if self._published != (digest := sha256(list(thetas))):
            self.group.publish(thetas, self.group.placement.evaluators())
            self._published = digest
        chunks = evaluation_chunks(texts, self.settings.eval_batch_size)
        requests = (ForwardRequest(texts=chunk, train=False, base=base) for chunk in chunks)
        whole = self.group.evaluate(requests, thetas)
        return [whole[f"h.{i}"] for i in range(len(thetas))], whole.get("h.base")

    def complete(self, thetas: Sequence[F32]) -> list[str | None]:
        """Leave the adapters on every host and finish the jobs; the fine-tuned models' names, host by host."""
        self.group.publish(thetas)
        return [link.client.jobs.complete(link.job_id).fine_tuned_model for link in self.group.links]

    def _run(self, ticket: Ticket, base: bool) -> tuple[list[F32], F32 | None]:
        self._held, self._published = None, ""
        answer = self.backprop.forward(self._place[ticket.rows], ticket.thetas, base, ticket.step)
        self._held = ticket
        return answer
