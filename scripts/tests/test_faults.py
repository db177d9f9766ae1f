"""The list of faults names tests that are there, and every fault that the host must survive stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import faults
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {f"{letter}{number}" for letter, most in (("H", 10), ("M", 12), ("F", 18)) for number in range(1, most + 1)}
LIST = faults.read()
NAMED = sorted({test for fault in LIST for test in fault.tests})


def test_every_fault_is_in_the_list() -> None:
    names = [fault.name for fault in LIST]
    assert len(names) == len(set(names))
    assert EXPECTED - set(names) == set()


@pytest.mark.parametrize("fault", LIST, ids=lambda fault: fault.name)
def test_a_fault_has_tests_or_says_what_is_left(fault: faults.Fault) -> None:
    assert fault.fault
    assert fault.tests or fault.left


@pytest.mark.parametrize("name", [name for name in NAMED if not name.startswith("make ")])
def test_a_named_test_is_there(name: str) -> None:
    binary, *path = name.rstrip(":").split("::")
    folder = ROOT / ("src" if binary == "lib" else f"tests/{binary}")
    sources = "\n".join(file.read_text() for file in folder.rglob("*.rs"))
    last = path[-1]
    has_file = any(folder.rglob(f"{last}.rs"))
    assert has_file or re.search(rf"\b(?:fn|mod) {last}\b", sources), f"{name}: {last} is not in {folder.name}"


@pytest.mark.parametrize("name", [name for name in NAMED if name.startswith("make ")])
def test_a_named_target_is_there(name: str) -> None:
    assert re.search(rf"^{name.removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_a_row_counts_and_says_what_is_left() -> None:
    fault = faults.Fault("F0", "a flood", ["api::a::b", "make load"], "the ark")
    assert faults.by_binary(fault.tests) == {"api": ["a::b"]}
    assert faults.row(fault, faults.Outcome(3, 1, 3.4)) == "| F0 | a flood | 3 | 1 | 3 | make load; the ark |"


def test_each_test_has_its_time_by_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 7.0, 9.0, 12.5, 12.5])
    monkeypatch.setattr(faults.time, "monotonic", lambda: next(clock))
    lines = ["running 2 tests\n", "test a::b ... ok\n", "test a::c ... FAILED\n", "test result: FAILED. 1 passed\n"]
    assert faults.times(lines) == ([(True, 2.0), (False, 3.5)], lines)
