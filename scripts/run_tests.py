"""`make test`: every part of the tests, each also a make target of its own, and a table at the end.

`run_tests.py NAME...` runs only those. Exits non-zero if any failed. Each part's output stays in var/test/NAME.log.

Owns: which parts there are. Must never: import what is not in Python's standard library, since it runs before set-up.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from testing import counts
from testing.parts import Part, Reader, run_parts

ROOT = Path(__file__).resolve().parents[1]
MAKE = ("make", "--silent", "--no-print-directory")
PASSED_LINES = r"test .* \.\.\. ok$|\s*$"
"""What nobody reads of cargo's output."""


def part(name: str, target: str, reader: Reader, dull: str | None = None, **environment: str) -> Part:
    """A part that needs the host program."""
    return Part(name, (*MAKE, target), reader, needs="build", dull=dull, environment=environment)


def aside(name: str, target: str, reader: Reader, **environment: str) -> Part:
    """The same of one that keeps one core busy at most."""
    return replace(part(name, target, reader, **environment), aside=True)


PARTS = (
    Part("build", (*MAKE, "build")),
    # Alone: many of its tests are about time.
    part("rust", "test-rust", counts.read_cargo, PASSED_LINES),
    aside("tools", "test-tools", counts.read_pytest),
    aside("demo", "test-demo", counts.read_pytest),
    aside("dist", "test-dist", counts.read_packages, SHORT="1"),
    aside("release", "test-release", counts.read_pytest),
    aside("openai", "test-openai", counts.read_share),
    aside("observability", "test-observability", counts.read_pytest),
    aside("generator", "test-generator", counts.read_pytest),
    aside("contract", "test-api-contract", counts.read_contract),
    # Alone, but for what runs aside: a page that is waited for shares a core with nobody's training.
    part("console", "test-console", counts.read_pytest),
    part("sdk", "test-sdk", counts.read_pytest),
    part("bench", "test-bench", counts.read_pytest),
    part("portable", "test-portable", counts.read_plain, SHORT="1"),
)


def main(wanted: list[str]) -> int:
    """Run the wanted parts, or all."""
    unknown = set(wanted) - {part.name for part in PARTS}
    if unknown:
        print(f"no part {', '.join(sorted(unknown))}: there are {', '.join(part.name for part in PARTS)}")
        return 2
    chosen = [part for part in PARTS if not wanted or part.name in wanted]
    return run_parts(chosen, ROOT / "var/test", ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
