"""A figure of matplotlib that a notebook shows when it is the last value of a cell.

Owns: that. Must never: be imported before `style.canvas` has said what to install where matplotlib is missing.
"""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A `Figure` made without pyplot: no window, no backend, nothing to close."""

    def _repr_png_(self) -> bytes:
        """For a notebook in which pyplot's own display is not set up."""
        file = io.BytesIO()
        self.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()
