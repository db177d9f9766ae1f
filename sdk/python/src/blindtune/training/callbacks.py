"""What a user's own code is told of a run while it trains.

Owns: the protocol, and that a callback's failure ends a run between two steps, with its name. Must never: hand a
callback a row, a text or a label; what it is told are sums.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import RunError

if TYPE_CHECKING:
    from .fit_result import FitResult

log = logging.getLogger("blindtune")

Record = Mapping[str, Any]


class CallbackError(RunError):
    """A callback failed. The run ended as after Ctrl-C: its whole steps are kept, and the same call continues it."""


class Callback(Protocol):
    """Told of a run while it trains; subclass it and write the methods that you need.

    Losses, accuracies and scores were computed with the labels: what a callback sends away tells of them.
    """

    def on_step(self, record: Record) -> None:
        """After each step (of method side: each pass of a network): a line of `steps.jsonl`."""

    def on_evaluation(self, record: Record) -> None:
        """After each evaluation on the dev rows: a line of `dev.jsonl`."""

    def on_end(self, result: FitResult | None) -> None:
        """When `fit` ends; None where it broke off."""


class Callbacks:
    """All callbacks of a fit, in the order in which they were given."""

    def __init__(self, given: Sequence[Callback] = ()) -> None:
        self.given = tuple(given)

    def on_step(self, record: Record) -> None:
        """Tell each of a step."""
        self._each("on_step", lambda one: one.on_step(record))

    def on_evaluation(self, record: Record) -> None:
        """Tell each of an evaluation."""
        self._each("on_evaluation", lambda one: one.on_evaluation(record))

    def on_end(self, result: FitResult) -> None:
        """Tell each that the run is done."""
        self._each("on_end", lambda one: one.on_end(result))

    @contextmanager
    def told_of_a_failure(self) -> Iterator[None]:
        """Inside, a failure or an interrupt is told to each; one that fails then is logged, the first error stands."""
        try:
            yield
        except BaseException:
            for one in self.given:
                try:
                    one.on_end(None)
                except Exception as error:
                    log.warning("callback %s: on_end failed (%s: %s)", _name(one), type(error).__name__, error)
            raise

    def _each(self, method: str, tell: Callable[[Callback], None]) -> None:
        for one in self.given:
            try:
                tell(one)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise CallbackError(
                    f"callback {_name(one)} failed in {method} ({what}); whole steps are kept"
                ) from error


def _name(callback: Callback) -> str:
    return type(callback).__name__
