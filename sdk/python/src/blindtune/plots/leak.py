"""What an audit found: the leak of each tier with its interval, between chance and all, and the limit.

Owns: the picture. Must never: make a low number look like a proof, or draw a limit where none applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .style import BLUE, GREY, ORANGE, PURPLE, canvas

if TYPE_CHECKING:
    from .picture import Picture


@dataclass(frozen=True)
class TierLeak:
    """One tier: the best attack's leak, its interval and its shuffled control.

    `oracle` is the upper bound by attacks chosen with the labels, `limit` what the tier is held to; None where there is
    none.
    """

    name: str
    score: float | None
    low: float | None = None
    high: float | None = None
    control: float | None = None
    oracle: float | None = None
    limit: float | None = None


def leak_plot(tiers: Sequence[TierLeak], chance: float, rows: int, note: str = "") -> Picture:
    """A line for each tier; leak to the right. `note` stands under the title."""
    with canvas(1.8 + 0.42 * len(tiers) + (0.3 if note else 0), "plot() of an audit") as picture:
        axes = picture.subplots()
        limited = any(tier.limit is not None for tier in tiers)
        axes.axvline(chance, color=GREY, linestyle=":", label=f"guessing ({chance:.2f})")
        for place, tier in enumerate(tiers):
            _tier(axes, place, tier, limited)
        axes.set_yticks(range(len(tiers)), [fill(tier.name, 28) for tier in tiers])
        axes.set_ylim(len(tiers) - 0.4, -0.6)
        axes.set_xlim(chance - 0.04 * (1 - chance), 1.02)
        axes.set_xlabel("leak: how well labels can be guessed (1.00: every label)")
        picture.suptitle(f"What a host could guess, attacks on {rows} rows", x=0.01, ha="left", fontsize=11)
        axes.set_title(fill(note, 74), fontsize=9, color="#444444")
        axes.grid(visible=True, axis="x")
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        picture.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=3, columnspacing=1.2)
    return picture


def _tier(axes: Any, place: int, tier: TierLeak, limited: bool) -> None:
    if tier.limit is not None:
        axes.plot([tier.limit] * 2, [place - 0.5, place + 0.5], color="black", linewidth=1.5, label="limit")
    if tier.control is not None:
        axes.plot(tier.control, place, "x", color=GREY, label="shuffled control")
    if tier.oracle is not None:
        mark = {"markerfacecolor": "white", "color": GREY}
        axes.plot(tier.oracle, place, ">", label="upper bound, chosen with labels", **mark)
    if tier.score is None:
        return
    colour, shape, label = _mark(tier, limited)
    if tier.low is not None and tier.high is not None and tier.high > tier.low:
        axes.plot([tier.low, tier.high], [place] * 2, color=colour, linewidth=2)
    axes.plot(tier.score, place, shape, color=colour, label=label, zorder=3)
    axes.annotate(f"{tier.score:.2f}", (tier.score, place), (0, 7), textcoords="offset points", fontsize=9, ha="center")


def _mark(tier: TierLeak, limited: bool) -> tuple[str, str, str]:
    """Colour, shape and words; a tier without a limit beside tiers with one is not shown as if it were within it."""
    if tier.limit is None:
        return (PURPLE, "s", "best attack, no limit set") if limited else (BLUE, "o", "best attack, 95 % interval")
    if tier.score is not None and tier.score > tier.limit:
        return ORANGE, "D", "best attack, above the limit"
    return BLUE, "o", "best attack, within the limit"
