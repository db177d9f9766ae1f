"""The README and the API's guide do what they say, and the guide names every error code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import RealHost

ROOT = Path(__file__).resolve().parents[4]
SCRIPTS = ROOT / "scripts"


def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=180)


def test_the_tour_answers_as_printed(hosts: list[RealHost]) -> None:
    key = hosts[0].make_key("--project", "tour")
    done = run("check_readme.py", BLINDTUNE_BASE_URL=hosts[0].url, BLINDTUNE_API_KEY=key)
    assert done.returncode == 0, done.stderr


def test_the_stock_client_trains_as_the_readme_says(
    hosts: list[RealHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    section = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Coming from OpenAI")[2].partition("\n## ")[0]
    )
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("notes.jsonl").write_text('{"text": "the pain is gone"}\n{"text": "the pain is worse"}\n')
    names: dict[str, Any] = {"key": hosts[0].make_key(), "labels": np.array([1, 0])}
    exec(compile(code.replace("http://127.0.0.1:8080", hosts[0].url), "README.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"New fine-tuned model created: {names['model']}" and lines[-1] == "positive"


def test_the_guide_answers_as_printed(hosts: list[RealHost]) -> None:
    keys = {
        f"BLINDTUNE_{scope.upper()}_KEY": hosts[0].make_key("--project", "guide", "--scopes", scope)
        for scope in ("admin", "operator")
    }
    done = run("check_readme.py", "docs/api.md", BLINDTUNE_BASE_URL=hosts[0].url, **keys)
    assert done.returncode == 0, done.stderr


def test_the_guide_names_every_error_code() -> None:
    done = run("error_codes.py")
    assert done.returncode == 0, done.stderr
