"""The generated core is the contract's."""

from __future__ import annotations

import filecmp
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
CONTRACT = PACKAGE.parent.parent / "openapi.yaml"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the generator needs Python 3.11")
@pytest.mark.skipif(not CONTRACT.exists(), reason="no openapi.yaml")
@pytest.mark.skipif(importlib.util.find_spec("openapi_python_client") is None, reason="no generator")
def test_generated_core_is_up_to_date(tmp_path: Path) -> None:
    fresh, kept = tmp_path / "_generated", PACKAGE / "src/blindtune/_generated"
    command = [sys.executable, PACKAGE / "tools/generate.py", CONTRACT, fresh]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = sorted(str(path.relative_to(fresh)) for path in fresh.rglob("*.py"))
    assert names == sorted(str(path.relative_to(kept)) for path in kept.rglob("*.py"))
    _, different, unread = filecmp.cmpfiles(fresh, kept, names, shallow=False)
    assert not different and not unread, f"run tools/generate.py: {different + unread} are not as openapi.yaml has them"
