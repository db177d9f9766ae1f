"""Options that several commands have.

Owns: their names and help. Must never: hold a value of an environment variable; a key may be in one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

BASE_URL_VARIABLE = "BLINDTUNE_BASE_URL"
API_KEY_VARIABLE = "BLINDTUNE_API_KEY"
FOLDER_VARIABLE = "BLINDTUNE_FEATURES"
"""The names of `client` and `features`, without loading either for `--help`; a test compares them."""

COLUMNS = "Columns and files"


@dataclass(frozen=True, kw_only=True)
class Where:
    """Hosts and keys."""

    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="URL", help=f"may be repeated; else {BASE_URL_VARIABLE}", show_default=False),
    ] = None
    api_key: Annotated[
        list[str] | None,
        typer.Option("--api-key", metavar="KEY", help=f"one a host; else {API_KEY_VARIABLE}", show_default=False),
    ] = None

    @property
    def hosts(self) -> list[str]:
        """The hosts that were named."""
        return list(self.host or ())

    @property
    def keys(self) -> list[str] | None:
        """The keys that were named, or those of the environment, with commas between them."""
        if self.api_key:
            return list(self.api_key)
        found = os.environ.get(API_KEY_VARIABLE, "")
        return [key.strip() for key in found.split(",") if key.strip()] or None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Where method side keeps hidden states."""

    features: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help=f"where method side keeps hidden states; else {FOLDER_VARIABLE}", show_default=False
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What stands where in a file."""

    text_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="column of the text; else text, sentence or GLUE's", rich_help_panel=COLUMNS),
    ] = None
    pair_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="column of the second text of a pair", rich_help_panel=COLUMNS)
    ] = None
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="column of the label; else label", rich_help_panel=COLUMNS)
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="of a text file that is not UTF-8: latin-1, cp1252", rich_help_panel=COLUMNS),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FromFile:
    """Options out of a file."""

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="TOML with options by their names; the command line wins", show_default=False
        ),
    ] = None
    print_config: Annotated[
        bool, typer.Option("--print-config", help="print the options as such a file, and do nothing else")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Hosts(Where, Kept):
    """Everything about hosts."""


@dataclass(frozen=True, kw_only=True)
class Labelled(Columns):
    """A file of labelled rows."""

    data: Annotated[
        str, typer.Option(metavar="FILE", help="labelled rows: .csv, .tsv, .jsonl, .parquet, .xlsx or hf:NAME:SPLIT")
    ]


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """How the audit goes."""

    effort: Annotated[
        Literal["quick", "usual", "full"],
        typer.Option(help="of the audit: quick leaves out attacks that take long, full takes minutes"),
    ] = "usual"


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What has to hold, or the exit code is 3."""

    require: Annotated[
        Literal["blind", "bounded", "hurdle"] | None,
        typer.Option(
            help="exit with 3 where the run's class of protection is weaker",
            show_default=False,
        ),
    ] = None
    require_max_leak: Annotated[
        float | None,
        typer.Option(
            metavar="LEAK", help="exit with 3 where an attack finds more; a blind run has no limit", show_default=False
        ),
    ] = None
