"""A notebook with its outputs as a page of Markdown.

Owns: how cells look. Must never: run one; examples/recipes/run.py does, and a test compares what it kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PICTURE = "image/png"


def notebook_page(path: Path) -> str:
    """All cells in their order. A picture becomes a part of the page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = [part for cell in cells for part in (text_of(cell) if cell["cell_type"] == "markdown" else code_of(cell))]
    return "\n\n".join(shown) + "\n"


def text_of(cell: dict[str, Any]) -> Iterator[str]:
    """A cell of words, as it is."""
    yield "".join(cell["source"]).strip()


def code_of(cell: dict[str, Any]) -> Iterator[str]:
    """A cell of code and what came out of it."""
    yield fenced("python", "".join(cell["source"]))
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if PICTURE in data:
            yield f'<img alt="plot" src="data:{PICTURE};base64,{"".join(data[PICTURE]).replace(chr(10), "")}">'
        elif text := "".join(output.get("text") or data.get("text/plain") or []).rstrip():
            yield fenced("text", text)


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"
