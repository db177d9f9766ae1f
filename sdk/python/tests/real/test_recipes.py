"""Notebooks run from top to bottom on a real host, and what the repository keeps of them is what such a run shows."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import RealHost

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
RECIPES = EXAMPLES / "recipes"
NAMES = ("bank_tickets", "clinic_notes", "leaving_openai", "legal_clauses")
KEPT = [EXAMPLES / "private_finetuning.ipynb", *(RECIPES / f"{name}.ipynb" for name in NAMES)]
UNCLEAN = re.compile(
    r"/(home|work|tmp|root|usr|Users|var|opt)/|https?://|localhost|\d+\.\d+\.\d+\.\d+|:\d{4,5}\b"
    r"|eyJ[\w-]{8}|\bpypi\b|site-packages|req(uest)? [0-9a-f]{8}-|Traceback"
)
"""Paths and addresses of a machine, keys, registries, and what a failure prints."""
RIGHT = re.compile(r"right: (\d+) of (\d+); with the commonest answer for every \w+: (\d+) of \2")


def code_cells(path: Path) -> list[dict[str, Any]]:
    """The cells that ran, in order, with what they showed."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells: list[dict[str, Any]] = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)], "run in order, all of them"
    return cells


def shown(cells: list[dict[str, Any]]) -> str:
    """What all cells showed, without the pictures, as a reader sees it."""
    found = [output for cell in cells for output in cell["outputs"]]
    texts = [output.get("text") or output["data"].get("text/plain", "") for output in found]
    return "\n".join("".join(text) for text in texts)


def kinds(cells: list[dict[str, Any]]) -> list[set[str]]:
    """Of each cell, what sorts of output it has."""

    def of(output: dict[str, Any]) -> list[str]:
        return [*output.get("data", ()), *(output[key] for key in ("name",) if key in output)]

    return [{kind for output in cell["outputs"] for kind in of(output)} for cell in cells]


def check_clean(cells: list[dict[str, Any]]) -> None:
    """No failure, no trace of the machine that it ran on, and a picture or more, small enough for a repository."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    assert not (found := UNCLEAN.search(shown(cells))), found
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    assert pictures and all(len(picture) < 100_000 for picture in pictures)


def check_verdict(cells: list[dict[str, Any]]) -> None:
    """Better than the commonest answer by four standard errors of that, and the host was sent nothing of a label."""
    text = shown(cells)
    found = RIGHT.search(text)
    assert found is not None, text
    right, rows, commonest = map(int, found.groups())
    chance = commonest / rows
    assert right > commonest + 4 * math.sqrt(rows * chance * (1 - chance)), found[0]
    assert "blind: nothing that a host receives depends on a label" in text


def test_every_recipe_is_tested() -> None:
    assert tuple(sorted(path.stem for path in RECIPES.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_what_is_kept_of_a_notebook_is_clean(path: Path) -> None:
    check_clean(code_cells(path))


@pytest.mark.parametrize("bad", ["/tmp/x/y", "http://host.example", "127.0.0.1", "port:8080", "eyJ0eXAiOiJmdC"])
def test_what_names_a_machine_is_found(bad: str) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": ["fine\n", f"see {bad}\n"]}
    with pytest.raises(AssertionError, match=r"re\.Match"):
        check_clean([{"outputs": [output]}])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_and_shows_what_is_kept_of_it(hosts: list[RealHost], tmp_path: Path, name: str) -> None:
    kept, copy = RECIPES / f"{name}.ipynb", tmp_path / f"{name}.ipynb"
    copy.write_bytes(kept.read_bytes())
    environment = os.environ | {
        "BLINDTUNE_BASE_URL": hosts[0].url,
        "BLINDTUNE_API_KEY": hosts[0].api_key,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
    }
    command = [sys.executable, RECIPES / "run.py", copy]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    cells = code_cells(copy)
    assert [cell["source"] for cell in cells] == [cell["source"] for cell in code_cells(kept)]
    check_clean(cells)
    check_verdict(cells)
    check_verdict(code_cells(kept))
    assert hosts[0].api_key not in copy.read_text(encoding="utf-8")
    assert kinds(cells) == kinds(code_cells(kept)), "run examples/recipes/run.py again"
