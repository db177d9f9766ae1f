"""Asks the Python package index what is known against each version in the repository's lists.

Owns: the asking and the words. Must never: call a package audited of which the index says nothing; an index without
data on vulnerabilities answers as if there were none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def ask(lock: Path) -> list[dict[str, Any]] | str:
    """What pip-audit says of each package, or why it says nothing."""
    command = [Path(sys.prefix, "bin/pip-audit"), "--requirement", lock, "--no-deps", "--disable-pip"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["no answer"])[-1]
    return found


def verdict(name: str, answer: list[dict[str, Any]] | str) -> tuple[list[str], bool]:
    """Lines to print of a list, and whether something is known against one of its packages."""
    if isinstance(answer, str):
        return [f"{name}: not audited: {answer}"], False
    audited = [package for package in answer if "skip_reason" not in package]
    if not audited:
        return [f"{name}: not audited: the index has no data on vulnerabilities of its {len(answer)} packages"], False
    known = [(package, one) for package in audited for one in package["vulns"]]
    lines = [f"{name}: {package['name']} {package['version']}: {one['id']}" for package, one in known]
    lines.append(f"{name}: {len(audited)} of {len(answer)} packages audited, {len(known)} vulnerabilities known")
    return lines, bool(known)


def main() -> int:
    """1 when something is known against a package."""
    done = subprocess.run(["git", "ls-files", "*requirements*.lock"], cwd=ROOT, capture_output=True, text=True)
    found = False
    for name in done.stdout.split():
        lines, bad = verdict(name, ask(ROOT / name))
        print("\n".join(lines), flush=True)
        found = found or bad
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
