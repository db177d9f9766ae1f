"""`blindtune calibrate`: how sure a run is of what it says.

Owns: what is said of a temperature. Must never: print a label beside its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .looks import Folder, loaded
from .options import Columns, Hosts
from .reading import labelled


@dataclass(frozen=True, kw_only=True)
class Calibrated(Columns):
    """Whether a temperature is fitted, and on which rows."""

    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="labelled rows to fit on: not trained on, and not those you report"),
    ] = None
    clear: Annotated[bool, typer.Option("--clear", help="take probabilities as the model gives them again")] = False


def calibrate(folder: Folder, wanted: Calibrated, hosts: Hosts, talk: Talk) -> int:
    """Fit on labelled rows how sure the run is of what it says, show what is in use, or clear it."""
    if wanted.clear and wanted.data is not None:
        raise ArgumentError("--clear and --data: one of them")
    tuner = loaded(folder.run, hosts)
    if wanted.clear:
        tuner.clear_temperature()
    if wanted.data is not None:
        tuner.calibrate(labelled(wanted.data, wanted, tuner.label_names, tuner.task))
    found = tuner.temperature
    if talk.as_json:
        print(json.dumps(None if found is None else found.to_dict(), indent=2))
    else:
        print(found or "no temperature: probabilities are as the model gives them")
    return DONE
