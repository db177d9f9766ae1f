"""A pytest plugin: every number that a test compares with another, written down as it was. scripts/luck.py reads it.

Owns: what a comparison is, and the lines of the file that COMPARISONS names. Must never: change what a test does.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NUMBER = r"(?:np\.\w+\()?(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\)?"
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
COMPARED = re.compile(rf"(?<![\w.]){NUMBER} (<=|>=|<|>) (?={NUMBER}(?![\w.]))")


@dataclass(frozen=True)
class Comparison:
    """One `<`, `<=`, `>` or `>=` between numbers in an assertion that held; `margin` is by how much."""

    test: str
    line: int
    place: int
    """Which comparison of the line, counted over all the times that it was reached."""
    text: str
    margin: float

    @property
    def name(self) -> tuple[str, int, int]:
        """The same in every run of the test."""
        return self.test, self.line, self.place


def margins(explanation: str) -> Iterator[float]:
    """By how much each comparison of numbers held, in pytest's words for an assertion: its first line has the values.

    Of a chain such as `a < b < c` pytest says the last alone.
    """
    for found in COMPARED.finditer(QUOTED.sub("''", explanation.partition("\n")[0])):
        left, sign, right = float(found[1]), found[2], float(found[3])
        yield left - right if sign.startswith(">") else right - left


def read(path: Path) -> list[Comparison]:
    """The comparisons of one run, in their order."""
    return [Comparison(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


_reached: Counter[tuple[str, int]] = Counter()


def pytest_assertion_pass(item: Any, lineno: int, orig: str, expl: str) -> None:
    """Told by pytest of each assertion that held (with enable_assertion_pass_hook)."""
    with Path(os.environ["COMPARISONS"]).open("a", encoding="utf-8") as file:
        for margin in margins(expl):
            place = _reached[item.nodeid, lineno]
            _reached[item.nodeid, lineno] += 1
            file.write(json.dumps(asdict(Comparison(item.nodeid, lineno, place, orig, margin))) + "\n")
