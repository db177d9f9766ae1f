"""There is one version: Cargo.toml's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import blindtune
import pytest

ROOT = Path(__file__).resolve().parents[2]


def first(name: str, pattern: str) -> str:
    """What the pattern's group finds first in a file."""
    found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{name} names no version"
    return found.group(1)


CARGO = first("Cargo.toml", r'^version = "(.+)"$')


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Cargo.lock", r'^name = "blindtune"\nversion = "(.+)"$'),
        ("openapi.yaml", r"^  version: (.+)$"),
        ("docs/tour.md", r'"status":"ok","version":"([^"]+)"'),
        ("sdk/python/src/blindtune/_version.py", r'^__version__ = "(.+)"$'),
    ],
)
def test_every_file_has_the_version_of_cargo_toml(name: str, pattern: str) -> None:
    assert first(name, pattern) == CARGO


def test_examples_of_the_contract_have_it() -> None:
    text = (ROOT / "src/api/examples.json").read_text(encoding="utf-8")
    assert set(re.findall(r'"version": "(\d[^"]*)"', text)) == {CARGO}
    json.loads(text)


def test_the_package_is_built_with_it() -> None:
    command = [sys.executable, "-m", "hatchling", "version"]
    done = subprocess.run(command, cwd=ROOT / "sdk/python", capture_output=True, text=True)
    assert done.stdout.strip() == CARGO == blindtune.__version__, done.stderr


def test_a_client_names_itself_with_it() -> None:
    with blindtune.Client("http://127.0.0.1:9", "a key") as client:
        assert client._http.headers["User-Agent"] == f"blindtune-python/{CARGO}"
