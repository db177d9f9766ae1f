"""Compares openapi.yaml and the error codes with those of the last release, and asks for a note of what breaks clients.

`--renew`, which is `make contract-baseline`, makes them the last release's.

Owns: tests/contract/released. Must never: write there once the version has its tag, or what is not yet a release.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import error_codes
import yaml
from contract.notes import is_told, notes, refusal
from contract.operations import Change, changes

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "openapi.yaml"
RELEASED = ROOT / "tests/contract/released"
BASELINE = RELEASED / "openapi.yaml"
CODES = RELEASED / "error_codes.json"
CHANGELOG = ROOT / "CHANGELOG.md"


def read(path: Path) -> dict[str, Any]:
    """A contract."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return document


def todays_codes() -> dict[str, list[int]]:
    """The statuses of each error code."""
    return {code: sorted(statuses) for code, statuses in error_codes.of_the_table()}


def of_codes(old: Mapping[str, list[int]], new: Mapping[str, list[int]]) -> list[Change]:
    """Codes that programs go by and that are gone, or come with another status."""
    gone = [Change(f"error code `{code}`", "is gone", frozenset({code})) for code in old if code not in new]
    other = [
        Change(f"error code `{code}`", f"came with status {old[code]}, comes with {new[code]}", frozenset({code}))
        for code in old
        if code in new and set(new[code]) - set(old[code])
    ]
    return gone + other


def untold() -> tuple[list[Change], str]:
    """What breaks clients of the last release and no note tells, and that release's version."""
    old, told = read(BASELINE), notes(CHANGELOG.read_text(encoding="utf-8"))
    found = changes(old, read(CONTRACT)) + of_codes(json.loads(CODES.read_text(encoding="utf-8")), todays_codes())
    return [change for change in found if not is_told(change, told)], str(old["info"]["version"])


def why_not(version: str, changelog: str, tags: str) -> str:
    """Why this tree's contract cannot be the one of the last release; empty where it can."""
    if f"\n## {version}" not in changelog:
        return f"CHANGELOG.md has no section {version}: turn Unreleased into it first"
    if f"v{version}" in tags.split():
        return (
            f"{version} is released (tag v{version}): its contract does not change any more; set the next version first"
        )
    return ""


def renew() -> int:
    """Keep today's contract and error codes as the last release's."""
    version = str(read(CONTRACT)["info"]["version"])
    listed = subprocess.run(["git", "tag", "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    reason = why_not(version, CHANGELOG.read_text(encoding="utf-8"), listed.stdout)
    if reason:
        print(reason, file=sys.stderr)
        return 1
    RELEASED.mkdir(exist_ok=True)
    shutil.copyfile(CONTRACT, BASELINE)
    CODES.write_text(json.dumps(todays_codes(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{RELEASED.relative_to(ROOT)} has the contract of {version}")
    return 0


def main() -> int:
    """0 when every change that breaks clients has its note."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="keep today's contract as the last release's")
    if parser.parse_args().renew:
        return renew()
    told = refusal(*untold())
    print(
        told or "openapi.yaml breaks no client of the last release without a note",
        file=sys.stderr if told else sys.stdout,
    )
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
