"""Asks the registry of npm what is known against redocly's packages.

Owns: the asking and the words. Must never: call them audited where the registry does not answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def verdict(answer: dict[str, Any]) -> tuple[str, bool]:
    """The line to print, and whether something serious is known."""
    counts = answer.get("metadata", {}).get("vulnerabilities")
    if counts is None:
        return f"scripts/api-tools: not audited: {answer.get('message', 'the registry does not answer')}", False
    serious = counts.get("high", 0) + counts.get("critical", 0)
    return (
        f"scripts/api-tools: {counts['total']} vulnerabilities known, {serious} of them high or critical",
        serious > 0,
    )


def main() -> int:
    """1 when something serious is known."""
    try:
        done = subprocess.run(
            ["npm", "audit", "--json"], cwd=ROOT / "scripts/api-tools", capture_output=True, text=True
        )
        line, bad = verdict(json.loads(done.stdout))
    except (OSError, ValueError):
        line, bad = "scripts/api-tools: not audited: no npm on PATH, or no answer from it", False
    print(line)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
