"""A run's temperature: fitted on rows with labels, and kept in its folder.

Owns: that no threshold outlives the probabilities it was chosen for. Must never: send anything: `chosen` asks for the
rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ..private.predicting import Predicting
from ..private.temperature import Temperature, TemperatureError, check_fits, fit
from . import chosen
from .chosen import OF_OTHER_PROBABILITIES, TEMPERATURE, THRESHOLDS, ChoiceRows
from .run_folder import RunFolder

X = TypeVar("X")


def fitted(rows: ChoiceRows[X], model: Predicting[X]) -> Temperature:
    """That of the model on these rows, whatever was in use before."""
    check_fits(model.task.kind, len(rows.data))
    outputs = model.outputs(rows.read(model, TemperatureError))
    return replace(fit(model.task.kind, outputs, rows.truth), data_sha256=rows.data.sha256())


def kept(folder: RunFolder) -> Temperature | None:
    """What a folder has, whether or not it is of the model as it is now."""
    body = chosen.kept(folder, TEMPERATURE)
    return None if body is None else Temperature.from_dict(body)


def keep(folder: RunFolder, found: Temperature, model: Predicting[Any]) -> Temperature:
    """Use it from now on. Thresholds go first: a process that is killed between leaves none that is wrong."""
    chosen.drop(folder, THRESHOLDS, OF_OTHER_PROBABILITIES)
    chosen.keep(folder, TEMPERATURE, found.to_dict(), model)
    return found


def in_use(folder: RunFolder, model: Predicting[Any]) -> Temperature | None:
    """That of the model as it is; refused where it is of an earlier one, since it says nothing of this one."""
    body = chosen.in_use(folder, TEMPERATURE, model)
    return None if body is None else Temperature.from_dict(body)


def clear(folder: RunFolder) -> None:
    """Probabilities as the model gives them; thresholds that were chosen for others are dropped."""
    if chosen.kept(folder, TEMPERATURE) is not None:
        chosen.drop(folder, THRESHOLDS, OF_OTHER_PROBABILITIES)
        chosen.clear(folder, TEMPERATURE)
