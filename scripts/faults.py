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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings the same module
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/faults/list.toml"
ENDED = re.compile(r"^test .* \.\.\. (ok|FAILED)$")
"""The line of a test that has ended."""


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

    tries: int
    lost: int
    slowest: float
    """Seconds of the slowest of them."""


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


def cargo(binary: str, *arguments: str) -> list[str]:
    """The command that runs a test binary."""
    return ["cargo", "test", "--locked", "--quiet", *target(binary), "--", *arguments]


def known(binary: str) -> list[str]:
    """The tests of a binary."""
    command = cargo(binary, "--list", "--format", "terse")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
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
    """Runs the tests of one fault, one after another, so that each has a time."""
    tries, lost, slowest = 0, 0, 0.0
    for binary, paths in by_binary(fault.tests).items():
        command = cargo(binary, "--test-threads", "1", "--format", "pretty", *paths)
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            found, said = times(process.stdout)
        failed = sum(not ended_well for ended_well, _ in found) or int(process.returncode != 0)
        tries, lost = tries + len(found), lost + failed
        slowest = max([slowest, *(seconds for _, seconds in found)])
        if failed:
            print("".join(said), file=sys.stderr)
    return Outcome(tries, lost, slowest)


def times(lines: Iterable[str]) -> tuple[list[tuple[bool, float]], list[str]]:
    """Whether each test ended well, and its seconds, by when its line came; and all that was said."""
    found, said = [], []
    since = time.monotonic()
    for line in lines:
        said.append(line)
        now = time.monotonic()
        if ENDED.search(line):
            found.append((" ... ok" in line, now - since))
        if ENDED.search(line) or line.startswith("running "):
            since = now
    return found, said


def row(fault: Fault, outcome: Outcome) -> str:
    """A line of the table."""
    elsewhere = [test for test in fault.tests if test.startswith("make ")]
    notes = "; ".join(filter(None, [", ".join(elsewhere), fault.left]))
    return f"| {fault.name} | {fault.fault} | {outcome.tries} | {outcome.lost} | {outcome.slowest:.0f} | {notes} |"


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
    print("| | fault | tries | lost | slowest, s | elsewhere, and what is left |\n|---|---|---|---|---|---|")
    for fault, outcome in zip(chosen, outcomes, strict=True):
        print(row(fault, outcome))
    return int(any(outcome.lost for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
