"""The reference can be built, says something of every public name, and would notice one that says nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "docs.py"


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_builds_and_shows_signatures(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, TOOL, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "blindtune" / "client" / "sync" / "jobs.html").read_text(encoding="utf-8")
    assert "LiveJob" in page and "training_file, suffix, seed" in page
    assert (tmp_path / "blindtune" / "client.html").exists() and not list(tmp_path.rglob("_generated*"))


@pytest.mark.parametrize(
    ("name", "source", "fails"),
    [
        ("said", 'def f() -> None:\n    """Words."""\n', ""),
        ("unsaid", "def f() -> None:\n    pass\n", "unsaid.f"),
        ("half_said", 'class C:\n    """Words."""\n\n    def m(self) -> None:\n        pass\n', "half_said.C.m"),
        ("mistyped", 'def f() -> \'Nowhere\':\n    """Words."""\n', "Nowhere"),
    ],
)
def test_a_name_without_words_or_an_unknown_type_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, fails: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f'"""Words."""\n\n{source}')
    monkeypatch.syspath_prepend(tmp_path)
    docs = tool()
    monkeypatch.setattr(docs, "PACKAGE", name)
    if fails:
        with pytest.raises((SystemExit, UserWarning), match=fails):
            docs.main(tmp_path / "out")
    else:
        docs.main(tmp_path / "out")
        assert (tmp_path / "out" / f"{name}.html").exists()
