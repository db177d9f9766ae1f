"""`make test-luck`: which verdicts of the SDK's tests are luck. ROUNDS=12 TESTS="tests/test_auto.py tests/test_side.py"

Runs the tests again and again, each time under new secrets, and takes down every number that one of them compares with
another. Listed, and the exit code 1, are those whose mean distance is less than four of its standard deviations: sooner
or later they are red without a fault. What is the same in every run is not listed; nor is what `approx` compares, and
of `a < b < c` the first part.

Owns: the rounds and the list. Must never: let a test that failed pass for one that held.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testing.comparisons import Comparison, read

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk/python"
PYTHON = ROOT / ".deps/venv/bin/python"
OUT = ROOT / "var/luck"
FEWEST = 4
"""Of fewer rounds no standard deviation says anything."""
WANTED = 4.0


@dataclass(frozen=True)
class Spread:
    """One comparison over the rounds in which it was made."""

    where: Comparison
    margins: tuple[float, ...]

    @property
    def distance(self) -> float:
        """The mean margin in standard deviations; endless where it never changes."""
        deviation = statistics.stdev(self.margins)
        return statistics.mean(self.margins) / deviation if deviation else float("inf")

    def __str__(self) -> str:
        one = self.where
        return (
            f"{self.distance:4.1f} deviations, least {min(self.margins):.3g} in {len(self.margins)} rounds  "
            f"{one.test}:{one.line}  {one.text}"
        )


def spreads(rounds: Iterable[Sequence[Comparison]]) -> list[Spread]:
    """Every comparison that was made in enough rounds, the nearest to its limit first."""
    found: dict[tuple[str, int, int], list[Comparison]] = defaultdict(list)
    for comparisons in rounds:
        for one in comparisons:
            found[one.name].append(one)
    made = [Spread(many[0], tuple(one.margin for one in many)) for many in found.values() if len(many) >= FEWEST]
    return sorted(made, key=lambda spread: spread.distance)


def run_round(number: int, tests: Sequence[str]) -> tuple[list[Comparison], bool]:
    """Run the tests once; what was compared, and whether all of them held."""
    seen = OUT / f"round-{number}.jsonl"
    seen.unlink(missing_ok=True)
    seen.touch()
    path = os.pathsep.join([str(SDK / "src"), str(ROOT / "scripts")])
    built = {"BLINDTUNE_BIN": ROOT / "target/debug/blindtuned", "BLINDTUNE_MINILM": ROOT / ".deps/all-MiniLM-L6-v2"}
    environment = os.environ | {name: str(value) for name, value in built.items()}
    environment |= {"COMPARISONS": str(seen), "PYTHONPATH": path}
    options = ["-q", "-p", "testing.comparisons", "-o", "enable_assertion_pass_hook=true", "-p", "no:cacheprovider"]
    options += ["-m", "not drops_objects"]  # assertions that are explained keep what they compared
    done = subprocess.run([PYTHON, "-m", "pytest", *options, *tests], cwd=SDK, env=environment, check=False)
    return read(seen), done.returncode == 0


def main() -> int:
    """Rounds, then the list."""
    OUT.mkdir(parents=True, exist_ok=True)
    tests = os.environ.get("TESTS", "tests --ignore tests/real").split()
    count = max(FEWEST, int(os.environ.get("ROUNDS", "12")))
    ended = [run_round(number, tests) for number in range(1, count + 1)]
    failed = sum(not held for _, held in ended)
    found = spreads(comparisons for comparisons, _ in ended)
    near = [spread for spread in found if spread.distance < WANTED]
    print(
        "\n".join([*map(str, near), f"{len(near)} of {len(found)} comparisons are nearer than {WANTED:g} deviations"])
    )
    if failed:
        print(f"{failed} of {count} rounds had a test that failed")
    return 1 if near or failed else 0


if __name__ == "__main__":
    sys.exit(main())
