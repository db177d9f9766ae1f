"""`blindtune frontier`: its options, and what is printed at its end.

Owns: what the command line says. Must never: print a key.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import DONE, FAILED, UNMET, ArgumentError
from .groups import Talk
from .options import BASE_URL_VARIABLE, Attacks, Demands, FromFile, Labelled, Where
from .reading import labelled, tell
from .train import QUICK, demanded

if TYPE_CHECKING:
    from ..frontier.point import Report
    from ..frontier.summary import Row


@dataclass(frozen=True, kw_only=True)
class Grid(Labelled):
    """What is measured, on what."""

    dev: Annotated[str, typer.Option(metavar="FILE", help="other labelled rows to measure on")]
    model: Annotated[str, typer.Option(help="a model of the host, see `blindtune models`")]
    out: Annotated[Path, typer.Option(metavar="DIR", help="the same command continues it")]
    budget: Annotated[str, typer.Option(metavar="TIME", help="90s, 60m, 1.5h")] = "60m"
    grid: Annotated[str, typer.Option(metavar="GRID", help="default, quick or a JSON file")] = "default"
    seeds: Annotated[list[int] | None, typer.Option(metavar="N...", help="default 0", show_default=False)] = None
    limit: Annotated[
        float | None, typer.Option(metavar="LEAK", help="largest tier 0 and 1 leak to recommend; default 0.60")
    ] = None
    steps: Annotated[int | None, typer.Option(metavar="N", help="steps of every point; default the grid's")] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="a setting of every point that has no own"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class How(Demands, Attacks, FromFile):
    """How it goes."""

    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False


def frontier(grid: Grid, where: Where, how: How, talk: Talk) -> int:
    """Try many settings within a time budget; report accuracy against leak."""
    from ..frontier.page import write_page
    from ..frontier.plots import require_matplotlib
    from ..frontier.runner import run_frontier
    from ..frontier.summary import summarize

    require_matplotlib()  # before an hour of work, not after
    report = run_frontier(_plan(grid, where, how))
    page = write_page(report, grid.out)
    rows = summarize(report.points)
    if talk.as_json:
        print(report.to_json(), end="")
    else:
        _print(report, rows)
        print("".join(f"{line}\n" for line in QUICK[how.effort]), end="")
        tell(f"report: {page}")
    code = concluded(report, rows, how, say=not talk.as_json)
    return code if report.points or talk.as_json or code == UNMET else FAILED


def _plan(grid: Grid, where: Where, how: How) -> Any:
    from ..audit import Effort
    from ..frontier import Plan
    from ..frontier.grid import make_grid
    from ..frontier.measure import Rows
    from ..frontier.measure import Where as On

    budget_s = _budget(grid.budget)
    train = labelled(grid.data, grid)
    dev = labelled(grid.dev, grid, train.label_names)
    hosts = tuple(where.hosts) or _host_of_environment()
    return Plan(
        where=On(grid.model, hosts, tuple(where.keys or ())),
        rows=Rows(train, dev),
        grid=make_grid(grid.grid, len(hosts), _overrides(grid)),
        seeds=tuple(dict.fromkeys(grid.seeds or (0,))),
        budget_s=budget_s,
        out=grid.out,
        limit=grid.limit,
        progress=not how.quiet,
        effort=Effort.named(how.effort),
        command=shlex.join(["blindtune", "train", "--data", grid.data, "--dev", grid.dev, *_columns(grid)]),
    )


def _columns(grid: Grid) -> list[str]:
    named = {"--text-column": grid.text_column, "--pair-column": grid.pair_column, "--label-column": grid.label_column}
    named |= {"--encoding": grid.encoding}
    return [word for option, value in named.items() if value is not None for word in (option, value)]


def _print(report: Report, rows: Sequence[Row]) -> None:
    from ..frontier.summary import recommend
    from ..frontier.words import in_short, left_out_sentence, train_command

    print("\n".join(in_short(report, rows)))
    best = recommend(rows, float(report.about["limit"]))
    if best is not None:
        print(f"To train there: {train_command(best, report.about)}")
    for entry in report.left_out:
        print(f"left out: {left_out_sentence(entry)}")


def concluded(report: Report, rows: Sequence[Row], demands: Demands, say: bool) -> int:
    """The verdict on the recommended setting, and the exit code; where there is none, no demand is met."""
    from ..frontier.summary import recommend
    from ..frontier.words import judged

    limit = float(report.about["limit"])
    best = recommend(rows, limit)
    if best is not None:
        judgement = judged(best, limit)
        if say:
            print("\n".join(judgement.lines()))
        return demanded(judgement, demands)
    if demands.require is None and demands.require_max_leak is None:
        return DONE
    tell("blindtune: no setting is recommended, so that none meets what is required")
    return UNMET


def _host_of_environment() -> tuple[str, ...]:
    url = os.environ.get(BASE_URL_VARIABLE)
    if not url:
        raise ArgumentError(f"no host: pass --host or set {BASE_URL_VARIABLE}")
    return (url,)


def _overrides(grid: Grid) -> dict[str, Any]:
    found = dict(_assignment(text) for text in grid.overrides or ())
    if grid.steps is not None:
        found["steps"] = grid.steps
    return found


def _assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, with the value in the type of the setting."""
    from ..training.settings import SETTING_TYPES

    name, mark, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not mark or name not in SETTING_TYPES or name == "seed":
        raise ArgumentError(f"--set {text}: NAME=VALUE with a setting of `blindtune train`, and not the seed")
    try:
        return name, SETTING_TYPES[name].read(value)
    except ValueError:
        raise ArgumentError(f"--set {text}: not a value of type {SETTING_TYPES[name].name}") from None


def _budget(text: str) -> float:
    from ..frontier.estimate import parse_budget

    try:
        return parse_budget(text)
    except ValueError as error:
        raise ArgumentError(f"--budget: {error}") from None
