"""Runs the parts of the tests, whatever becomes of each, and ends with a table.

Parts run one after the other; those that keep one core busy at most run aside, in turn too, beside the rest.

Owns: the order, the logs in var/test, the processes of the parts, the table and the exit code. Must never: let a part
hide another, count a part that did not run as passed, or print after the closing line.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from . import expected_skips
from .counts import Counts, Skip

Reader = Callable[[Path, str], "Counts | None"]
PATIENCE_S = 10.0
"""How long a part has to stop by itself after a signal: its hosts end their Postgres in that time."""


@dataclass(frozen=True)
class Part:
    """A command and how its output is counted."""

    name: str
    command: Sequence[str]
    reader: Reader | None = None
    """None: the command is one test, and its exit code says how that went."""
    needs: str | None = None
    """A part without whose success this one cannot run."""
    dull: str | None = None
    """Lines that go to the log only."""
    environment: Mapping[str, str] = field(default_factory=dict)
    family: str | None = None
    """Under which name its expected skips are listed; its own by default."""
    aside: bool = False
    """Runs beside the other parts; what it prints is shown when it ends."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    name: str
    counts: Counts
    seconds: float
    notes: tuple[str, ...] = ()


class Interrupted(Exception):
    """Somebody wants it to stop."""


def run_parts(parts: Sequence[Part], folder: Path, root: Path) -> int:
    """Run all; the exit code. The last line on the screen is `N passed, M failed, K skipped`."""
    folder.mkdir(parents=True, exist_ok=True)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    runner = Runner(folder, root)
    try:
        runner.run(parts)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    outcomes = [runner.outcomes[part.name] for part in parts]
    print(table(outcomes), flush=True)
    return 1 if any(outcome.counts.failed for outcome in outcomes) else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


class Runner:
    """The parts of one run: what became of them, and what runs aside just now."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self.outcomes: dict[str, Outcome] = {}
        self._interrupted = threading.Event()
        self._aside: subprocess.Popen[bytes] | None = None

    def run(self, parts: Sequence[Part]) -> None:
        """Run all of them. An interruption, which reaches this thread alone, ends what runs and starts no other."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            aside: list[Future[None]] = []
            for part in parts:
                if part.aside:
                    aside.append(pool.submit(self._run_part, part))
                else:
                    self._run_part(part)
            for future in aside:
                self._wait(future)

    def _wait(self, future: Future[None]) -> None:
        try:
            future.result()
        except Interrupted:
            self._stop()
            future.result()

    def _stop(self) -> None:
        """Let nothing start any more, and end what runs aside."""
        self._interrupted.set()
        if self._aside is not None:
            _end(self._aside)

    def _run_part(self, part: Part) -> None:
        try:
            self.outcomes[part.name] = self._outcome(part)
        except Interrupted:
            self._stop()
            self.outcomes[part.name] = Outcome(part.name, Counts(failed=1), 0.0, ("interrupted",))

    def _outcome(self, part: Part) -> Outcome:
        """Run one part, or say why it is not run, which counts as a failure."""
        if self._interrupted.is_set():
            return Outcome(part.name, Counts(failed=1), 0.0, ("not run: interrupted before",))
        needed = self.outcomes.get(part.needs or "")
        if needed is not None and needed.counts.failed:
            return Outcome(part.name, Counts(failed=1), 0.0, (f"not run: {part.needs} failed",))
        print(f"\n[{part.name}] {shlex.join(part.command)}{' (aside)' if part.aside else ''}", flush=True)
        log, report = self.folder / f"{part.name}.log", self.folder / f"{part.name}.xml"
        report.unlink(missing_ok=True)
        start, notes = time.monotonic(), []
        try:
            code = self._exit_code(part, log, report)
        except Interrupted:
            self._stop()
            code = 130
        except OSError as error:
            code, notes = 127, [f"could not start: {error}"]
            log.write_text(f"{error}\n", encoding="utf-8")
        notes += ["interrupted"] if code and self._interrupted.is_set() else []
        seconds = time.monotonic() - start
        read = part.reader or (lambda *_: Counts(passed=int(code == 0)))
        return judge(part, code, read(report, log.read_text("utf-8", "replace")), seconds, notes)

    def _exit_code(self, part: Part, log: Path, report: Path) -> int:
        """Run a part, whose output is kept, and shown as it comes or, of one aside, at its end."""
        with log.open("wb") as kept_log:
            child = _start(part, report, self.root)
            if part.aside:
                self._aside = child
            try:
                _copy(child, kept_log, part)
                return child.wait()
            finally:
                _end(child)


