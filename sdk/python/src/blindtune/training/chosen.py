"""What was chosen at home on rows with labels, by its file's name: in use until the model changes or it is cleared.

Owns: those files of a run folder, `thresholds.json` and `temperature.json`. Must never: send anything that `evaluate`
would not: the texts of the rows are asked for whatever their labels are, and whatever comes of the choice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ..arrays import AnyArray, sha256
from ..data import Dataset, Text
from ..data.dataset import listed
from ..errors import RunError
from ..private.predicting import Predicting
from .run_folder import RunFolder

log = logging.getLogger("blindtune")

THRESHOLDS, TEMPERATURE = "thresholds", "temperature"
STALE = "{} in {} was chosen before the run was trained further: choose it again, or clear it"
OF_ANOTHER_STATE = "chosen for another state of the run"
OF_OTHER_PROBABILITIES = "chosen for other probabilities"
X = TypeVar("X")


@dataclass(frozen=True)
class ChoiceRows(Generic[X]):
    """Rows to choose on, and how their inputs are asked for. `names` are the run's labels, in its order."""

    data: Dataset
    inputs: Callable[[Sequence[Text]], X]
    names: tuple[str, ...]
    trained_on: Sequence[str | None] = ()
    """Hashes of rows that say nothing of fresh ones."""

    def read(self, model: Predicting[X], refused: type[RunError]) -> X:
        """What the model reads of the rows.

        What is wrong is said before texts are asked for, but for what follows from the labels of the rows, or a host
        would learn it: that these are the training's rows, which is known by their labels too.
        """
        model.checked(self.data)
        if self.data.label_names != self.names:
            told = f"the rows have the labels {listed(self.data.label_names)}, the run {listed(self.names)}"
            raise refused(f"{told}: read the data with label_names=tuner.label_names")
        found = self.inputs(self.data.texts)
        if self.data.sha256() in self.trained_on:
            raise refused("the run was trained on these rows: choose on others, which it has not seen")
        return found

    @property
    def truth(self) -> AnyArray:
        """[N, C] of 0 and 1."""
        data = self.data
        return np.eye(data.classes)[data.labels] if data.sets is None else data.sets


def kept(folder: RunFolder, what: str) -> dict[str, Any] | None:
    """What a folder has, whether or not it is of the model as it is now."""
    return _without_state(folder.read_json(_file(what)))


def of_this_state(folder: RunFolder, what: str, model: Predicting[Any]) -> dict[str, Any] | None:
    """What a folder has, where it is of the model as it is now."""
    body = folder.read_json(_file(what))
    return None if _stale(body, model) else _without_state(body)


def keep(folder: RunFolder, what: str, body: Mapping[str, Any], model: Predicting[Any]) -> None:
    """Use it from now on."""
    folder.write_json(_file(what), {"model_sha256": _state(model), **body})


def in_use(folder: RunFolder, what: str, model: Predicting[Any]) -> dict[str, Any] | None:
    """That of the model as it is; refused where it is of an earlier one, since it says nothing of this one."""
    body = folder.read_json(_file(what))
    if _stale(body, model):
        raise RunError(STALE.format(f"the {what.removesuffix('s')}", folder.path / _file(what)))
    return _without_state(body)


def exported(folder: RunFolder, model: Predicting[Any]) -> dict[str, Any]:
    """What an export's private part has of all that was chosen."""
    for what in (THRESHOLDS, TEMPERATURE):
        in_use(folder, what, model)
    return dict(_all(folder))


def adopt(folder: RunFolder, private: Mapping[str, Any]) -> None:
    """Take up what `exported` gave."""
    for what in (THRESHOLDS, TEMPERATURE):
        if what in private:
            folder.write_json(_file(what), private[what])


def copy(folder: RunFolder, target: RunFolder) -> None:
    """With the model into another folder."""
    adopt(target, _all(folder))


def clear(folder: RunFolder, what: str) -> bool:
    """Be without it; whether it was there."""
    path = folder.path / _file(what)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def drop(folder: RunFolder, what: str, why: str) -> None:
    """Clear what is there, and warn."""
    body = kept(folder, what)
    if body is not None and clear(folder, what):
        log.warning("%s was %s, and is dropped: choose it again", _named(what, body), why)


def drop_stale(folder: RunFolder, model: Predicting[Any] | None) -> None:
    """Clear what is of an earlier model, or all where there is None, and warn."""
    for what, body in _all(folder).items():
        if model is None or _stale(body, model):
            drop(folder, what, OF_ANOTHER_STATE)


def _file(what: str) -> str:
    return f"{what}.json"


def _all(folder: RunFolder) -> dict[str, dict[str, Any]]:
    found = {what: folder.read_json(_file(what)) for what in (THRESHOLDS, TEMPERATURE)}
    return {what: body for what, body in found.items() if body is not None}


def _named(what: str, body: Mapping[str, Any]) -> str:
    if what == TEMPERATURE:
        return f"the temperature {body['value']:.4g}"
    return f"the threshold of {' and '.join(one['label'] for one in body['thresholds'])}"


def _without_state(body: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if body is None else {name: value for name, value in body.items() if name != "model_sha256"}


def _stale(body: Mapping[str, Any] | None, model: Predicting[Any]) -> bool:
    return body is not None and body["model_sha256"] != _state(model)


def _state(model: Predicting[Any]) -> str:
    """Names what was learned at home; whatever else was trained, that was as well."""
    parameters = model.parameters
    return sha256([parameters[name] for name in sorted(parameters)])
