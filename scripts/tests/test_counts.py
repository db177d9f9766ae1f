"""What parts print is counted as they mean it."""

from __future__ import annotations

from pathlib import Path

import pytest
from testing import counts
from testing.counts import Counts, Skip

NO = Path("/nowhere/report.xml")


def test_cargo_adds_its_binaries_up() -> None:
    log = """
test api::keys ... ok
test load ... ignored, minutes long
test bare ... ignored
test security::labels ... FAILED
test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s
"""
    skips = (Skip("load", "minutes long"), Skip("bare", "no reason given"))
    assert counts.read_cargo(NO, log) == Counts(8, 1, skips, ("security::labels",))


def test_an_ignored_test_without_a_line_is_still_a_skip() -> None:
    found = counts.read_cargo(NO, "test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured\n")
    assert found is not None and len(found.skips) == 2


def test_the_last_plain_line_counts_with_the_reasons_above_it() -> None:
    log = "1 passed, 1 failed, 0 skipped\nskipped: blas-Zen: the processor has no avx2\n2 passed, 0 failed, 1 skipped\n"
    assert counts.read_plain(NO, log) == Counts(2, 0, (Skip("blas-Zen", "the processor has no avx2"),))
    assert counts.read_plain(NO, "it said 2 passed, 0 failed, 0 skipped in the middle\n") is None


def test_the_acceptance_list_is_a_share() -> None:
    assert counts.read_share(NO, "call  x\n250 of 252 pass\n") == Counts(250, 2)


def test_packages_count_and_absent_pythons_are_skips() -> None:
    log = "\x1b[1m[setup]\x1b[0m Python 3.13 is not here: not tried\na.whl on Python 3.11.7: installed and used\n"
    assert counts.read_packages(NO, log) == Counts(1, 0, (Skip("Python 3.13", "not on this machine"),))


@pytest.mark.parametrize(
    "reader", [counts.read_cargo, counts.read_plain, counts.read_share, counts.read_packages, counts.read_contract]
)
def test_nothing_said_is_not_counted(reader: object) -> None:
    assert callable(reader) and reader(NO, "Traceback: it fell over\n") is None


def test_a_pytest_that_wrote_no_report_is_not_counted() -> None:
    assert counts.read_pytest(NO, "1 passed") is None


def test_the_contract_counts_operations_and_its_own_failures() -> None:
    log = "API Operations:\n  Selected: 56/56\n  Tested: 56\n\nTest cases:\n  563 generated, 563 passed, 83 skipped\n"
    assert counts.read_contract(NO, log) == Counts(56)
    old = counts.read_contract(NO, "schemathesis needs Python 3.11 or newer: the contract is not tried here\n")
    assert old is not None and old.passed == 0 and len(old.skips) == 1
