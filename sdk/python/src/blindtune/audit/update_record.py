"""What hosts saw of a run's adapters, as little of it as tier 3 needs: the first update and the last one.

Owns: which forwards are kept. Must never: grow with the run; the adapters of four updates are kept, not of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .recorder import Entry, Recorder, Seen, SeenForward, Store

ENDS = 2
"""Values of the adapters kept from the start and from the end: two in a row are one update."""


class UpdateRecorder(Recorder):
    """A `Recorder` of adapters: of each host's forwards those of the first two and of the last two values of theta."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(keep_thetas=True, store=store)

    def first(self) -> Seen:
        """The first update of every host."""
        return Seen(tuple(f for host in self._by_host() for group in host[:ENDS] for f in group))

    def last(self) -> Seen:
        """The last update of every host."""
        return Seen(tuple(f for host in self._by_host() for group in host[-ENDS:] for f in group))

    def _keep(self, entry: Entry) -> None:
        if not isinstance(entry, SeenForward) or not entry.thetas:
            return
        super()._keep(replace(entry, activations={}, base=None))

    def _forget(self, entry: Entry) -> None:
        """What lies between the ends goes."""
        groups = _groups([e for e in self._entries.values() if isinstance(e, SeenForward) and e.host == entry.host])
        for group in groups[ENDS:-ENDS]:
            for forward in group:
                self._drop((forward.host, forward.job, forward.seq))

    def _by_host(self) -> list[list[list[SeenForward]]]:
        forwards = self.seen().forwards
        return [_groups([f for f in forwards if f.host == host]) for host in sorted({f.host for f in forwards})]


def _groups(forwards: Sequence[SeenForward]) -> list[list[SeenForward]]:
    """Forwards under the same adapters, one after the other."""
    groups: list[list[SeenForward]] = []
    for forward in forwards:
        if groups and _same(groups[-1][0], forward):
            groups[-1].append(forward)
        else:
            groups.append([forward])
    return groups


def _same(one: SeenForward, other: SeenForward) -> bool:
    return one.thetas.keys() == other.thetas.keys() and all(
        np.array_equal(theta, other.thetas[i]) for i, theta in one.thetas.items()
    )
