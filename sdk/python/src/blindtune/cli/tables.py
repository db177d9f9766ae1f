"""Tables on a terminal, and the same as JSON.

Owns: how lists look. Must never: cut a value where nobody can see the rest, or take a name from outside for markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

WIDE = 10_000
"""Columns of what is no terminal: nothing wraps there."""


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, nothing: str = "nothing here") -> None:
    """A table of rows with the same names, or their JSON."""
    if as_json:
        print(json.dumps(list(rows), indent=2, ensure_ascii=False, default=str))
        return
    if not rows:
        print(nothing)
        return
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(name, value)) for name, value in row.items()))
    _console().print(table)


def show_each(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Names and values, one a line; as JSON one object, or a list of several."""
    if as_json:
        print(json.dumps(rows[0] if len(rows) == 1 else list(rows), indent=2, ensure_ascii=False, default=str))
        return
    for number, row in enumerate(rows):
        width = max(len(name) for name in row)
        lines = [f"{name.replace('_', ' '):<{width}}  {_cell(name, value)}" for name, value in row.items()]
        print("\n".join([*([""] if number else []), *lines]))


def _console() -> Any:
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and value > 0 and (name.endswith("_at") or name in ("created", "expires", "issued")):
        return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if isinstance(value, float):
        return f"{value:,.1f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
