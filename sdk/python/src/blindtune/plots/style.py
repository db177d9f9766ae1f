"""How pictures look: colours that colour-blind readers tell apart, sizes for the width of a notebook.

Owns: that, and the message where matplotlib is missing. Must never: leave matplotlib's settings changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..extras import need

if TYPE_CHECKING:
    from .picture import Picture

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#767676"
"""Okabe and Ito's, as in the report of a frontier."""
WIDTH = 7.0
"""Inches; 560 pixels at DPI, about the width of a notebook's text."""
DPI = 80
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a dollar in a label's name is a dollar
}


@contextmanager
def canvas(height: float, purpose: str, width: float = WIDTH) -> Iterator[Picture]:
    """An empty picture, to be drawn on inside; `MissingExtraError` names the extra where matplotlib is missing."""
    matplotlib = need("matplotlib", "plot", purpose)
    from .picture import Picture

    with matplotlib.rc_context(STYLE):
        yield Picture(figsize=(width, height), dpi=DPI, layout="constrained")


def shortened(name: str, most: int = 24) -> str:
    """A label's name that fits beside an axis."""
    return name if len(name) <= most else name[: most - 1] + "…"
