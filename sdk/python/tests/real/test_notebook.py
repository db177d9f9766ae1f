"""The notebook's code cells run from top to bottom against real hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import MODEL, RealHost

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def code_cells(path: Path) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


def test_the_cells_run_in_order(hosts: list[RealHost], tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(code_cells(EXAMPLES / "private_finetuning.ipynb")), encoding="utf-8")
    environment = os.environ | {
        "BLINDTUNE_BASE_URL": ",".join(host.url for host in hosts),
        "BLINDTUNE_API_KEY": ",".join(host.api_key for host in hosts),
        "BLINDTUNE_MODEL": MODEL,
        "BLINDTUNE_ROWS": "80",
        "BLINDTUNE_STEPS": "4",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]),
    }
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "4 steps" in done.stdout and "private.safetensors.enc" in done.stdout
