"""Pastes the README's tour into a shell, block by block, and compares the answers with those printed there.

Owns: the reading of the blocks between the tour's marks. Must never: start or stop a host; BLINDTUNE_BASE_URL and
BLINDTUNE_API_KEY name one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
MARK = "--- end of block ---"


def blocks(text: str) -> list[tuple[str, str]]:
    """Commands and the answers that are printed under them."""
    tour = text[text.index("<!-- tour") : text.index("<!-- end of tour")]
    found = re.findall(r"```sh\n(.*?)```\n```text\n(.*?)```", tour, flags=re.DOTALL)
    if not found or len(found) != tour.count("```sh"):
        sys.exit("README.md: every sh block of the tour needs a text block with its answers right under it")
    return found


def main() -> int:
    """0 when every answer is as printed."""
    tour = blocks(README.read_text(encoding="utf-8"))
    script = "".join(f"{commands}echo '{MARK}'\n" for commands, _ in tour)
    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, timeout=120)
    answers = done.stdout.split(MARK + "\n")[:-1]
    wrong = [
        f"$ {commands}\n  README says:\n{expected}\n  the host says:\n{got}"
        for (commands, expected), got in zip(tour, answers, strict=False)
        if got != expected
    ]
    if wrong or len(answers) != len(tour):
        print("\n".join([*wrong, done.stderr]), file=sys.stderr)
        return 1
    print(f"{len(tour)} blocks of the README's tour answer as printed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
