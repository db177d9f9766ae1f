"""A run's thresholds: chosen on rows with labels, and kept in its folder.

Owns: what of `thresholds.json` stays when some are chosen anew. Must never: send anything: `chosen` asks for the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..private.predicting import Predicting
from ..private.thresholds import Demand, ThresholdError, Thresholds, choose, columns
from . import chosen
from .chosen import THRESHOLDS, ChoiceRows
from .run_folder import RunFolder

X = TypeVar("X")


@dataclass(frozen=True)
class Choice:
    """What is chosen: for `positive` or, of several labels, each. `names` are the run's labels, in its order."""

    names: tuple[str, ...]
    positive: str | None
    demand: Demand

    @classmethod
    def of(
        cls, names: Sequence[str], positive: str | None, recall: float | None = None, precision: float | None = None
    ) -> Choice:
        """By the best F1, or with one of the rates at least so high."""
        return cls(tuple(names), positive, Demand(recall, precision))

    def on(self, rows: ChoiceRows[X], model: Predicting[X]) -> Thresholds:
        """Choose on these rows.

        That none has the label, or that no threshold is good enough, follows from labels: it is said after the texts
        were asked for.
        """
        wanted = columns(model.task.kind, self.names, self.positive)
        probabilities = model.probabilities(rows.read(model, ThresholdError))
        found = choose(probabilities, rows.truth, wanted, self.demand)
        return Thresholds(model.task.kind, tuple(replace(one, data_sha256=rows.data.sha256()) for one in found))


def kept(folder: RunFolder) -> Thresholds | None:
    """What a folder has, whether or not it is of the model as it is now."""
    body = chosen.kept(folder, THRESHOLDS)
    return None if body is None else Thresholds.from_dict(body)


def keep(folder: RunFolder, found: Thresholds, model: Predicting[Any]) -> Thresholds:
    """Use them from now on; of several labels those of the others stay, where they are of the model as it is."""
    before = chosen.of_this_state(folder, THRESHOLDS, model)
    if before is not None and found.task == "multilabel":
        found = Thresholds.from_dict(before).also(found)
    chosen.keep(folder, THRESHOLDS, found.to_dict(), model)
    return found


def in_use(folder: RunFolder, model: Predicting[Any]) -> Thresholds | None:
    """Those of the model as it is; refused where they are of an earlier one, since they say nothing of this one."""
    body = chosen.in_use(folder, THRESHOLDS, model)
    return None if body is None else Thresholds.from_dict(body)
