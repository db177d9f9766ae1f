"""Private backpropagation for PyTorch: a backbone that lives on hosts, under any head, loss and optimizer at home.

Owns: the bridge between autograd and the wire. Must never: let a label, a loss or a mixing weight into a request; what
travels is what exchange.py sends. Needs the extra `torch`.

    backbone = HostedBackbone("minilm", hosts=[url_a, url_b], texts=texts)
    mixing, head = Mixing(backbone), nn.Linear(backbone.hidden_size, 2)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-3)
    loss = nn.functional.cross_entropy(head(mixing(backbone(rows))), labels[rows])
    loss.backward()  # obfuscated gradients to the hosts, dL/dtheta from what comes back
    optimizer.step()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Unpack

from .arrays import F32, I64, AnyArray, decode, encode
from .client import Client, connect
from .data import Text
from .errors import RunError
from .extras import need
from .training.adapter_folders import NewFolder, write_adapters
from .training.exchange import Exchange
from .training.factory import make_mixing, make_penalty, make_watch, other_labels
from .training.private_backprop import Plausible
from .training.settings import Settings
from .training.settings_dict import SettingsDict

if TYPE_CHECKING:
    from .private.penalties.penalty import Penalty

need("torch", "torch", "blindtune.torch")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.autograd.function import once_differentiable  # noqa: E402

OtherGradients = Callable[[list[Tensor], list[Tensor], Tensor, int], Sequence[Tensor]]
"""(h_i, dL/dh_i, rows, k) -> dL/dh_i [B, H] as they would be under the k-th other labelling of those rows."""


class HostedBackbone(nn.Module):
    """A backbone with adapters on one or more hosts. `theta` holds the adapters' values [P], which are kept here.

    `texts` are uploaded, in a secret order, and rows index them. Keyword arguments are those of `Settings` that concern
    adapters, obfuscation and regularizers. With a single host gradients travel among decoys, which are made from other
    labels: call `hide_among_decoys` first.

    A forward in training mode is a step on the hosts, which hold one at a time: each backward after its own forward.
    In evaluation mode, or without gradients, nothing is kept there and any texts will do.
    """

    def __init__(
        self,
        model: str,
        hosts: Sequence[str | Client] = (),
        *,
        texts: Sequence[Text] = (),
        api_keys: Sequence[str] | str | None = None,
        **settings: Unpack[SettingsDict],
    ) -> None:
        super().__init__()
        clients = connect(hosts, api_keys)
        self.settings = Settings.from_dict(settings).resolve(len(clients))
        self.texts = tuple(texts)
        self.exchange = Exchange(model, clients, self.texts, self.settings)
        self.theta = nn.ParameterList(nn.Parameter(torch.from_numpy(t)) for t in self.exchange.first_adapters())
        self.other_gradients: OtherGradients | None = None

    @property
    def hidden_size(self) -> int:
        """H, the width of the activations."""
        return self.exchange.hidden

    def forward(self, rows: Tensor | Sequence[Text]) -> list[Tensor]:
        """h_i [B, H] for every adapter set, for row numbers [B] of `texts`, or for texts."""
        return self.with_base(rows, base=False)[0]

    def with_base(self, rows: Tensor | Sequence[Text], base: bool = True) -> tuple[list[Tensor], Tensor | None]:
        """As `forward`, and the bare backbone's activations h_base [B, H], as regularizers need them."""
        device = self.theta[0].device
        if self.training and torch.is_grad_enabled():
            numbers = _numbers(rows) if isinstance(rows, Tensor) else self.exchange.rows_of(rows)
            *sets, h_base = _PrivateBackpropagation.apply(self, numbers, base, *self.theta)
            return list(sets), h_base if base else None
        texts = [self.texts[int(row)] for row in rows] if isinstance(rows, Tensor) else list(rows)
        found, bare = self.exchange.evaluate(texts, [_array(theta) for theta in self.theta], base)
        return [_tensor(h, device) for h in found], None if bare is None else _tensor(bare, device)

    def hide_among_decoys(self, labels: Tensor) -> None:
        """Make decoys for two classes from the `labels` [N] of all `texts`: where its side changes, a row turns.

        For more classes, or another loss, set `other_gradients`; `exchanged` helps with a cross entropy.
        """
        true = _numbers(labels)
        if true.shape != (len(self.texts),) or not np.isin(true, (0, 1)).all():
            raise RunError(f"labels must be {len(self.texts)} zeros and ones; else set `other_gradients`")
        drawn = other_labels(self.texts, true, self.settings, self.exchange.secret)
        sides = [torch.from_numpy(np.where(other == true, 1.0, -1.0).astype(np.float32)) for other in drawn]
        self.other_gradients = lambda _, gradients, rows, k: [g * sides[k][rows][:, None] for g in gradients]

    def save_adapters(self, folder: str | Path) -> None:
        """Write `set0`, `set1`, ... into a new folder, each as PEFT loads it. While the jobs are open."""
        link = self.exchange.group.links[0]
        layout = link.client.adapters(link.job_id)
        with NewFolder(Path(folder)) as new:
            write_adapters(new, layout, [_array(theta) for theta in self.theta])

    def complete(self) -> list[str | None]:
        """Leave the adapters on every host and finish the jobs; the fine-tuned models' names, host by host."""
        return self.exchange.complete([_array(theta) for theta in self.theta])


