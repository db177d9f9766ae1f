"""The README, the tour and the guides do what they say, and the guide names every error code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import MODEL, RealHost
from .test_training import notes

ROOT = Path(__file__).resolve().parents[4]
SCRIPTS = ROOT / "scripts"


def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=180)


def test_the_tour_answers_as_printed(hosts: list[RealHost]) -> None:
    key = hosts[0].make_key("--project", "tour")
    done = run("check_tour.py", BLINDTUNE_BASE_URL=hosts[0].url, BLINDTUNE_API_KEY=key)
    assert done.returncode == 0, done.stderr


def test_the_stock_client_trains_as_the_guide_says(
    hosts: list[RealHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    guide = (ROOT / "docs/leaving-openai.md").read_text(encoding="utf-8")
    section = guide.partition("\n## Straight to a host")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("notes.jsonl").write_text('{"text": "the pain is gone"}\n{"text": "the pain is worse"}\n')
    names: dict[str, Any] = {"key": hosts[0].make_key(), "labels": np.array([1, 0])}
    exec(compile(code.replace("http://127.0.0.1:8080", hosts[0].url), "leaving-openai.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"New fine-tuned model created: {names['model']}" and lines[-1] == "positive"


def test_the_readme_trains_as_it_says(
    hosts: list[RealHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLINDTUNE_API_KEY", hosts[0].make_key())
    monkeypatch.setenv("BLINDTUNE_FEATURES", str(tmp_path / "features"))
    for name, seed in (("train.tsv", 1), ("dev.tsv", 2)):
        rows = notes(120, seed)
        lines = [f"{text}\t{rows.label_names[label]}" for text, label in zip(rows.texts, rows.labels, strict=True)]
        Path(name).write_text("\n".join(["text\tlabel", *lines]))
    code = code.replace("http://127.0.0.1:8080", hosts[0].url).replace('"all-MiniLM-L6-v2"', f'"{MODEL}"')
    exec(compile(code, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "tier" in shown


def test_the_guide_answers_as_printed(hosts: list[RealHost]) -> None:
    keys = {
        f"BLINDTUNE_{scope.upper()}_KEY": hosts[0].make_key("--project", "guide", "--scopes", scope)
        for scope in ("admin", "operator")
    }
    done = run("check_tour.py", "docs/api.md", BLINDTUNE_BASE_URL=hosts[0].url, **keys)
    assert done.returncode == 0, done.stderr


def test_the_guide_names_every_error_code() -> None:
    done = run("error_codes.py")
    assert done.returncode == 0, done.stderr
