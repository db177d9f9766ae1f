"""Compares the table of error codes in docs/api.md with the codes of the host and their statuses.

Owns: how codes, their kinds and the kinds' statuses are found in the sources. Must never: write anything.
"""

from __future__ import annotations

import re
import sys
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODES = ROOT / "src/domain/error_code.rs"


def read(path: Path) -> str:
    """A source without its unit tests."""
    return path.read_text(encoding="utf-8").partition("#[cfg(test)]")[0]


def of_the_host() -> dict[str, set[int]]:
    """The statuses of each code: the enum says its kind, and `src/api/error.rs` the kind's status."""
    table = re.findall(r"Refusal::(\w+) => StatusCode::(\w+),", read(ROOT / "src/api/error.rs"))
    renamed = {
        "PAYLOAD_TOO_LARGE": "REQUEST_ENTITY_TOO_LARGE",
        "RANGE_NOT_SATISFIABLE": "REQUESTED_RANGE_NOT_SATISFIABLE",
    }
    statuses = {kind: HTTPStatus[renamed.get(name, name)].value for kind, name in table}
    codes: dict[str, set[int]] = {}
    for word, kind in re.findall(r'^    \w+ = "(\w+)": (\w+),$', read(CODES), flags=re.MULTILINE):
        codes.setdefault(word, set()).add(statuses[kind])
    return codes


def never_answered() -> set[str]:
    """Words of the enum that no other source names."""
    others = "".join(read(path) for path in sorted((ROOT / "src").rglob("*.rs")) if path != CODES)
    named = set(re.findall(r"ErrorCode::(\w+)", others))
    listed = re.findall(r'^    (\w+) = "(\w+)":', read(CODES), flags=re.MULTILINE)
    return {word for name, word in listed if name not in named}


def of_the_table() -> list[tuple[str, set[int]]]:
    """Code and statuses of each row of docs/api.md."""
    errors = (ROOT / "docs/api.md").read_text(encoding="utf-8").partition("\n## Errors\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", errors, flags=re.MULTILINE)
    return [(code, {int(status) for status in statuses.split(",")}) for code, statuses in rows]


def main() -> int:
    """0 when the table has every code of the host with its statuses, and nothing else."""
    host, rows = of_the_host(), of_the_table()
    table, told = dict(rows), [code for code, _ in rows]
    both = host.keys() & table.keys()
    wrong = {
        "in the code and not in docs/api.md": host.keys() - table.keys(),
        "in docs/api.md and not in the code": table.keys() - host.keys(),
        "with another status in docs/api.md": {code for code in both if host[code] != table[code]},
        "twice in docs/api.md": {code for code in told if told.count(code) > 1},
        "in the code and never answered": never_answered(),
    }
    for what, codes in wrong.items():
        if codes:
            print(f"{what}: {', '.join(sorted(codes))}", file=sys.stderr)
    if not host or any(wrong.values()):
        return 1
    print(f"{len(told)} error codes are as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
