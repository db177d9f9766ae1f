"""What an evaluation found: the confusion matrix, or precision and recall label by label.

Owns: the pictures. Must never: hide a row; a class without rows is there, and empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import AnyArray
from .style import BLUE, GREEN, ORANGE, WIDTH, canvas, shortened

if TYPE_CHECKING:
    from .picture import Picture

MOST_WRITTEN = 16
"""More classes than this are drawn without a number in each field."""


def confusion_plot(confusion: AnyArray, names: Sequence[str], title: str = "") -> Picture:
    """Counts in each field, coloured by their share of the true class: rows are true, columns guessed."""
    count = len(names)
    side = min(12.0, 2.2 + (0.62 if count <= MOST_WRITTEN else 0.25) * count)
    width = max(5.4, side + 1.4 if count >= 8 else min(WIDTH, side + 1.4))
    with canvas(side - 0.4, "plot() of an evaluation", width) as picture:
        axes: Any = picture.subplots()
        shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        short = [shortened(name) for name in names]
        longest = max(map(len, short))
        slanted = longest * count > 40
        axes.set_xticks(range(count), short, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(range(count), short)
        axes.tick_params(length=0)
        if slanted:
            for label in axes.get_xticklabels():
                label.set_rotation_mode("anchor")
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("guessed")
        axes.set_ylabel("true")
        axes.set_title(title)
        if count <= MOST_WRITTEN:
            _write(axes, confusion, shares)
        bar: Any = picture.colorbar(image, ax=axes, shrink=0.8, aspect=25)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return picture


def _write(axes: Any, confusion: AnyArray, shares: AnyArray) -> None:
    for (row, column), number in np.ndenumerate(confusion):
        colour = "white" if shares[row, column] > 0.55 else "#999999" if number == 0 else "black"
        axes.text(column, row, str(int(number)), ha="center", va="center", color=colour)


def labels_plot(labels: Sequence[Any], title: str = "") -> Picture:
    """Precision, recall and F1 of each label: values with `name`, `precision`, `recall`, `f1` and `rows`."""
    with canvas(1.5 + 0.34 * len(labels), "plot() of an evaluation") as picture:
        axes = picture.subplots()
        for name, mark, colour in (("precision", "<", ORANGE), ("recall", ">", GREEN), ("f1", "o", BLUE)):
            values = [getattr(label, name) for label in labels]
            axes.plot(values, range(len(labels)), mark, color=colour, label="F1" if name == "f1" else name, alpha=0.85)
        axes.set_yticks(range(len(labels)), [f"{shortened(label.name)} ({label.rows} rows)" for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("score (1.00 is the best)")
        axes.set_title(title)
        axes.grid(visible=True)
        picture.legend(loc="outside lower center", ncols=3)
    return picture
