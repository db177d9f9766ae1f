"""`make faults`: what the host must survive (tests/faults/list.toml), test by test, as a table.

`faults.py F1 H5...` runs only those; `faults.py --check` compares the list with the tests that there are, and runs
none of them. Exits non-zero if a test failed or the list names one that is not there.

Owns: the list's form and its table. Must never: decide what a test shows.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings the same module
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/faults/list.toml"


@dataclass(frozen=True)
class Fault:
    """A line of the list."""

    name: str
    fault: str
    tests: list[str] = field(default_factory=list)
    left: str = ""


@dataclass(frozen=True)
class Outcome:
    """What its tests said."""

    passed: int
    failed: int
    seconds: float


def read(path: Path = LIST) -> list[Fault]:
    """The list, in its order."""
    with path.open("rb") as file:
        return [Fault(name, **entry) for name, entry in tomllib.load(file).items()]


def by_binary(tests: list[str]) -> dict[str, list[str]]:
    """`binary::path` by binary; targets of make are left out."""
    found: dict[str, list[str]] = {}
    for test in tests:
        if not test.startswith("make "):
            binary, path = test.split("::", 1)
            found.setdefault(binary, []).append(path)
    return found


def target(binary: str) -> list[str]:
    """What selects a test binary."""
    return ["--lib"] if binary == "lib" else ["--test", binary]


def cargo(binary: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a test binary, or lists its tests."""
    command = ["cargo", "test", "--locked", "--quiet", *target(binary), "--", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def known(binary: str) -> list[str]:
    """The tests of a binary."""
    listed = cargo(binary, "--list", "--format", "terse")
    if listed.returncode:
        sys.exit(listed.stderr)
    return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]


def missing(faults: list[Fault]) -> list[str]:
    """What the list names and no binary has."""
    wrong = []
    tests = by_binary([test for fault in faults for test in fault.tests])
    for binary, paths in tests.items():
        there = known(binary)
        wrong += [f"{binary}::{path}" for path in paths if not any(test.startswith(path) for test in there)]
    return wrong


def run(fault: Fault) -> Outcome:
    """Runs the tests of one fault."""
    passed = failed = 0
    begun = time.monotonic()
    for binary, paths in by_binary(fault.tests).items():
        done = cargo(binary, *paths)
        counts = re.findall(r"test result: .*? (\d+) passed; (\d+) failed", done.stdout)
        passed += sum(int(one) for one, _ in counts)
        failed += sum(int(one) for _, one in counts) or int(done.returncode != 0)
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
    return Outcome(passed, failed, time.monotonic() - begun)


def row(fault: Fault, outcome: Outcome) -> str:
    """A line of the table."""
    elsewhere = [test for test in fault.tests if test.startswith("make ")]
    notes = "; ".join(filter(None, [", ".join(elsewhere), fault.left]))
    tried = outcome.passed + outcome.failed
    return f"| {fault.name} | {fault.fault} | {tried} | {outcome.failed} | {outcome.seconds:.0f} | {notes} |"


def main(arguments: list[str]) -> int:
    """The command."""
    faults = read()
    names = [name for name in arguments if name != "--check"]
    unknown = set(names) - {fault.name for fault in faults}
    if unknown:
        print(f"not in the list: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [fault for fault in faults if not names or fault.name in names]
    wrong = missing(chosen)
    for name in wrong:
        print(f"tests/faults/list.toml names {name}, and there is no such test", file=sys.stderr)
    if wrong or "--check" in arguments:
        return int(bool(wrong))
    outcomes = [run(fault) for fault in chosen]
    print("| | fault | tests | failed | seconds | elsewhere, and what is left |\n|---|---|---|---|---|---|")
    for fault, outcome in zip(chosen, outcomes, strict=True):
        print(row(fault, outcome))
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
