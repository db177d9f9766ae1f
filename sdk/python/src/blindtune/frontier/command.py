"""`blindtune frontier`: its arguments.

Owns: what the command line says. Must never: print a key.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..client import BASE_URL_VARIABLE
from ..data import read_dataset
from ..errors import BlindtuneError
from ..training.settings import SETTING_TYPES, SettingsError
from .estimate import parse_budget
from .grid import GRIDS, make_grid
from .measure import Rows, Where
from .page import write_page
from .plots import require_matplotlib
from .runner import Plan, run_frontier
from .summary import recommend, summarize
from .words import in_short, left_out_sentence, train_command

Keys = Callable[[argparse.Namespace], "list[str] | None"]


def add_command(commands: Any, common: argparse.ArgumentParser, keys: Keys) -> None:
    """Add `frontier` to the commands of `blindtune`."""
    command = commands.add_parser("frontier", parents=[common], help=frontier.__doc__)
    command.add_argument("--data", required=True, type=Path, metavar="FILE", help="labelled rows to train on")
    command.add_argument("--dev", required=True, type=Path, metavar="FILE", help="other labelled rows to measure on")
    command.add_argument("--model", required=True, help="a model of the host, see GET /v1/models")
    command.add_argument("--budget", type=_budget, default=3600.0, metavar="TIME", help="90s, 60m, 1.5h; default 60m")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="the same command continues it")
    command.add_argument("--grid", default="default", metavar="GRID", help=f"{', '.join(GRIDS)} or a JSON file")
    command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default 0")
    command.add_argument(
        "--limit", type=float, metavar="LEAK", help="largest tier 0 and 1 leak to recommend; default 0.60"
    )
    command.add_argument("--steps", type=int, metavar="N", help="steps of every point; default the grid's")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every point that has no own"
    )
    command.add_argument("--quiet", action="store_true", help="no progress")
    command.set_defaults(command=lambda options: frontier(options, keys))


def frontier(options: argparse.Namespace, keys: Keys) -> int:
    """Try many settings within a time budget; report accuracy against leak."""
    require_matplotlib()  # before an hour of work, not after
    train = read_dataset(options.data)
    dev = read_dataset(options.dev, train.label_names)
    hosts = tuple(options.host) or _host_of_environment()
    overrides = _overrides(options)
    plan = Plan(
        where=Where(options.model, hosts, tuple(keys(options) or ())),
        rows=Rows(train, dev),
        grid=make_grid(options.grid, len(hosts), overrides),
        seeds=tuple(dict.fromkeys(options.seeds)),
        budget_s=options.budget,
        out=options.out,
        limit=options.limit,
        progress=not options.quiet,
        command=shlex.join(["blindtune", "train", "--data", str(options.data), "--dev", str(options.dev)]),
    )
    report = run_frontier(plan)
    page = write_page(report, options.out)
    if options.json:
        print(report.to_json(), end="")
        return 0
    rows = summarize(report.points)
    print("\n".join(in_short(report, rows)))
    best = recommend(rows, float(report.about["limit"]))
    if best is not None:
        print(f"To train there: {train_command(best, report.about)}")
    for entry in report.left_out:
        print(f"left out: {left_out_sentence(entry)}")
    print(f"report: {page}", file=sys.stderr)
    return 0 if report.points else 1


def _host_of_environment() -> tuple[str, ...]:
    url = os.environ.get(BASE_URL_VARIABLE)
    if not url:
        raise BlindtuneError(f"no host: pass --host or set {BASE_URL_VARIABLE}")
    return (url,)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    found = dict(_assignment(text) for text in options.set)
    if options.steps is not None:
        found["steps"] = options.steps
    return found


def _assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, with the value in the type of the setting."""
    name, mark, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not mark or name not in SETTING_TYPES or name == "seed":
        raise SettingsError(f"--set {text}: NAME=VALUE with a setting of `blindtune train`, and not the seed")
    try:
        return name, SETTING_TYPES[name].read(value)
    except ValueError:
        raise SettingsError(f"--set {text}: not a value of type {SETTING_TYPES[name].name}") from None


def _budget(text: str) -> float:
    try:
        return parse_budget(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