def _start(part: Part, report: Path, root: Path) -> subprocess.Popen[bytes]:
    # A make above must not pass its jobs on to the makes of the parts.
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    options = f"{kept.get('PYTEST_ADDOPTS', '')} --junitxml={shlex.quote(str(report))}".strip()
    return subprocess.Popen(
        part.command,
        cwd=root,
        env=kept | {"PYTEST_ADDOPTS": options, "PYTHONUNBUFFERED": "1"} | dict(part.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that all of it can be stopped, and nothing else
    )


def _copy(child: subprocess.Popen[bytes], log: BinaryIO, part: Part) -> None:
    """Show and keep what a child prints: dots as they come, or whole lines where some are not shown."""
    assert child.stdout is not None
    descriptor, waiting = child.stdout.fileno(), []
    chunks = child.stdout if part.dull else iter(lambda: os.read(descriptor, 65536), b"")
    for chunk in chunks:
        log.write(chunk)
        if part.dull and re.match(part.dull, chunk.decode("utf-8", "replace")):
            continue
        if part.aside:
            waiting.append(chunk)
        else:
            _show(chunk)
    if part.aside:
        _show(b"".join([f"\n[{part.name}] ended:\n".encode(), *waiting]))


def _show(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End what is left of a child: asked, asked again, then killed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired, Interrupted):  # asked once more, it takes the next step at once
            child.wait(PATIENCE_S)
    if child.stdout is not None:
        child.stdout.close()


def judge(part: Part, code: int, counts: Counts | None, seconds: float, notes: Sequence[str]) -> Outcome:
    """A part's outcome: unexpected skips are failures, and so is an exit code that its counts do not explain."""
    known, words = counts or Counts(), list(notes)
    failed, right = known.failed, []
    words += [f"failed: {name}" for name in known.failures[:20]]
    for skip in known.skips:
        if expected_skips.why(part.family or part.name, skip) is None:
            failed += 1
            words.append(f"unexpected skip: {skip.test}: {skip.reason}")
        else:
            right.append(skip)
    if code != 0 and failed == 0:
        failed = 1
        words += [] if notes else [f"exit code {code}"]
    elif code == 0 and known.passed + failed + len(right) == 0:
        failed = 1
        words.append("it ran no test")
    return Outcome(part.name, Counts(known.passed, failed, tuple(right)), seconds, tuple(words))


def table(outcomes: Sequence[Outcome]) -> str:
    """Skips with their reasons, what went wrong, a row a part, and the sum alone on the last line."""
    wide = max([4, *(len(outcome.name) for outcome in outcomes)])
    lines = ["", *_skip_lines(outcomes)]
    lines += [f"{outcome.name}: {note}" for outcome in outcomes for note in outcome.notes]
    lines.append(f"{'part':<{wide}}  passed  failed  skipped  seconds")
    for outcome in outcomes:
        count = outcome.counts
        row = f"{count.passed:>6}  {count.failed:>6}  {len(count.skips):>7}  {outcome.seconds:>7.0f}"
        lines.append(f"{outcome.name:<{wide}}  {row}")
    passed, failed = (sum(getattr(outcome.counts, name) for outcome in outcomes) for name in ("passed", "failed"))
    skipped = sum(len(outcome.counts.skips) for outcome in outcomes)
    lines.append(f"{passed} passed, {failed} failed, {skipped} skipped")
    return "\n".join(lines)


def _skip_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """`skipped: TEST: REASON`, in the form that counts.read_plain reads."""
    skips: list[tuple[str, Skip]] = [(outcome.name, skip) for outcome in outcomes for skip in outcome.counts.skips]
    return [f"skipped: {name} {skip.test.replace(': ', ' ')}: {skip.reason}" for name, skip in skips]
