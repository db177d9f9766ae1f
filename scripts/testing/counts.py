"""Reads what a part of the tests reports: how many passed and failed, and which were skipped with what reason.

Owns: the forms in which pytest, cargo and this repository's own scripts count. Must never: run a test, or call a skip
expected (expected_skips.py does).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
CARGO_IGNORED = re.compile(r"^test (.+?) \.\.\. ignored(?:, (.*))?$", re.MULTILINE)
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
PLAIN_SKIP = re.compile(r"^skipped: (.+?): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Skip:
    """A test that did not run, and why it says that it did not."""

    test: str
    reason: str


@dataclass(frozen=True)
class Counts:
    """What a part did."""

    passed: int = 0
    failed: int = 0
    skips: tuple[Skip, ...] = ()
    failures: tuple[str, ...] = field(default=())


def read_pytest(report: Path, _log: str) -> Counts | None:
    """A junit report; None when pytest did not live to write it."""
    if not report.is_file():
        return None
    passed, failures, skips = 0, [], []
    for case in ElementTree.parse(report).iter("testcase"):
        name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
        children = {child.tag: child for child in case}
        if children.keys() & {"failure", "error"}:
            failures.append(name)
        elif "skipped" in children:
            skips.append(Skip(name, skip_reason(children["skipped"])))
        else:
            passed += 1
    return Counts(passed, len(failures), tuple(skips), tuple(failures))


def skip_reason(node: ElementTree.Element) -> str:
    """The last words of a skip: a module's is "('path', line, 'Skipped: reason')"."""
    text = node.get("message") or ""
    if text in ("", "collection skipped"):
        text = node.text or ""
    found = re.search(r"Skipped: (.*?)['\"]?\)?$", text, re.DOTALL)
    return (found.group(1) if found else text).strip()


def read_cargo(_report: Path, log: str) -> Counts | None:
    """The summary lines of `cargo test`, one for each binary."""
    results = [tuple(map(int, found.groups())) for found in CARGO_RESULT.finditer(log)]
    if not results:
        return None
    passed, failed, ignored = (sum(column) for column in zip(*results, strict=True))
    skips = [Skip(found.group(1), found.group(2) or "no reason given") for found in CARGO_IGNORED.finditer(log)]
    skips += [Skip("a test without a line of its own", "no reason given")] * (ignored - len(skips))
    failures = re.findall(r"^test (.+?) \.\.\. FAILED$", log, re.MULTILINE)
    return Counts(passed, failed, tuple(skips), tuple(failures))


def read_plain(_report: Path, log: str) -> Counts | None:
    """The last line `N passed, M failed, K skipped`, and above it a line `skipped: TEST: REASON` for each skip."""
    found = list(PLAIN.finditer(log))
    if not found:
        return None
    passed, failed, skipped = map(int, found[-1].groups())
    skips = [Skip(*words) for words in PLAIN_SKIP.findall(log)][:skipped]
    skips += [Skip("a test without a line of its own", "no reason given")] * (skipped - len(skips))
    return Counts(passed, failed, tuple(skips))


def read_share(_report: Path, log: str) -> Counts | None:
    """`N of M pass`, the last line of the acceptance list of tests/openai."""
    found = re.findall(r"^(\d+) of (\d+) pass$", log, re.MULTILINE)
    if not found:
        return None
    passed, tried = map(int, found[-1])
    return Counts(passed, tried - passed)


def read_packages(_report: Path, log: str) -> Counts | None:
    """A line for each package that was installed and used, and one for each Python that is not here."""
    passed = len(re.findall(r": installed and used$", log, re.MULTILINE))
    absent = re.findall(r"(Python [\d.]+) is not here: not tried", log)
    return Counts(passed, 0, tuple(Skip(name, "not on this machine") for name in absent)) if passed else None


def read_contract(_report: Path, log: str) -> Counts | None:
    """The operations that schemathesis tested. What it found is a failure by its exit code, counted by its own line."""
    if "the contract is not tried here" in log:
        return Counts(skips=(Skip("contract", "schemathesis needs Python 3.11"),))
    tested = re.findall(r"^\s*Tested: (\d+)", log, re.MULTILINE)
    failures = re.findall(r"(\d+) unique failures?", log)
    return Counts(int(tested[-1]), int(failures[-1]) if failures else 0) if tested else None
