"""A run's thresholds: chosen on rows with labels, kept in its folder, and in use until the model changes or they are
cleared.

Owns: `thresholds.json` of a run folder. Must never: send anything that `evaluate` would not: the texts of the rows are
asked for whatever their labels are, and whatever comes of the choice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ..arrays import AnyArray, sha256
from ..data import Dataset, Text
from ..errors import RunError
from ..private.predicting import Predicting
from ..private.thresholds import Demand, ThresholdError, Thresholds, choose, columns, listed
from .run_folder import RunFolder

log = logging.getLogger("blindtune")

FILE = "thresholds.json"
STALE = "the threshold in {} was chosen before the run was trained further: choose it again, or clear it"
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

    def on(
        self,
        dev: Dataset,
        model: Predicting[X],
        inputs: Callable[[Sequence[Text]], X],
        trained_on: Sequence[str | None] = (),
    ) -> Thresholds:
        """Choose on `dev`; `trained_on` are hashes of rows that say nothing of fresh ones.

        What is wrong is said before texts are asked for, but for what follows from the labels of the rows, or a host
        would learn it: that none has the label, that no threshold is good enough, that these are the training's rows.
        """
        wanted = columns(model.task.kind, self.names, self.positive)
        model.checked(dev)
        if dev.label_names != self.names:
            told = f"the rows have the labels {listed(dev.label_names)}, the run {listed(self.names)}"
            raise ThresholdError(f"{told}: read the data with label_names=tuner.label_names")
        probabilities = model.probabilities(inputs(dev.texts))
        if dev.sha256() in trained_on:
            raise ThresholdError("the run was trained on these rows: choose on others, which it has not seen")
        truth: AnyArray = np.eye(dev.classes)[dev.labels] if dev.sets is None else dev.sets
        found = choose(probabilities, truth, wanted, self.demand)
        return Thresholds(model.task.kind, tuple(replace(one, data_sha256=dev.sha256()) for one in found))


def kept(folder: RunFolder) -> Thresholds | None:
    """What a folder has, whether or not it is of the model as it is now."""
    body = folder.read_json(FILE)
    return None if body is None else Thresholds.from_dict(body)


def keep(folder: RunFolder, chosen: Thresholds, model: Predicting[Any]) -> Thresholds:
    """Use them from now on; of several labels those of the others stay, where they are of the model as it is."""
    body = folder.read_json(FILE)
    if body is not None and body["model_sha256"] == _state(model):
        before = Thresholds.from_dict(body)
        chosen = before.also(chosen) if chosen.task == "multilabel" else chosen
    folder.write_json(FILE, {"model_sha256": _state(model), **chosen.to_dict()})
    return chosen


def in_use(folder: RunFolder, model: Predicting[Any]) -> Thresholds | None:
    """Those of the model as it is; refused where they are of an earlier one, since they say nothing of this one."""
    body = folder.read_json(FILE)
    if body is not None and body["model_sha256"] != _state(model):
        raise RunError(STALE.format(folder.path / FILE))
    return kept(folder)


def exported(folder: RunFolder, model: Predicting[Any]) -> dict[str, Any]:
    """What an export's private part has of them."""
    in_use(folder, model)
    body = folder.read_json(FILE)
    return {} if body is None else {"thresholds": body}


def adopt(folder: RunFolder, private: Mapping[str, Any]) -> None:
    """Take up what `exported` gave."""
    if "thresholds" in private:
        folder.write_json(FILE, private["thresholds"])


def copy(folder: RunFolder, target: RunFolder) -> None:
    """With the model into another folder."""
    body = folder.read_json(FILE)
    if body is not None:
        target.write_json(FILE, body)


def clear(folder: RunFolder) -> bool:
    """Say the likeliest label again; whether there were any."""
    there = (folder.path / FILE).exists()
    (folder.path / FILE).unlink(missing_ok=True)
    return there


def drop_stale(folder: RunFolder, model: Predicting[Any] | None) -> None:
    """Clear those of an earlier model, or all where there is None, and warn."""
    body = folder.read_json(FILE)
    if body is not None and (model is None or body["model_sha256"] != _state(model)):
        clear(folder)
        what = " and ".join(one["label"] for one in body["thresholds"])
        log.warning(
            "the threshold of %s was chosen for another state of the run, and is dropped: choose it again", what
        )


def _state(model: Predicting[Any]) -> str:
    """Names what was learned at home; whatever else was trained, that was as well."""
    parameters = model.parameters
    return sha256([parameters[name] for name in sorted(parameters)])
