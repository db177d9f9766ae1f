"""Commands whose parameters are groups of options: each a dataclass with a field for every option.

Owns: the way from a function of dataclasses to one that typer reads. Must never: know an option by its name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from .config_file import as_toml
from .failures import guarded
from .parsing import Command

Run = TypeVar("Run", bound=Callable[..., int])


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How much is said."""

    verbose: Annotated[bool, typer.Option("--verbose", help="tell about retries, recovery and hashes")] = False
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False


def add(app: typer.Typer, panel: str, name: str | None = None) -> Callable[[Run], Run]:
    """Decorate a function of option groups that gives an exit code: it becomes a command of `app`."""

    def decorate(run: Run) -> Run:
        app.command(name or run.__name__, cls=Command, rich_help_panel=panel)(as_command(run))
        return run

    return decorate


def as_command(run: Callable[..., int]) -> Callable[..., int]:
    """The function that typer reads: a keyword for each option of all groups."""
    groups = {one.name: one.annotation for one in inspect.signature(run, eval_str=True).parameters.values()}

    def command(**given: Any) -> int:
        parts = {name: group(**{one.name: given[one.name] for one in fields(group)}) for name, group in groups.items()}
        _log(bool(given.get("verbose")))
        if given.get("print_config"):
            print(as_toml(given), end="")
            return 0
        return guarded(lambda: run(**parts))

    parameters = [_parameter(one, hints[one.name]) for group in groups.values() for hints, one in _options(group)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    return command


def _options(group: Any) -> list[tuple[dict[str, Any], Field[Any]]]:
    hints = get_type_hints(group, include_extras=True)
    return [(hints, one) for one in fields(group)]


def _parameter(one: Field[Any], hint: Any) -> inspect.Parameter:
    usual = inspect.Parameter.empty if one.default is MISSING else one.default
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=usual, annotation=hint)


def _log(verbose: bool) -> None:
    import logging

    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
