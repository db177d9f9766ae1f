"""A label holder's desk for the board's tests: tables with labels, runs that the SDK trained on a real host, a board.

The browser's environment has no SDK: the one of the SDK's tests runs it. Owns: files and processes, ended by their own
pid. Never: what a page should show.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tiny_host import MODEL, ROOT

PYTHON = ROOT / ".deps/venv/bin/python"
MARKUP = "<img src=x onerror='window.hit = 1'>"
CANARY = "canary-7f3a9c"
"""The two labels. Neither may be in a request to a host."""
TEXT_MARKUP = "<b>w9</b>"
"""In some texts."""


@dataclass(frozen=True)
class Desk:
    """A folder with tables and runs, and how the SDK is called there."""

    folder: Path
    host: str
    key: str

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def environment(self) -> Mapping[str, str]:
        own = {"PYTHONPATH": str(ROOT / "sdk/python/src"), "BLINDTUNE_FEATURES": str(self.folder / "features")}
        own |= {"BLINDTUNE_API_KEY": self.key, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return {**os.environ, **own}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command, under way."""
        command = [PYTHON, "-m", "blindtune.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def train(self, name: str, *words: str) -> subprocess.Popen[str]:
        """A training on the desk's tables, under way."""
        return self.start(*self._training(name, words))

    def train_all(self, runs: Mapping[str, Sequence[str]]) -> None:
        """The same of several, one after another in one process, done."""
        commands = [self._training(name, words) for name, words in runs.items()]
        self.python(f"from blindtune.cli import main\nassert all(main(words) == 0 for words in {commands!r})")

    def _training(self, name: str, words: Sequence[str]) -> list[str]:
        tables = ["--data", "train.csv", "--dev", "dev.csv", "--model", MODEL, "--host", self.host]
        return ["train", *tables, "--run", f"runs/{name}", "--quiet", "--effort", "quick", *words]

    def python(self, script: str) -> str:
        """What a script in the SDK's environment prints."""
        done = subprocess.run(
            [PYTHON, "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write_tables(self) -> None:
        """Labels that follow from the words; some texts hold markup. In `both` each text has either label: any run
        is wrong about half of its rows."""
        drawn = random.Random(5)
        for name, count in (("train", 96), ("dev", 60)):
            self._write(name, [_row(drawn, markup=number % 2 == 1) for number in range(count)])
        texts = [_row(drawn, markup=True)[0] for _ in range(10)]
        self._write("both", [(text, label) for text in texts for label in (MARKUP, CANARY)])

    def _write(self, name: str, rows: Sequence[tuple[str, str]]) -> None:
        with (self.folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])


def _row(drawn: random.Random, *, markup: bool) -> tuple[str, str]:
    label = drawn.choice([MARKUP, CANARY])
    words = drawn.choices(range(5, 30) if label == CANARY else range(22, 50), k=drawn.randint(3, 8))
    text = " ".join(f"w{word}" for word in words)
    return (f"{text} {TEXT_MARKUP}" if markup else text), label


@contextmanager
def board_on(desk: Desk, runs: Path, *words: str) -> Iterator[str]:
    """The address that `blindtune board` prints; it is over afterwards."""
    process = desk.start("board", str(runs), "--no-open", "--json", *words)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0 and "Traceback" not in err, err
