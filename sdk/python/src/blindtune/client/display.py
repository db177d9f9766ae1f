"""How objects look in a notebook and a terminal.

Owns: the HTML of objects and lists. Must never: let a value through as markup; names and texts come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

LONGEST = 120


def short(value: Any) -> str:
    """Its repr, cut."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def html_table(title: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> str:
    """One row as names and values, several as columns."""
    if len(rows) == 1:
        lines = [f"<tr><th>{escape(name)}</th><td>{_cell(name, value)}</td></tr>" for name, value in rows[0].items()]
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>"] if names else []
        lines += [f"<tr>{''.join(f'<td>{_cell(n, row.get(n))}</td>' for n in names)}</tr>" for row in rows]
    foot = f"<p>{escape(note)}</p>" if note else ""
    return f"<p><b>{escape(title)}</b></p><table>{''.join(lines)}</table>{foot}"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if (name.endswith("_at") or name == "created") and isinstance(value, int) and value > 0:
        return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return escape(value if isinstance(value, str) else short(value))
