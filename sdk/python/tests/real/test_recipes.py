"""The recipes run from top to bottom on a real host, and what the repository keeps of them is clean and has a picture."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import RealHost

RECIPES = Path(__file__).resolve().parents[4] / "examples" / "recipes"
NAMES = ("bank_tickets", "clinic_notes", "leaving_openai", "legal_clauses")
UNCLEAN = re.compile(r"/(home|work|tmp|root|usr|Users)/|eyJ[A-Za-z0-9_-]{8}|127\.0\.0\.1|Traceback")
"""Paths of a machine, keys, addresses with their port, and failures."""


def outputs(path: Path) -> str:
    """What the cells printed and showed but pictures, as text; every code cell was run, and one shows a picture."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)], "run in order, all of them"
    found = [output for cell in cells for output in cell["outputs"]]
    shown = [output["data"] for output in found if "data" in output]
    assert any("image/png" in data for data in shown), "a picture"
    assert all(output["output_type"] != "error" for output in found)
    pictures = [data.pop("image/png") for data in shown if "image/png" in data]
    assert all(len(picture) < 100_000 for picture in pictures), "small enough for a repository"
    return json.dumps(found)


def test_every_recipe_is_tested() -> None:
    assert tuple(sorted(path.stem for path in RECIPES.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_of_a_recipe_is_clean(name: str) -> None:
    assert not UNCLEAN.search(outputs(RECIPES / f"{name}.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs(hosts: list[RealHost], tmp_path: Path, name: str) -> None:
    copy = tmp_path / f"{name}.ipynb"
    copy.write_bytes((RECIPES / copy.name).read_bytes())
    environment = os.environ | {
        "BLINDTUNE_BASE_URL": hosts[0].url,
        "BLINDTUNE_API_KEY": hosts[0].api_key,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, RECIPES / "run.py", copy]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = outputs(copy)
    assert not UNCLEAN.search(found) and hosts[0].api_key not in found