class _PrivateBackpropagation(torch.autograd.Function):
    """Forward on the hosts; backward through obfuscated gradients."""

    @staticmethod
    def forward(ctx: Any, backbone: HostedBackbone, rows: I64, base: bool, *thetas: Tensor) -> tuple[Tensor, ...]:
        activations, bare, ticket = backbone.exchange.forward(rows, [_array(theta) for theta in thetas], base)
        ctx.backbone, ctx.ticket, ctx.device = backbone, ticket, thetas[0].device
        ctx.activations = activations
        h_base = _tensor(bare if bare is not None else np.zeros(0, np.float32), ctx.device)
        ctx.mark_non_differentiable(h_base)
        return *(_tensor(h, ctx.device) for h in activations), h_base

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        backbone, ticket = ctx.backbone, ctx.ticket
        sent = [_array(g) for g in gradients[:-1]]
        found = backbone.exchange.backward(ticket, sent, _plausible(ctx, sent))
        return None, None, None, *(_tensor(g, ctx.device) for g in found)


def _plausible(ctx: Any, gradients: Sequence[F32]) -> Plausible | None:
    """Gradients under other labellings, where the obfuscation needs them."""
    if ctx.backbone.settings.obfuscation != "decoys":
        return None
    others: OtherGradients | None = ctx.backbone.other_gradients
    if others is None:
        raise RunError(
            "with a single host gradients travel among decoys, which are made from other labels: call "
            "hide_among_decoys(labels), pass two hosts, or obfuscation='plain' to let the host read the labels"
        )
    tensors = [torch.from_numpy(h) for h in ctx.activations], [torch.from_numpy(g) for g in gradients]

    def of_labelling(k: int) -> list[F32]:
        with torch.enable_grad():
            return [_array(g) for g in others(*tensors, torch.from_numpy(ctx.ticket.rows), k)]

    return of_labelling


def exchanged(logits: Tensor, labels: Tensor, other: Tensor) -> Tensor:
    """d(mean cross entropy)/dlogits [B, C] had the rows `other` labels, and the model been as sure of those.

    For `other_gradients`: the plain loss of other labels would tell decoys by their larger gradients.
    """
    rows = torch.arange(len(labels), device=logits.device)
    gradient = torch.softmax(logits.detach(), dim=1)
    gradient[rows, labels] -= 1.0
    found = gradient.clone()
    found[rows, labels], found[rows, other] = gradient[rows, other], gradient[rows, labels]
    return found / len(labels)


