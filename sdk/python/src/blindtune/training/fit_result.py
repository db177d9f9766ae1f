"""What a fit gives back.

Owns: that value. Must never: be made of anything but sums over the run's own records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import sha256
from ..plots.training import training_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .run import Run


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Bytes are bodies of requests and answers of the training steps; the hash names the final adapters.
    """

    steps: int
    loss: float
    accuracy: float
    seconds: float
    bytes_up: int
    bytes_down: int
    retries: int
    adapter_sha256: str
    norm_ratio: float
    """The smallest set's mean |h| at the end over the backbone's; below 0.6 the activations may leak."""
    best_step: int | None = None
    """After which step the state that predicts was learned, where `eval_every` chose it."""
    stopped: bool = False
    """Whether `patience` ended the training before its last step."""
    truncated: int | None = 0
    """Texts that lost their end on a host, counted in each step that read them; `None` where a host does not say."""
    dev_scores: dict[str, float] | None = None
    """The scores on the dev rows of what predicts."""
    history: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    """The run's records, one a step, or of method side one an epoch: what `plot` draws."""
    dev: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    """Scores on the dev rows by step, of method side by epoch, where a run was evaluated on some while training."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the records are in the run folder."""
        plain = asdict(replace(self, history=(), dev=()))
        return {name: value for name, value in plain.items() if name not in ("history", "dev")}

    def plot(self) -> Figure:
        """The loss by step or epoch, and the scores on the dev set where there is one. Needs the extra `plot`."""
        return training_plot(self.history, self.dev)


def result_of(run: Run, steps: Sequence[Mapping[str, Any]], seconds: float) -> FitResult:
    """What a run came to by its recorded steps."""
    recent = steps[-20:]
    norms = zip(recent[-1]["h_norms"], run.start_norms, strict=True)
    return FitResult(
        steps=run.step,
        loss=float(np.mean([r["loss"] for r in recent])),
        accuracy=float(np.mean([r["accuracy"] for r in recent])),
        seconds=seconds,
        bytes_up=sum(r["bytes_up"] for r in steps),
        bytes_down=sum(r["bytes_down"] for r in steps),
        retries=sum(r["retries"] for r in steps),
        adapter_sha256=sha256(run.thetas),
        norm_ratio=min(now / start for now, start in norms),
        best_step=None if run.best is None else run.best.step,
        stopped=run.stopped,
        truncated=_sum([record.get("truncated") for record in steps]),
        history=tuple(steps),
        dev=tuple(run.folder.dev()),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
