"""`blindtune threshold`: from which probability on a label is said.

Owns: what is said of a choice. Must never: print a label beside its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .looks import Folder, loaded
from .options import Columns, Hosts
from .reading import labelled

if TYPE_CHECKING:
    from ..private.thresholds import Thresholds
    from ..training.trainer import Tuner


@dataclass(frozen=True, kw_only=True)
class Wanted(Columns):
    """What is chosen, and on which rows."""

    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="labelled rows to choose on: not trained on, and not those you report"),
    ] = None
    positive: Annotated[
        str | None, typer.Option(metavar="LABEL", help="the label; of task multilabel all, where none is named")
    ] = None
    f1: Annotated[bool, typer.Option("--f1", help="the threshold with the best F1; what is chosen by default")] = False
    recall: Annotated[
        float | None, typer.Option(help="at least this recall, with the highest precision", show_default=False)
    ] = None
    precision: Annotated[
        float | None, typer.Option(help="at least this precision, with the highest recall", show_default=False)
    ] = None
    clear: Annotated[bool, typer.Option("--clear", help="say the likeliest label again")] = False

    @property
    def chooses(self) -> list[str]:
        """The options that a choice has, as they were given."""
        given: dict[str, object] = {"data": self.data, "positive": self.positive, "f1": self.f1 or None}
        given |= {"recall": self.recall, "precision": self.precision}
        return [f"--{name}" for name, value in given.items() if value is not None]


def threshold(folder: Folder, wanted: Wanted, hosts: Hosts, talk: Talk) -> int:
    """Choose on labelled rows from which probability on a label is said, show what is chosen, or clear it."""
    _check(wanted)
    tuner = loaded(folder.run, hosts)
    if wanted.clear:
        tuner.clear_thresholds()
    found = _chosen(tuner, wanted) if wanted.data else tuner.thresholds
    if talk.as_json:
        print(json.dumps(None if found is None else found.to_dict(), indent=2, ensure_ascii=False))
    elif found is None:
        print("no threshold: the likeliest label is said, of several labels each from probability 0.5 on")
    else:
        print(found)
    return DONE


def _check(wanted: Wanted) -> None:
    if wanted.clear and wanted.chooses:
        raise ArgumentError(f"--clear and {wanted.chooses[0]}: one of them")
    if wanted.chooses and wanted.data is None:
        raise ArgumentError(f"{wanted.chooses[0]}: pass --data too, the labelled rows to choose on")
    if wanted.f1 and (wanted.recall is not None or wanted.precision is not None):
        raise ArgumentError("--f1 and a demand: one of them")


def _chosen(tuner: Tuner, wanted: Wanted) -> Thresholds:
    data = labelled(str(wanted.data), wanted, tuner.label_names, tuner.task)
    return tuner.choose_thresholds(data, positive=wanted.positive, recall=wanted.recall, precision=wanted.precision)