class Mixing(nn.Module):
    """h = sum_i w_i * h_i with secret elementwise weights, without what the camouflage puts into secret directions.

    Weights and directions are saved with the module and never sent. The weights are trained beside the head where
    `train_coefficients` says so; give the optimizer this module's parameters then.
    """

    weights: Tensor
    blind: Tensor | None

    def __init__(self, backbone: HostedBackbone) -> None:
        super().__init__()
        drawn = make_mixing(backbone.settings, backbone.hidden_size, backbone.exchange.secret)
        weights = torch.from_numpy(drawn.weights)
        if drawn.trained:
            self.weights = nn.Parameter(weights)
        else:
            self.register_buffer("weights", weights)
        self.register_buffer("blind", None if drawn.blind is None else torch.from_numpy(drawn.blind))

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """[B, H] from the activations [B, H] of every set."""
        stacked = torch.stack(list(activations))
        if self.blind is not None:
            stacked = stacked - stacked @ self.blind.transpose(1, 2) @ self.blind
        return torch.einsum("nbh,nh->bh", stacked, self.weights)


class PrivacyRegularizer(nn.Module):
    """The penalty that keeps labels out of the activations: add it to the loss. Of the backbone's settings.

    Without it activations give the labels away, whatever is done about gradients. In training mode each call is a step:
    weights follow their schedule, and with `audit_every`, which the automatic schedule has, the last rows are attacked
    every so many steps as a host could.
    """

    def __init__(self, backbone: HostedBackbone, classes: int) -> None:
        super().__init__()
        self.settings = backbone.settings
        self.penalty = make_penalty(self.settings, classes, backbone.exchange.secret, backbone.hidden_size)
        self.watch = make_watch(self.settings, classes)
        self.steps = 0
        self._last: tuple[list[F32], F32 | None, I64] | None = None

    @property
    def needs_base(self) -> bool:
        """Whether `forward` wants h_base: use `HostedBackbone.with_base`."""
        return self.penalty.needs_base or self.watch.on

    def forward(self, activations: Sequence[Tensor], base: Tensor | None, labels: Tensor) -> Tensor:
        """A scalar, for h_i and h_base [B, H] and class labels [B]."""
        self._finish_step()
        bare, numbers = None if base is None else _array(base), _numbers(labels)
        self.penalty.prepare(bare)
        loss: Tensor = _Penalty.apply(self.penalty, bare, numbers, self.steps, *activations)
        if self.training:
            self._last = [_array(h) for h in activations], bare, numbers
        return loss

    def get_extra_state(self) -> Tensor:
        """What the penalty remembers of earlier batches: the bytes of a safetensors file."""
        self._finish_step()
        kept: dict[str, AnyArray] = {"steps": np.array([self.steps]), **self.penalty.state(), **self.watch.state()}
        return torch.frombuffer(bytearray(encode(kept)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Put back what `get_extra_state` gave."""
        arrays, _ = decode(state.cpu().numpy().tobytes())
        self.steps, self._last = int(arrays.pop("steps")[0]), None
        self.penalty.load_state(arrays)
        self.watch.load_state(arrays)

    def _finish_step(self) -> None:
        """After the backward of the last call, hence at the next: remember its batch, and look where it is time."""
        if self._last is None:
            return
        activations, base, labels = self._last
        self._last = None
        self.penalty.observe(activations, base, labels)
        self.watch.add(activations, base, labels)
        self.steps += 1
        if self.watch.due(self.steps):
            self.watch.steer(self.watch.look(self.steps, self.penalty.schedule), self.penalty.schedule)


class _Penalty(torch.autograd.Function):
    """A penalty of penalty.py, with its own gradient."""

    @staticmethod
    def forward(ctx: Any, penalty: Penalty, base: F32 | None, labels: I64, step: int, *sets: Tensor) -> Tensor:
        total, gradients = penalty.penalty([_array(h) for h in sets], base, labels, step)
        ctx.gradients = [_tensor(g, sets[0].device) for g in gradients]
        return torch.tensor(total, dtype=torch.float32, device=sets[0].device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None, *(upstream * g for g in ctx.gradients)


def _array(tensor: Tensor) -> F32:
    return np.asarray(tensor.detach().to("cpu", torch.float32).numpy())


def _numbers(tensor: Tensor) -> I64:
    return np.asarray(tensor.detach().to("cpu", torch.int64).numpy())


def _tensor(array: F32, device: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
