"""The ladder side network (LST, arXiv 2206.06522): a narrow transformer that climbs a frozen backbone level by level.

    z_0 = D_0 x_0,  z_l = Block_l(g_l z_{l-1} + (1 - g_l) D_l x_l),  g_l = sigmoid(gate_l)
    logits = out(tanh(dense(norm([z of the first token; mean of z over the tokens]))))

Block_l is a pre-norm transformer block with a feed-forward layer of twice its width and GELU. A single level has one
block, on z_0.

Owns: its parameters, and the forward that PyTorch differentiates. Must never: know a host, or draw from PyTorch's
global generator: what is drawn comes from the run's secret. Needs the extra `torch`; parameters are float32 arrays in
the order of `names`, which tensors share their memory with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...arrays import F32
from ...data.taps import Taps
from ...extras import need
from ..secret import SecretStream
from .network import HEADS, Loss, Regularization, Shape
from .segments import Segments

need("torch", "torch", "side ladder")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as f  # noqa: E402

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])
Sizes = dict[str, tuple[int, ...]]


@dataclass
class Ladder:
    """`parameters` as `sizes` has them, those of levels and blocks stacked. Dropout: of residual branches and head."""

    parameters: list[F32]
    regularization: Regularization = field(default_factory=Regularization)
    kind: ClassVar[str] = "ladder"
    names: ClassVar[tuple[str, ...]] = (
        *("down.weight", "down.bias", "gate"),
        *("norm1.weight", "norm1.bias", "attention.weight", "attention.bias", "mixed.weight", "mixed.bias"),
        *("norm2.weight", "norm2.bias", "wide.weight", "wide.bias", "narrow.weight", "narrow.bias"),
        *("norm.weight", "norm.bias", "dense.weight", "dense.bias", "out.weight", "out.bias"),
    )
    _tensors: dict[str, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.parameters = [np.require(p, np.float32, ["C", "W"]) for p in self.parameters]
        tensors = (torch.from_numpy(p).requires_grad_() for p in self.parameters)
        self._tensors = dict(zip(self.names, tensors, strict=True))

    @classmethod
    def fresh(cls, shape: Shape, secret: SecretStream, regularization: Regularization) -> Ladder:
        """Weights with the deviation of PyTorch's linear layers, (3 inputs)^-1/2; biases and gates zero, norms one."""

        def drawn(name: str, size: tuple[int, ...]) -> F32:
            if name.startswith("norm") and name.endswith("weight"):
                return np.ones(size, np.float32)
            if not name.endswith("weight"):
                return np.zeros(size, np.float32)
            return np.asarray(secret.normal(size, "ladder", name) * (3.0 * size[-1]) ** -0.5, dtype=np.float32)

        return cls([drawn(name, size) for name, size in sizes(shape).items()], regularization)

    @classmethod
    def of(cls, parameters: list[F32]) -> Ladder:
        """With these parameters, to predict."""
        return cls(parameters)

    def outputs(self, taps: Taps) -> F32:
        """Logits [B, O]."""
        with _own_threads(), torch.no_grad():
            return np.asarray(self._logits(taps, _Dropout(0.0)).numpy())

    def loss_and_gradients(self, taps: Taps, loss: Loss, generator: np.random.Generator) -> tuple[float, list[F32]]:
        """With noise and dropout from `generator`."""
        dropout = _Dropout(self.regularization.dropout, int(generator.integers(2**63)))
        weights = list(self._tensors.values())
        with _own_threads(), torch.enable_grad():
            logits = self._logits(self.regularization.noisy(taps, generator), dropout)
            found, gradient = loss(logits.detach().numpy())
            gradients = torch.autograd.grad(logits, weights, torch.from_numpy(gradient), materialize_grads=True)
        return found, [np.asarray(g.numpy()) for g in gradients]

    def _logits(self, taps: Taps, dropout: _Dropout) -> Tensor:
        weights, texts = self._tensors, _Texts.of(taps)
        levels = [torch.from_numpy(np.require(level, np.float32, ["C", "W"])) for level in taps.levels]
        down = [
            f.linear(x, weight, bias)
            for x, weight, bias in zip(levels, weights["down.weight"], weights["down.bias"], strict=True)
        ]
        blocks = list(_blocks(weights))
        z, *above = down
        if not above:
            z = _block(z, blocks[0], texts, dropout)
        for x, gate, block in zip(above, torch.sigmoid(weights["gate"]), blocks, strict=bool(above)):
            z = _block(gate * z + (1.0 - gate) * x, block, texts, dropout)
        return self._head(z, texts, dropout)

    def _head(self, z: Tensor, texts: _Texts, dropout: _Dropout) -> Tensor:
        """[T, m] to logits [B, O]."""
        w = self._tensors
        summary = torch.cat([z.index_select(0, texts.first), texts.mean(z)], dim=1)
        summary = f.layer_norm(summary, summary.shape[1:], w["norm.weight"], w["norm.bias"])
        hidden = torch.tanh(f.linear(dropout(summary), w["dense.weight"], w["dense.bias"]))
        return f.linear(dropout(hidden), w["out.weight"], w["out.bias"])


