"""What `make test-luck` calls luck."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import luck
import pytest
from testing.comparisons import Comparison, margins, read

TESTS = """
import os

def test_it():
    learned = float(os.environ["LEARNED"])
    for limit in (0.5, 0.6):
        assert learned > limit and "a" < "b", "compared in each turn"
    assert 1 <= len("ab") < 4
"""


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("0.75 > 0.5\n +  where 0.75 = f(0.1 < 0.2)", [0.25]),
        ("(np.float64(0.75) <= 0.5 and 2 < 3)", [-0.25, 1.0]),
        ("0 < 1.5 < 2", [1.5, 0.5]),
        ("1e-05 < 0.1", [0.1 - 1e-05]),
        ("'h0' < 'h1' and x1 < 2 and 3 < y and 'leak 0.8 > 0.6' in said", []),
    ],
)
def test_numbers_are_read_from_pytests_words(explanation: str, expected: list[float]) -> None:
    assert list(margins(explanation)) == pytest.approx(expected)


def one(margin: float, line: int = 1) -> Comparison:
    return Comparison("t", line, 0, "x > y", margin)


def test_what_is_near_its_limit_comes_first_and_what_never_changes_last() -> None:
    rounds = [[one(margin), one(1.0, 2), one(margin + 10, 3)] for margin in (0.1, 0.2, 0.3, 0.4)]
    found = luck.spreads(rounds)
    assert [spread.where.line for spread in found] == [1, 3, 2]
    assert found[0].distance == pytest.approx(0.25 / 0.1291, rel=1e-3) and found[2].distance == float("inf")
    assert not luck.spreads(rounds[:3]), "three rounds are too few"
    assert str(found[0]).startswith(" 1.9 deviations, least 0.1 in 4 rounds  t:1  x > y")


def test_a_run_writes_down_what_it_compared(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(TESTS)
    scripts = str(Path(luck.__file__).parent)
    environment = os.environ | {"COMPARISONS": str(tmp_path / "seen"), "LEARNED": "0.7", "PYTHONPATH": scripts}
    options = ["-p", "testing.comparisons", "-o", "enable_assertion_pass_hook=true", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *options, "test_one.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    found = read(tmp_path / "seen")
    assert [(one.line, one.place) for one in found] == [(7, 0), (7, 1), (8, 0)]
    assert [one.margin for one in found] == pytest.approx([0.2, 0.1, 2.0])
