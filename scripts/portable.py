"""`make test-portable`: the numeric tests as other processors would run them. SHORT=1 is the part of `make test`.

One row a setting: OpenBLAS as another core type, numpy without AVX512 or AVX2, oneDNN and MKL held to an instruction
set; each with one thread and with two. A row is red unless the setting is in force (testing/in_force.py).

Owns: the list of numeric tests and of settings. Must never: call a setting tried that the processor cannot run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testing import counts
from testing.parts import Part, run_parts

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk/python"
PYTHON = ROOT / ".deps/venv/bin/python"

NUMERIC = (
    "test_audit.py",
    "test_audit_evidence.py",
    "test_audit_recorder.py",
    "test_audit_shares.py",
    "test_audit_surrogates.py",
    "test_baselines.py",
    "test_camouflage.py",
    "test_exchange.py",
    "test_frontier.py",
    "test_gradients.py",
    "test_inversion.py",
    "test_label_privacy.py",
    "test_modes.py",
    "test_obfuscation.py",
    "test_optimizers.py",
    "test_placement.py",
    "test_shares.py",
    "test_side.py",
    "test_trainer.py",
    "test_update_noise.py",
    "test_update_record.py",
)
"""The SDK's tests whose outcome depends on arithmetic."""
SLOW = ("test_audit.py", "test_frontier.py", "test_modes.py", "test_trainer.py")
"""Those that the short form leaves out: they train and attack for minutes."""
SHORT_NUMERIC = tuple(name for name in NUMERIC if name not in SLOW)

AVX2, AVX512 = ("avx2", "fma"), ("avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl")
CORES = {"Prescott": ("pni",), "Haswell": AVX2, "Zen": AVX2, "SkylakeX": AVX512}
"""Core types of OpenBLAS, and what a processor needs to run as one."""
ONEDNN = {"SSE41": ("sse4_1",), "AVX2": AVX2, "AVX512_CORE": AVX512}
MKL = {"SSE4_2": ("sse4_2",), "AVX2": AVX2, "AVX512": AVX512}
WITHOUT = {"AVX512": ("AVX512", "X86_V4"), "AVX2": ("AVX512", "X86_V4", "AVX2", "X86_V3")}
"""What numpy is forbidden, by the beginning of its features' names. Who has no AVX2 has no AVX512."""


@dataclass(frozen=True)
class Row:
    """A setting."""

    name: str
    kind: str
    needs: tuple[str, ...]
    environment: dict[str, str]


def rows(threads: int) -> Iterator[Row]:
    """All settings with so many threads."""
    suffix = f"{threads}t"
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    limits |= {"BLINDTUNE_TEST_THREADS": str(threads), "WISHED_THREADS": str(threads)}
    for core, needs in CORES.items():
        yield Row(f"blas-{core}-{suffix}", "sdk", needs, limits | {"OPENBLAS_CORETYPE": core, "WISHED_CORE": core})
    for name, beginnings in WITHOUT.items():
        off = " ".join(numpy_features(beginnings))
        needs = AVX512 if name == "AVX512" else AVX2
        yield Row(
            f"numpy-without-{name}-{suffix}",
            "sdk",
            needs,
            limits | {"NPY_DISABLE_CPU_FEATURES": off, "WISHED_OFF": off},
        )
    for isa, needs in ONEDNN.items():
        yield Row(f"onednn-{isa}-{suffix}", "golden", needs, limits | {"ONEDNN_MAX_CPU_ISA": isa})
    for isa, needs in MKL.items():
        yield Row(f"mkl-{isa}-{suffix}", "golden", needs, limits | {"MKL_ENABLE_INSTRUCTIONS": isa})


def short_rows() -> Iterator[Row]:
    """One core type that differs most from what OpenBLAS picks here, and one instruction set of oneDNN."""
    wished = "Haswell" if not lacking(AVX512) else "Prescott"
    known = {row.name: row for row in rows(1)}
    yield known[f"blas-{wished}-1t"]
    yield known["onednn-AVX2-1t" if wished == "Haswell" else "onednn-SSE41-1t"]


def numpy_features(beginnings: tuple[str, ...]) -> list[str]:
    """The features that the installed numpy has code for and this processor has; it warns about other names."""
    program = (
        "import json, numpy._core._multiarray_umath as m; "
        "print(json.dumps([n for n in m.__cpu_dispatch__ if m.__cpu_features__.get(n)]))"
    )
    done = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=True)
    return [name for name in json.loads(done.stdout) if name.startswith(beginnings)]


def lacking(needs: tuple[str, ...]) -> list[str]:
    """The flags that this processor does not have."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return [flag for flag in needs if flag not in flags]


def golden_binary() -> list[str]:
    """The golden tests' program, built where it is not yet. GOLDEN_BIN names another."""
    named = os.environ.get("GOLDEN_BIN")
    if named:
        return [named]
    command = ["cargo", "test", "--locked", "--test", "golden", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    made = [json.loads(line).get("executable") for line in done.stdout.splitlines() if '"golden"' in line]
    return [path for path in made if path][-1:]


def part(row: Row, golden: list[str], files: tuple[str, ...]) -> Part:
    """What runs a row."""
    if lacking(row.needs):
        words = f"skipped: {row.name}: the processor has no {', '.join(lacking(row.needs))}"
        return Part(
            row.name, ("printf", r"%s\n0 passed, 0 failed, 1 skipped\n", words), counts.read_plain, family="portable"
        )
    if row.kind == "golden":
        return Part(row.name, golden, counts.read_cargo, environment=row.environment, dull=r"test .* \.\.\. ok$|\s*$")
    options = [
        "-p",
        "testing.in_force",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(SDK),
        "-c",
        str(SDK / "pyproject.toml"),
        *at_once(row),
    ]
    command = [str(PYTHON), "-m", "pytest", *options, *(str(SDK / "tests" / name) for name in files)]
    environment = row.environment | {"PYTHONPATH": str(ROOT / "scripts")}
    return Part(row.name, command, counts.read_pytest, environment=environment)


def at_once(row: Row) -> list[str]:
    """Rows of one thread have their tests run two at a time, each process held to the setting by itself."""
    is_single = row.environment["WISHED_THREADS"] == "1"
    return ["--numprocesses", "2", "--dist", "worksteal"] if is_single else []


def main(wanted: list[str]) -> int:
    """Run the rows wanted (by the beginning of their names), or all."""
    short = os.environ.get("SHORT", "0") != "0"
    chosen = list(short_rows()) if short else [row for threads in (1, 2) for row in rows(threads)]
    chosen = [row for row in chosen if not wanted or row.name.startswith(tuple(wanted))]
    golden = golden_binary() if any(row.kind == "golden" for row in chosen) else []
    files = SHORT_NUMERIC if short else NUMERIC
    parts = [part(row, golden, files) for row in chosen]
    return run_parts(parts, ROOT / "var/test/portable", ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
