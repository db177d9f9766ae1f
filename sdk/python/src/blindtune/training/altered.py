"""What the label holder would send to a host that answers with activations of its own making.

Owns: the simulation of such steps. Must never: send anything, or change the run: it works on a copy of what is private,
and draws from the secret under names that no training step has.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from ..arrays import F32, I64
from ..audit import Tensors, active, combine_shares
from ..data import Dataset
from .factory import draw_labels
from .private_backprop import Plausible
from .run import Run

if TYPE_CHECKING:
    from ..private.private_model import HomeStep
    from ..private.training_labels import TrainingLabels


def altered_responses(run: Run, data: Dataset, tensors: Tensors, batches: Sequence[I64]) -> dict[str, list[F32]]:
    """By host, set and share: what would be sent for each batch. Nothing is sent, and the run stays as it is."""
    home = deepcopy(run.home)
    labels = draw_labels(data, run.about.settings, home.task, run.secret)
    found: dict[str, list[F32]] = {}
    for number, some in enumerate(batches):
        altered = active.same_for_all([h[some] for h in tensors.activations])
        base = None if tensors.base is None else tensors.base[some]
        mine = labels.take(some)
        step = home.step(altered, base, mine.targets, run.step, mine.pseudo)
        hidden = run.backprop.hide(step.activation_gradients, ("active", number), _plausible(step, mine))
        held: dict[str, list[F32]] = {}
        for i, one in enumerate(hidden):
            for j, tensor in enumerate(one.tensors):
                host = run.group.placement.host_of(i, j, run.step)
                found.setdefault(f"host{host}/set{i}.share{j}", []).append(tensor)
                held.setdefault(f"host{host}/set{i}.combined", []).append(tensor)
        for name, together in held.items():
            if len(together) > 1:
                found.setdefault(name, []).append(combine_shares(together))
    return found


def _plausible(step: HomeStep, labels: TrainingLabels) -> Plausible:
    return lambda k: step.relabelled(labels.decoys[k])