@contextmanager
def _own_threads() -> Iterator[None]:
    """As many as OMP_NUM_THREADS says, else one.

    A step is small, and threads that wait for each other on a busy machine, as it is beside a host, take 2.2 s for what
    one does in 0.16. One number of threads also gives one result, to the last bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sizes(shape: Shape) -> Sizes:
    """The size of every parameter, in the order of `Ladder.names`."""
    levels, d, m = shape.levels, shape.features, shape.width
    blocks = max(1, levels - 1)

    def layer(name: str, *size: int, rows: tuple[int, ...] = ()) -> Sizes:
        return {f"{name}.weight": (*rows, *size), f"{name}.bias": (*rows, size[0])}

    return {
        **layer("down", m, d, rows=(levels,)),
        "gate": (levels - 1,),
        **layer("norm1", m, rows=(blocks,)),
        **layer("attention", 3 * m, m, rows=(blocks,)),
        **layer("mixed", m, m, rows=(blocks,)),
        **layer("norm2", m, rows=(blocks,)),
        **layer("wide", 2 * m, m, rows=(blocks,)),
        **layer("narrow", m, 2 * m, rows=(blocks,)),
        **layer("norm", 2 * m),
        **layer("dense", 2 * m, 2 * m),
        **layer("out", shape.outputs, 2 * m),
    }


OF_BLOCKS = ("norm1", "attention", "mixed", "norm2", "wide", "narrow")
"""The layers of a block, in their order."""
Layer = tuple[Tensor, Tensor]
"""Weight and bias."""


def _blocks(weights: dict[str, Tensor]) -> Iterator[dict[str, Layer]]:
    """The layers of each block by name."""
    columns = [zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True) for name in OF_BLOCKS]
    for layers in zip(*columns, strict=True):
        yield dict(zip(OF_BLOCKS, layers, strict=True))


def _block(z: Tensor, layers: dict[str, Layer], texts: _Texts, dropout: _Dropout) -> Tensor:
    """A pre-norm transformer block on tokens [T, m]; each text attends to itself alone."""
    normed = f.layer_norm(z, z.shape[1:], *layers["norm1"])
    mixed = texts.attend(f.linear(normed, *layers["attention"]))
    z = z + dropout(f.linear(mixed, *layers["mixed"]))
    normed = f.layer_norm(z, z.shape[1:], *layers["norm2"])
    wide = f.gelu(f.linear(normed, *layers["wide"]))
    return z + dropout(f.linear(wide, *layers["narrow"]))


@dataclass(frozen=True)
class _Texts:
    """Where the tokens of B packed texts lie, and where each goes when they are padded: attention alone pads."""

    first: Tensor
    lengths: Tensor
    owner: Tensor
    places: Tensor
    mask: Tensor

    @classmethod
    def of(cls, taps: Taps) -> _Texts:
        texts = Segments.of(taps)
        longest = int(texts.lengths.max(initial=1))
        place = np.arange(len(texts.owner)) - texts.starts[texts.owner] + texts.owner * longest
        mask = np.arange(longest) < texts.lengths[:, None]
        arrays = (texts.starts, texts.lengths, texts.owner, place, mask)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def mean(self, z: Tensor) -> Tensor:
        """[T, m] to [B, m]."""
        total = z.new_zeros(len(self.lengths), z.shape[1]).index_add(0, self.owner, z)
        return total / self.lengths[:, None].to(z.dtype)

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values [T, 3 m] to what each token hears of its text's tokens, [T, m]."""
        rows, longest = self.mask.shape
        padded = qkv.new_zeros(rows * longest, qkv.shape[1]).index_copy(0, self.places, qkv)
        q, k, v = padded.view(rows, longest, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        heard = f.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:, None, None, :])
        return heard.transpose(1, 2).reshape(rows * longest, -1).index_select(0, self.places)


class _Dropout:
    """Dropout with masks from a generator of its own; with a share of 0 nothing is dropped or drawn."""

    def __init__(self, share: float, seed: int = 0) -> None:
        self.share = share
        self.generator = torch.Generator("cpu").manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        if self.share == 0:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device="cpu", dtype=torch.float32) >= self.share
        return x * kept / (1.0 - self.share)
