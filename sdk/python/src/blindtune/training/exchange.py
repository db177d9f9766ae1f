"""One private forward and backward on the hosts, for training loops that are not trainer.py's: torch.py, mainly.

Owns: the jobs, which forward the hosts still hold, and the names of the obfuscation's draws. Must never: use a draw
for two gradients; its secret is new for every object and is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import F32, I64, AnyArray, sha256
from ..client import Client
from ..client.step_calls import ForwardRequest
from ..data import Text, evaluation_chunks, upload_bytes
from ..errors import RunError
from ..private.obfuscation import Context, Obfuscated
from ..private.secret import SecretStream
from .host_group import HostGroup, HostLink
from .placement import make_placement
from .run import COMPARED_TEXTS, About, create_job, first_adapters
from .settings import Settings

Plausible = Callable[[int], Sequence[F32]]
"""k -> the gradients [B, H] of every set that the same rows would give under the k-th other labelling."""


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
        self.secret = SecretStream.fresh()
        self.obfuscation = settings.gradient_obfuscation()
        order = self.secret.permutation(len(texts), "rows")
        self._place = np.argsort(order, kind="stable").astype(np.int64)
        self._row_of = {text: row for row, text in enumerate(texts)}
        upload = upload_bytes([texts[int(row)] for row in order]) if texts else None
        about = About(model, settings, (), "")
        jobs = [create_job(client, about, upload, k) for k, client in enumerate(clients)]
        self.hidden = jobs[0].hidden_size
        links = [HostLink(client, job.id, job.next_seq) for client, job in zip(clients, jobs, strict=True)]
        self.group = HostGroup(links, make_placement(settings.placement, len(links)))
        if texts and settings.placement != "shares" and len(links) > 1:
            some = list(texts[:COMPARED_TEXTS])
            self.group.check_backbones(ForwardRequest(texts=some, train=False, adapters="none", base=True))
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
            if self.settings.dropout > 0:
                raise RunError(
                    "the hosts hold one forward at a time, and with dropout it cannot be repeated: call backward once "
                    "after each forward, or set dropout to 0"
                )
            self._run(ticket, False)
        self._held = None
        hidden = self._obfuscate(gradients, plausible)
        table = {(i, j): tensor for i, part in enumerate(hidden) for j, tensor in enumerate(part.tensors)}
        answers = self.group.backward(table, ticket.step)
        found = [part.reconstruct([answers[(i, j)] for j in range(len(part.tensors))]) for i, part in enumerate(hidden)]
        # A gradient of zeros travels as noise like any other; what comes back is zero but for rounding.
        return [
            part if gradient.any() else np.zeros_like(part) for part, gradient in zip(found, gradients, strict=True)
        ]

    def evaluate(self, texts: Sequence[Text], thetas: Sequence[F32], base: bool) -> tuple[list[F32], F32 | None]:
        """As `forward`, for any texts, without dropout, and with no backward to come."""
        if self._published != (digest := sha256(list(thetas))):
            self.group.publish(thetas, self.group.placement.evaluators())
            self._published = digest
        parts: list[dict[str, AnyArray]] = []
        for chunk in evaluation_chunks(texts, self.settings.eval_batch_size):
            parts.append(self.group.evaluate(ForwardRequest(texts=chunk, train=False, base=base), thetas))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return [whole[f"h.{i}"] for i in range(len(thetas))], whole.get("h.base")

    def complete(self, thetas: Sequence[F32]) -> list[str | None]:
        """Leave the adapters on every host and finish the jobs; the fine-tuned models' names, host by host."""
        self.group.publish(thetas)
        return [link.client.jobs.complete(link.job_id).fine_tuned_model for link in self.group.links]

    def _run(self, ticket: Ticket, base: bool) -> tuple[list[F32], F32 | None]:
        self._held, self._published = None, ""
        answer = self.group.forward(self._place[ticket.rows], ticket.thetas, base, ticket.step)
        self._held = ticket
        return answer

    def _obfuscate(self, gradients: Sequence[F32], plausible: Plausible | None) -> list[Obfuscated]:
        """Each set's gradient under a draw of its own."""
        self._backwards += 1
        others = [plausible(k) for k in range(self.settings.decoys)] if plausible is not None else []
        found = []
        for i, gradient in enumerate(gradients):
            of_set = [other[i] for other in others]
            context = Context(("exchange", self._backwards, i), self.secret, of_set.__getitem__ if of_set else None)
            found.append(self.obfuscation.obfuscate(gradient, context))
        return found
