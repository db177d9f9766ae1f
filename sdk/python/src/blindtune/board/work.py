"""What takes longer than a page waits: one piece of work for each run, in a thread of its own.

Owns: its state. Must never: keep the program from ending; what was not finished is begun anew by whoever wants it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger("blindtune")


@dataclass
class Work:
    """One evaluation."""

    state: Literal["none", "working", "failed", "done"] = "none"
    message: str = ""

    def told(self) -> dict[str, Any]:
        """For the page."""
        return {"state": self.state, "message": self.message}


class Works:
    """By run folder."""

    def __init__(self) -> None:
        self._works: dict[Path, Work] = {}
        self._lock = threading.Lock()

    def of(self, place: Path) -> Work | None:
        """The last one of a run."""
        return self._works.get(place)

    def begin(self, place: Path, do: Callable[[], Any], words: Callable[[Exception], str]) -> Work | None:
        """Begin one; None where one is under way. `words` says what went wrong."""
        with self._lock:
            known = self._works.get(place)
            if known is not None and known.state == "working":
                return None
            work = self._works[place] = Work("working")
        threading.Thread(target=_carry_out, args=(work, do, words), daemon=True, name=f"board-{place.name}").start()
        return work


def _carry_out(work: Work, do: Callable[[], Any], words: Callable[[Exception], str]) -> None:
    try:
        do()
    except Exception as error:  # whatever it was, the page is told, and the board goes on
        log.info("an evaluation failed", exc_info=True)
        work.message, work.state = words(error), "failed"
    else:
        work.state = "done"
