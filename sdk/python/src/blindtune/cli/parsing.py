"""Arguments on their way to typer: files of options, options with several words, and names that there are not.

Owns: `--config`, and what is said of an unknown option. Must never: let a file win over the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .failures import ArgumentError

SEVERAL_WORDS = ("--target-modules", "--seeds")
"""Options that take all words up to the next option."""
KNOWN_ELSEWHERE = {
    "learning-rate": "lr",
    "learning-rate-multiplier": "lr",
    "n-epochs": "epochs",
    "num-epochs": "epochs",
    "num-train-epochs": "epochs",
    "max-steps": "steps",
    "per-device-train-batch-size": "batch-size",
    "warmup-steps": "warmup",
    "lora-r": "rank",
    "lora-rank": "rank",
    "lora-alpha": "alpha",
    "lora-dropout": "dropout",
    "output-dir": "run",
    "train-file": "data",
    "training-file": "data",
    "validation-file": "dev",
    "eval-file": "dev",
    "url": "host",
    "base-url": "host",
    "key": "api-key",
    "text-field": "text-column",
    "label-field": "label-column",
    "target": "label-column",
    "file": "data",
    "output": "out",
    "input": "data",
}
"""Names that other tools have for the same, and ours."""


class Command(TyperCommand):
    """One command: its options, also from a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does it, of words that it can read."""
        words = one_by_one(args)
        if not ctx.resilient_parsing and "--help" not in words:
            words = [*configured(self, words), *words]
        try:
            return super().parse_args(ctx, words)
        except typer.TyperException as error:
            raise ArgumentError(_in_words(error, self, ctx.command_path)) from None


class Commands(TyperGroup):
    """The commands of a group; a misspelt one is told the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer does it, in our words."""
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as error:
            if not args or args[0].startswith("-"):
                raise ArgumentError(f"{error.format_message()} See `{ctx.command_path} --help`") from None
            raise ArgumentError(_no_such(args[0], list(self.commands), ctx.command_path)) from None


def _no_such(name: str, known: list[str], path: str) -> str:
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean `{path} {near[0]}`?" if near else f"; there are {', '.join(known)}"
    return f"there is no command `{path} {name}`{meant}"


def one_by_one(words: Iterable[str]) -> list[str]:
    """`--seeds 0 1` as `--seeds 0 --seeds 1`."""
    found: list[str] = []
    current: str | None = None
    first = False
    for word in words:
        if word.startswith("--"):
            current, first = (word if word in SEVERAL_WORDS else None), True
            found.append(word)
        elif current is not None and not first:
            found += [current, word]
        else:
            found.append(word)
            first = False
    return found


def options_of(command: Any) -> dict[str, Any]:
    """Every option of a command by its name without dashes before it."""
    return {opt.removeprefix("--"): one for one in command.params for opt in one.opts if opt.startswith("--")}


def configured(command: Any, words: Sequence[str]) -> list[str]:
    """The words of the file that `--config` names, but for options that the command line has."""
    place = _value_of("--config", words)
    if place is None:
        return []
    known, given = options_of(command), {word.partition("=")[0] for word in words}
    found: list[str] = []
    for name, value in _read(Path(place)).items():
        plain = name.replace("_", "-")
        if plain not in known or plain in ("config", "print-config", "help"):
            raise ArgumentError(f"{place}: there is no option {name!r}{_nearest(plain, known)}")
        if f"--{plain}" not in given:
            found += _words(plain, value, place)
    return found


def _read(place: Path) -> Mapping[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        body: dict[str, Any] = tomllib.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArgumentError(f"--config: there is no file {place}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{place}: not TOML ({error})") from None
    except OSError as error:
        raise ArgumentError(f"--config: {place}: {error.strerror}") from None
    return body


def _words(name: str, value: Any, place: str) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, list):
        if name == "class-weights":
            return [f"--{name}={','.join(map(str, value))}"]
        return [f"--{name}={one}" for one in value]
    if isinstance(value, Mapping):
        raise ArgumentError(f"{place}: [{name}] is a table; write option = value, with no table around")
    return [f"--{name}={value}"]


def _value_of(option: str, words: Sequence[str]) -> str | None:
    for k, word in enumerate(words):
        if word == option and k + 1 < len(words):
            return words[k + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _in_words(error: typer.TyperException, command: Any, path: str) -> str:
    name = getattr(error, "option_name", None)
    if name and "o such option" in error.format_message():
        plain = str(name).lstrip("-")
        return f"there is no option {name} of `{path}`{_nearest(plain, options_of(command))}"
    said = error.format_message().rstrip(".").replace("Value error, ", "")
    return f"{said[:1].lower()}{said[1:]}; see `{path} --help`"


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    elsewhere = KNOWN_ELSEWHERE.get(name.replace("_", "-"))
    near = [elsewhere] if elsewhere in known else get_close_matches(name, list(known), n=1)
    return f"; did you mean --{near[0]}?" if near and near[0] else "; see --help for all"
