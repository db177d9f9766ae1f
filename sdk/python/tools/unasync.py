"""Makes `client/sync` of `client/aio`: `python tools/unasync.py`, or with `--check` only says what is stale.

Words of asyncio are replaced, token by token; strings lose the `Async` of names and keep their own words but for
PHRASES. A comment `# sync: ...` behind a line stands for it in the twin. What is left of asyncio, and a replacement
that nothing needs, fail the run.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SOURCE = HERE / "src/blindtune/client/aio"
TARGET = HERE / "src/blindtune/client/sync"
NO_TWIN = {"starting.py"}

DROPPED = {"async", "await"}
WORDS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "aiter_sse": "iter_sse",
    "anext": "next",
    "aread": "read",
    "asyncio": "time",
    "AsyncByteStream": "SyncByteStream",
    "handle_async_request": "handle_request",
    "starting": "live_job",
    "Starting": "LiveJob",
}
PHRASES = {
    "The client for asyncio, and the source of the one that blocks: `make sdk` writes sync/ from here.": (
        "The client that blocks."
    ),
    "One host, one key, for asyncio. Lists and events are for `async for`; files on disk are read without awaiting.": (
        "One host, one key. Threads may share it."
    ),
    "A list for `async for` that": "A list that",
    "an `async with`": "a `with`",
    "The first page. One that has to be awaited is shown once it was asked for.": "The first page.",
}
INSTEAD = re.compile(r"^( *)\S.*  # sync: (.*)$", re.MULTILINE)
PREFIX = re.compile(r"\bAsync(?=[A-Z])")
LEFT = re.compile(r"[Aa]sync|[Aa]wait|__a[a-z]+__")


def main(check: bool) -> None:
    """Write all twins, or name those that are not as they would be written."""
    used: set[str] = set()
    stale = []
    twins = {path.name: twin(path, used) for path in sorted(SOURCE.glob("*.py")) if path.name not in NO_TWIN}
    unused = {*DROPPED, *WORDS, *PHRASES} - used
    if unused:
        sys.exit(f"nothing in {SOURCE.name}/ has these: {sorted(unused)}")
    for name in sorted(twins.keys() | {path.name for path in TARGET.glob("*.py")}):
        path = TARGET / name
        if not path.exists() or name not in twins or path.read_text(encoding="utf-8") != twins[name]:
            stale.append(name)
        if not check and name in twins:
            TARGET.mkdir(exist_ok=True)
            path.write_text(twins[name], encoding="utf-8")
        elif not check:
            path.unlink()
    if check and stale:
        sys.exit(f"run make sdk: client/sync is not what client/aio makes of it: {', '.join(stale)}")


def twin(path: Path, used: set[str]) -> str:
    """What a module is without asyncio. Every replacement that it needed is added to `used`."""
    source = INSTEAD.sub(r"\1\2", path.read_text(encoding="utf-8"))
    made = "".join(_pieces(source, used))
    left = [line for line in made.splitlines() if LEFT.search(line)]
    if left:
        sys.exit(f"{path}: there is no word for what is left of asyncio in\n" + "\n".join(left))
    opening, closing, rest = made.partition('"""\n')
    note = f"\n# Made from ../aio/{path.name} by tools/unasync.py: `make sdk`.\n"
    return _formatted(opening + closing + note + rest, TARGET / path.name)


def _pieces(source: str, used: set[str]) -> Iterator[str]:
    """The source, word by word."""
    lines = source.splitlines(keepends=True)
    row, column = 1, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.NAME, tokenize.STRING):
            continue
        yield _between(lines, (row, column), token.start)
        row, column = token.end
        if token.string in DROPPED:
            used.add(token.string)
            column += 1  # and the space behind it
        elif token.type == tokenize.STRING:
            yield _string(token.string, used)
        else:
            used |= {token.string} & WORDS.keys()
            yield WORDS.get(token.string) or PREFIX.sub("", token.string)
    yield _between(lines, (row, column), (len(lines) + 1, 0))


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """What stands between two places."""
    (row, column), (last, stop) = start, end
    if row == last:
        return lines[row - 1][column:stop]
    tail = lines[last - 1][:stop] if last <= len(lines) else ""
    return "".join([lines[row - 1][column:] if row <= len(lines) else "", *lines[row : last - 1], tail])


def _string(text: str, used: set[str]) -> str:
    for phrase, instead in PHRASES.items():
        if phrase in text:
            used.add(phrase)
            text = text.replace(phrase, instead)
    return PREFIX.sub("", text)


def _formatted(text: str, path: Path) -> str:
    """As ruff has it: shorter lines are joined, and imports sorted anew."""
    common = ["--quiet", "--config", str(HERE / "pyproject.toml"), "--stdin-filename", str(path), "-"]
    for command in (["check", "--fix", "--select", "I"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, *common]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
