"""Runs the acceptance list on each version of the stock package at once, on one host with a gateway: a table.

Exits non-zero unless every call passes on every version with both clients.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import house
from shared_host import SETTINGS, handed_on
from tiny_host import running_host

HERE = Path(__file__).resolve().parent
DEPS = HERE.parents[1] / ".deps"
FILES = ("acceptance", "hidden_states", "failures", "gateway")
KINDS = ("sync", "async")
Outcomes = dict[tuple[str, str], bool]


def main(wanted: list[str]) -> int:
    """Run the wanted versions, or all that have a lock file."""
    versions = wanted or sorted(path.stem.removeprefix("requirements-") for path in HERE.glob("requirements-*.lock"))
    with (
        running_host(SETTINGS) as host,
        house.running_gateway(host) as gateway,
        ThreadPoolExecutor(len(versions)) as pool,
    ):
        environment = os.environ | handed_on(host) | house.handed_on(gateway)
        outcomes = dict(zip(versions, pool.map(lambda version: run(version, environment), versions), strict=True))
    calls = list_calls()
    print_table(calls, outcomes)
    return 0 if all(found.get((name, kind)) for found in outcomes.values() for name in calls for kind in KINDS) else 1


def run(version: str, environment: dict[str, str]) -> Outcomes:
    """One version's outcomes by test and kind of client; what fails is printed as pytest has it."""
    with tempfile.TemporaryDirectory(prefix="blindtune-openai-") as folder:
        report = Path(folder, "report.xml")
        python = DEPS / f"openai-{version}/bin/python"
        done = subprocess.run(
            [python, "-m", "pytest", "--tb=short", f"--junitxml={report}"],
            cwd=HERE,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            print(f"openai {version}:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return read(report) if report.exists() else {}


def read(report: Path) -> Outcomes:
    """The outcomes in a report of pytest."""
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, kind = case.attrib["name"].rstrip("]").partition("[")
        outcomes[name, kind] = not {child.tag for child in case} & {"failure", "error", "skipped"}
    return outcomes


def list_calls() -> dict[str, str]:
    """Each test's words for the table, in the order of the files."""
    calls = {}
    for file in FILES:
        for node in ast.parse((HERE / f"{file}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                calls[node.name] = ast.get_docstring(node) or node.name
    return calls


def print_table(calls: dict[str, str], outcomes: dict[str, Outcomes]) -> None:
    """One row a call, one column a version: what the synchronous and the asynchronous client made of it."""
    wide = max(map(len, calls.values()))
    print("  ".join(["call".ljust(wide), *(f"openai {version} (sync/async)" for version in outcomes)]))
    for name, words in calls.items():
        cells = [
            "/".join("pass" if found.get((name, kind)) else "FAIL" for kind in KINDS).ljust(len(version) + 20)
            for version, found in outcomes.items()
        ]
        print("  ".join([words.ljust(wide), *cells]))
    passed = sum(found.get((name, kind), False) for found in outcomes.values() for name in calls for kind in KINDS)
    print(f"{passed} of {len(calls) * len(KINDS) * len(outcomes)} pass")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
