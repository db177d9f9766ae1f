"""The commands of `blindtune`, and `main`.

Owns: which commands there are. Must never: load what only one command needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from .._version import __version__
from .account import models, usage, whoami
from .board import board
from .calibrate import calibrate
from .card import card
from .doctor import doctor
from .failures import WRONG, ArgumentError
from .features import clear, estimate
from .frontier import frontier
from .gateway import gateway
from .groups import add
from .jobs import cancel_jobs, list_jobs, resume_jobs, show_job
from .ledger import show_ledger, verify
from .looks import audit, evaluate, status
from .parsing import Commands
from .predict import predict
from .threshold import threshold
from .train import train

RUNS, HOST = "Runs", "Hosts"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = commands().main(args=words or ["--help"], prog_name="blindtune", standalone_mode=False)
    except ArgumentError as error:
        print(f"blindtune: {error}", file=sys.stderr)
        return WRONG
    except typer.TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "blindtune")
        print(f"blindtune: {error.format_message().rstrip('.').lower()}; see `{path} --help`", file=sys.stderr)
        return WRONG
    return WRONG if not words else int(code or 0)


@cache
def commands() -> Any:
    """All commands, as typer reads them."""
    made = typer.Typer(name="blindtune", cls=Commands, help="Fine-tune without sending a label.")
    made.callback()(_every)
    runs: list[Callable[..., int]] = [train, status, board, evaluate, audit, predict, threshold, calibrate, card]
    for run in [*runs, frontier]:
        add(made, RUNS)(run)
    features = typer.Typer(cls=Commands, help="The hidden states that method side reads.")
    add(features, RUNS)(estimate)
    add(features, RUNS)(clear)
    made.add_typer(features, name="features", rich_help_panel=RUNS)
    ledger = typer.Typer(
        cls=Commands, help="What hosts list of what they were sent: compare it with a run, or show it."
    )
    add(ledger, RUNS)(verify)
    add(ledger, RUNS, "show")(show_ledger)
    made.add_typer(ledger, name="ledger", rich_help_panel=RUNS)
    jobs = typer.Typer(cls=Commands, help="The project's jobs on the hosts: list, show, cancel, resume.")
    named: dict[str, Callable[..., int]] = {"list": list_jobs, "show": show_job, "cancel": cancel_jobs}
    for name, run in (named | {"resume": resume_jobs}).items():
        add(jobs, HOST, name)(run)
    made.add_typer(jobs, name="jobs", rich_help_panel=HOST)
    asks: list[Callable[..., int]] = [models, usage, whoami, doctor, gateway]
    for run in asks:
        add(made, HOST)(run)
    return typer.main.get_command(made)


def _version(asked: bool) -> None:
    if asked:
        print(f"blindtune {__version__}")
        raise typer.Exit()


def _every(
    _version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune without sending a label."""
