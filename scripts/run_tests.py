"""`make test`: every part of the tests, each also a make target of its own, and a table at the end.

`run_tests.py NAME...` runs only those. Exits non-zero if any failed. Each part's output stays in var/test/NAME.log.

Owns: which parts there are. Must never: import what is not in Python's standard library, since it runs before set-up.
"""

from __future__ import annotations

import sys
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


PARTS = (
    Part("build", (*MAKE, "build")),
    part("tools", "test-tools", counts.read_pytest),
    part("rust", "test-rust", counts.read_cargo, PASSED_LINES),
    part("sdk", "test-sdk", counts.read_pytest),
    part("demo", "test-demo", counts.read_pytest),
    part("dist", "test-dist", counts.read_packages, SHORT="1"),
    part("bench", "test-bench", counts.read_pytest),
    part("openai", "test-openai", counts.read_share),
    part("contract", "test-api-contract", counts.read_contract),
    part("generator", "test-generator", counts.read_pytest),
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
