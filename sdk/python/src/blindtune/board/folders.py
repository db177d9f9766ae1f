"""Which folders are runs and frontiers, and what the board calls them.

Owns: the walk through a folder, and the names. Must never: make a path of a name; a name is looked up among those that
were found, so that none leads out of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..training.run_folder import ABOUT

FRONTIER = "frontier.json"
DEPTH = 3
"""Levels below the folder in which runs are looked for."""
MOST = 2000
"""Folders that are looked at."""
BEGUN = ("lock", "secret", "steps.jsonl", "state.safetensors", "report.json")
"""Files of a run folder: one that has some of them, but no `run.json`, is named as what it is."""

Kind = Literal["run", "frontier", "empty"]


@dataclass(frozen=True)
class Found:
    """One folder, by the name that the page has for it."""

    name: str
    kind: Kind
    path: Path


def find(root: Path) -> list[Found]:
    """Everything below `root` that the board shows, and `root` itself where it is a run; in the order of names."""
    looked: list[Path] = []
    found = [Found(_name(root, path), kind, path) for kind, path in _walk(root, DEPTH, looked)]
    return [one for one in found if one.path != root or one.kind != "empty" or _begun(root)]


def point_of(run: Path) -> Path | None:
    """What a frontier wrote about the point that this run was trained for, where it is one."""
    result = run.parent / "result.json"
    return result if run.name == "run" and run.parent.parent.name == "points" and result.is_file() else None


def _walk(place: Path, depth: int, looked: list[Path]) -> Iterator[tuple[Kind, Path]]:
    looked.append(place)
    if len(looked) > MOST:
        return
    inside = _folders(place)
    if (place / ABOUT).exists():
        yield "run", place
        yield from (("run", one) for one in inside if (one / ABOUT).exists())  # the candidates of method auto
    elif (place / FRONTIER).exists() or ((place / "plan.json").exists() and (place / "points").is_dir()):
        if (place / FRONTIER).exists():
            yield "frontier", place
        points = (one / "run" for one in _folders(place / "points"))
        yield from (("run", one) for one in points if (one / ABOUT).exists())
    elif _is_empty(place, inside):
        yield "empty", place
    elif depth:
        for one in inside:
            yield from _walk(one, depth - 1, looked)


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(one for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _begun(place: Path) -> bool:
    return any((place / name).exists() for name in BEGUN)


def _is_empty(place: Path, inside: list[Path]) -> bool:
    """Whether a training was begun here, or is about to, of which nothing can be told."""
    if _begun(place):
        return True
    try:
        return not inside and next(place.iterdir(), None) is None
    except OSError:
        return False


def _name(root: Path, path: Path) -> str:
    """As it lies below `root`; of a frontier's runs without what is the same for all."""
    parts = path.relative_to(root).parts
    if parts[-3:-2] == ("points",) and parts[-1] == "run":
        parts = (*parts[:-3], parts[-2])
    shown = "/".join(parts) or path.resolve().name
    return os.fsencode(shown).decode("utf-8", "replace")
