"""A setting that a processor cannot run is left out aloud, and one that is not in force is red."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import portable
import pytest
from testing.parts import run_parts

ROWS = {row.name: row for threads in (1, 2) for row in portable.rows(threads)}


def test_every_numeric_file_exists() -> None:
    there = {path.name for path in (portable.SDK / "tests").glob("test_*.py")}
    assert set(portable.NUMERIC) <= there and set(portable.SHORT_NUMERIC) < set(portable.NUMERIC)


def test_the_rows_are_those_that_were_asked_for() -> None:
    kinds = [name.rsplit("-", 1)[0] for name in ROWS if name.endswith("2t")]
    assert kinds == [
        *(f"blas-{core}" for core in ("Prescott", "Haswell", "Zen", "SkylakeX")),
        *(f"numpy-without-{name}" for name in ("AVX512", "AVX2")),
        *(f"onednn-{isa}" for isa in ("SSE41", "AVX2", "AVX512_CORE")),
        *(f"mkl-{isa}" for isa in ("SSE4_2", "AVX2", "AVX512")),
    ]
    assert {row.kind for row in portable.short_rows()} == {"sdk", "golden"}


def test_a_row_that_the_processor_cannot_run_is_an_expected_skip(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    row = replace(ROWS["blas-SkylakeX-1t"], needs=("sse2", "a-flag-of-tomorrow"))
    assert run_parts([portable.part(row, [], ())], tmp_path, tmp_path) == 0
    text = capfd.readouterr().out
    assert "blas-SkylakeX-1t: the processor has no a-flag-of-tomorrow" in text
    assert text.endswith("\n0 passed, 0 failed, 1 skipped\n")


@pytest.mark.parametrize(
    ("threads", "broken", "words"),
    [
        (1, {"WISHED_CORE": "Core of tomorrow"}, "runs as"),
        (2, {"WISHED_CORE": "Core of tomorrow"}, "runs as"),
        (2, {"BLINDTUNE_TEST_THREADS": "1"}, "1 threads, not 2"),
        (2, {"WISHED_OFF": "SSE2"}, "still uses SSE2"),
    ],
)
def test_a_setting_that_is_not_in_force_is_red(threads: int, broken: dict[str, str], words: str) -> None:
    part = portable.part(ROWS[f"blas-Prescott-{threads}t"], [], ("test_gradients.py",))
    environment = os.environ | dict(part.environment) | broken
    done = subprocess.run(part.command, cwd=portable.ROOT, env=environment, capture_output=True, text=True)
    interrupted = 2  # which is what pytest-xdist calls it
    assert done.returncode == (interrupted if threads == 1 else 1) and words in done.stdout, done.stdout
    assert "passed" not in done.stdout


def test_numpy_is_told_only_names_that_it_knows() -> None:
    """It warns about others, and the SDK's tests take warnings for errors."""
    off = ROWS["numpy-without-AVX2-1t"].environment["NPY_DISABLE_CPU_FEATURES"]
    command = [sys.executable, "-W", "error", "-c", "import numpy"]
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": off}
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stderr == ""
