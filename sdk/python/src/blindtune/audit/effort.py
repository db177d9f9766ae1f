"""How much an audit does: which attacks, how many calls it asks of a host, how many doses it plants.

Owns: the three sizes of an audit. Must never: decide by the clock, so that an audit repeated is the same audit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PRODUCTS, ALL_PRODUCTS = 26, 180
EFFORTS = ("quick", "usual", "full")
"""The sizes by their names."""


@dataclass(frozen=True)
class Doses:
    """What is planted: `sizes` over the tensors' own, ascending; at most so many rows and steps are planted in.

    `thorough`: every attack at every dose; otherwise those that take long see the largest dose only.
    """

    sizes: tuple[float, ...] = (0.3, 1.0, 3.0)
    rows: int = 400
    steps: int = 12
    thorough: bool = False


@dataclass(frozen=True)
class Effort:
    """`thorough`: independent components, recombination, probes and intervals too. `products` bounds the calls that
    tier 3 makes for each adapter set (inversion.py); 0 leaves it out. `doses` None plants nothing. `active` batches are
    answered by a host that cheats; 0 leaves it out. Attacks that begin at random have `restarts` starts, and the best
    one counts."""

    thorough: bool = True
    products: int = PRODUCTS
    doses: Doses | None = Doses()
    active: int = 12
    restarts: int = 1

    @classmethod
    def named(cls, name: str) -> Effort:
        """One of `EFFORTS`."""
        sizes: dict[str, Callable[[], Effort]] = {"quick": cls.quick, "usual": cls, "full": cls.full}
        return sizes[name]()

    @classmethod
    def quick(cls) -> Effort:
        """Seconds: no attack that takes long, and the largest dose only."""
        return cls(thorough=False, products=1, doses=Doses(sizes=(3.0,), rows=200, steps=4), active=4)

    @classmethod
    def full(cls) -> Effort:
        """Minutes: every attack at every dose, three starts, and tier 3 until it has converged."""
        doses = Doses((0.0, 0.1, 0.3, 1.0, 3.0, 10.0), rows=1000, steps=40, thorough=True)
        return cls(products=ALL_PRODUCTS, doses=doses, active=24, restarts=3)
