"""A real host with a tiny backbone, for Python tests that must not need the SDK. Standard library only.

Owns: the state folder, the process (ended by its own pid), keys. Never: what is asked of the host.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = "tiny"
SLASHED = "org/tiny"
WIDTH = 16
CASE = ROOT / "tests/golden/data/bert-gelu-cls"

# Hosts and tests share the cores, and what a test run stores is thrown away.
SETTINGS = {
    "BLINDTUNE_DATABASE__DURABLE": "false",
    "BLINDTUNE_ENGINE__THREADS": "1",
    "BLINDTUNE_LIMITS__RUNNING_PER_PROJECT": "64",
    "OMP_WAIT_POLICY": "passive",
}


class TinyHost:
    """One host on a state folder of its own; can be ended in order and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        named = os.environ.get("BLINDTUNE_BIN")
        self.binary = Path(named) if named else ROOT / "target/debug/blindtuned"
        self.state, self.log, self.settings = folder / "state", folder / "host.log", SETTINGS | dict(settings)
        self.process: subprocess.Popen[str] | None = None
        self.folder, self.port, self.url = folder, 0, ""

    def add_models(self) -> None:
        """The tiny backbone, under both names."""
        write_model(self.folder / MODEL)
        for name in (MODEL, SLASHED):
            self.command("models", "add", str(self.folder / MODEL), "--name", name)

    def key(self, project: str, *flags: str) -> str:
        """A new key for a project."""
        return self.command("keys", "create", "--project", project, *flags)

    def command(self, *words: str) -> str:
        """The last line that the command line prints."""
        done = subprocess.run(
            [self.binary, *words, "--state-dir", self.state],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | self.settings,
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout.strip().splitlines() or [""])[-1]

    def start(self) -> None:
        """Start, on the port of before where there was one, and wait until it listens."""
        words = [self.binary, "serve", "--port", str(self.port), "--state-dir", self.state]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | self.settings
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"{line}\n{self.log.read_text()}"
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rsplit(":", 1)[1])

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.terminate()
            assert self.process.wait(60) == 0, self.log.read_text()


@contextmanager
def running_host(settings: Mapping[str, str] | None = None) -> Iterator[TinyHost]:
    """A started host; it and its folder are gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="blindtune-tests-") as folder,
        serving(TinyHost(Path(folder), settings or {})) as host,
    ):
        yield host


@contextmanager
def serving(host: TinyHost) -> Iterator[TinyHost]:
    """The host, started with its models; stopped afterwards."""
    host.add_models()
    host.start()
    try:
        yield host
    finally:
        host.stop()


def write_model(folder: Path) -> None:
    """A golden case's backbone, width 16, at most 40 tokens, with a tokenizer."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(CASE / name, folder / name)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()), encoding="utf-8")


def tokenizer() -> dict[str, object]:
    """Words `w4` to `w59`, in BERT's frame: `w5 w6` is `[2, 5, 6, 3]`. The same as in `world.rs`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: place for place, word in enumerate(special + [f"w{word}" for word in range(4, 60)])}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    single = [_mark("[CLS]", 0), _part("A", 0), _mark("[SEP]", 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": place, "content": word, **flags} for place, word in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "decoder": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, _part("B", 1), _mark("[SEP]", 1)],
            "special_tokens": {
                word: {"id": word, "ids": [vocabulary[word]], "tokens": [word]} for word in ("[CLS]", "[SEP]")
            },
        },
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }


def _mark(word: str, kind: int) -> dict[str, object]:
    return {"SpecialToken": {"id": word, "type_id": kind}}


def _part(name: str, kind: int) -> dict[str, object]:
    return {"Sequence": {"id": name, "type_id": kind}}
