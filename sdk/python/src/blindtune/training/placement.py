"""Which host runs which adapter set, and gets which tensor at which step.

Owns: the three ways to divide a run among hosts. Must never: depend on a label.

    Together   every host runs every set and gets one share of each gradient; the activations must agree
    InTurn     step t goes to host t mod K in full
    Apart      host k runs set k only: it never sees another set's adapters, activations or gradients
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Placement(Protocol):
    """Answers for K hosts, numbered from 0; sets and shares are numbered as in the run."""

    compares: ClassVar[bool]
    """Whether hosts compute the same in training, so that another backbone is noticed."""

    def active(self, step: int) -> Sequence[int]:
        """The hosts at work in a step."""
        ...

    def sets(self, host: int, count: int) -> Sequence[int]:
        """Those of `count` sets that a host runs, in the order of its own numbers."""
        ...

    def host_of(self, adapter_set: int, share: int, step: int) -> int:
        """Where a tensor goes."""
        ...

    def evaluators(self) -> Sequence[int]:
        """The hosts that are asked for activations outside of training."""
        ...


@dataclass(frozen=True)
class Together:
    """Share j goes to host j, wrapping around when there are more shares than hosts."""

    hosts: int
    compares: ClassVar[bool] = True

    def active(self, step: int) -> Sequence[int]:  # noqa: ARG002
        """All."""
        return range(self.hosts)

    def sets(self, host: int, count: int) -> Sequence[int]:  # noqa: ARG002
        """All."""
        return range(count)

    def host_of(self, adapter_set: int, share: int, step: int) -> int:  # noqa: ARG002
        """By the share alone."""
        return share % self.hosts

    def evaluators(self) -> Sequence[int]:
        """The first."""
        return (0,)


@dataclass(frozen=True)
class InTurn:
    """Step t is the business of host t mod K alone."""

    hosts: int
    compares: ClassVar[bool] = False

    def active(self, step: int) -> Sequence[int]:
        """One."""
        return (step % self.hosts,)

    def sets(self, host: int, count: int) -> Sequence[int]:  # noqa: ARG002
        """All."""
        return range(count)

    def host_of(self, adapter_set: int, share: int, step: int) -> int:  # noqa: ARG002
        """By the step alone."""
        return step % self.hosts

    def evaluators(self) -> Sequence[int]:
        """The first."""
        return (0,)


@dataclass(frozen=True)
class Apart:
    """Set i is the business of host i alone."""

    hosts: int
    compares: ClassVar[bool] = False

    def active(self, step: int) -> Sequence[int]:  # noqa: ARG002
        """All."""
        return range(self.hosts)

    def sets(self, host: int, count: int) -> Sequence[int]:
        """Its own."""
        return (host,) if host < count else ()

    def host_of(self, adapter_set: int, share: int, step: int) -> int:  # noqa: ARG002
        """By the set alone."""
        return adapter_set

    def evaluators(self) -> Sequence[int]:
        """All, since each knows only its own set."""
        return range(self.hosts)


PLACEMENTS: dict[str, Callable[[int], Placement]] = {"shares": Together, "steps": InTurn, "sets": Apart}


def make_placement(kind: str, hosts: int) -> Placement:
    """The placement named `kind` over so many hosts."""
    return PLACEMENTS[kind](hosts)
