"""Compares the table of error codes in docs/api.md with the code that answers them.

Owns: how a code is found in the sources. Must never: write anything.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = r"invalid|unprocessable|conflict|busy|unavailable|refuse|not_now"
MADE = re.compile(rf'\b(?:{KINDS})\(\s*"(\w+)"|\bnew\(\s*(?:StatusCode|Refusal)::\w+,\s*"(\w+)"')
# Said by `blindtuned models add`, never over HTTP.
OF_THE_OPERATOR = {"folder_missing"}


def main() -> int:
    """0 when every code is in the table, and every code of the table is in the sources."""
    texts = [
        path.read_text(encoding="utf-8").partition("#[cfg(test)]")[0]
        for folder in ("src/api", "src/service")
        for path in sorted((ROOT / folder).rglob("*.rs"))
    ]
    made = {first or second for text in texts for first, second in MADE.findall(text)} - OF_THE_OPERATOR
    words = {word for text in texts for word in re.findall(r'"(\w+)"', text)}
    errors = (ROOT / "docs/api.md").read_text(encoding="utf-8").partition("\n## Errors\n")[2]
    told = re.findall(r"^\| `(\w+)` \| [\d, ]+ \|", errors, flags=re.MULTILINE)
    wrong = {
        "in the code and not in docs/api.md": made - set(told),
        "in docs/api.md and not in the code": set(told) - words,
        "twice in docs/api.md": {code for code in told if told.count(code) > 1},
    }
    for what, codes in wrong.items():
        if codes:
            print(f"{what}: {', '.join(sorted(codes))}", file=sys.stderr)
    if not made or any(wrong.values()):
        return 1
    print(f"{len(told)} error codes are as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
