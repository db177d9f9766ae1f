"""Pastes the tour of docs/tour.md, or of the file named, into a shell, block by block, and compares the answers with
those printed there.

Owns: the reading of the blocks between the tour's marks. Must never: start or stop a host; BLINDTUNE_BASE_URL and
BLINDTUNE_API_KEY (for docs/api.md BLINDTUNE_ADMIN_KEY and BLINDTUNE_OPERATOR_KEY) name one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "--- end of block ---"


def blocks(name: str) -> list[tuple[str, str]]:
    """Commands and the answers that are printed under them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    tour = text[text.index("<!-- tour") : text.index("<!-- end of tour")]
    found = re.findall(r"```sh\n(.*?)```\n```text\n(.*?)```", tour, flags=re.DOTALL)
    if not found or len(found) != tour.count("```sh"):
        sys.exit(f"{name}: every sh block of the tour needs a text block with its answers right under it")
    return found


def main() -> int:
    """0 when every answer is as printed."""
    name = sys.argv[1] if len(sys.argv) > 1 else "docs/tour.md"
    tour = blocks(name)
    script = "".join(f"{commands}echo '{MARK}'\n" for commands, _ in tour)
    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, timeout=120)
    answers = done.stdout.split(MARK + "\n")[:-1]
    wrong = [
        f"$ {commands}\n  {name} says:\n{expected}\n  the host says:\n{got}"
        for (commands, expected), got in zip(tour, answers, strict=False)
        if got != expected
    ]
    if wrong or len(answers) != len(tour):
        print("\n".join([*wrong, done.stderr]), file=sys.stderr)
        return 1
    print(f"{len(tour)} blocks of the tour in {name} answer as printed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
