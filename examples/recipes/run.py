"""Executes notebooks against a host and keeps their outputs: `python examples/recipes/run.py NOTEBOOK...`, or all here.

Owns: what is kept of a run. Must never: keep times, machine paths, or whatever differs from run to run without need.
BLINDTUNE_BASE_URL and BLINDTUNE_API_KEY say where the host is. It needs nbclient, ipykernel and the extra `plot`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

RECIPES = Path(__file__).resolve().parent
TIMEOUT_SECS = 600
"""For one cell."""


def execute(path: Path) -> Any:
    """The notebook with its outputs; a cell that fails raises nbclient's CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    # A warning names the folder of the code that it comes from, which is this machine's.
    os.environ["PYTHONWARNINGS"] = "ignore"
    # It runs in an empty folder, so that nothing stays of it; what stands beside it, it can import.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(path.resolve().parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        place = {"metadata": {"path": folder}}
        how = {"timeout": TIMEOUT_SECS, "kernel_name": "python3", "coalesce_streams": True}
        NotebookClient(notebook, resources=place, **how).execute()
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """Without what a kernel notes about itself: its version, and when each cell began and ended."""
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            if output.output_type in ("execute_result", "display_data"):
                output.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main(paths: list[str]) -> None:
    """Each is replaced by itself with outputs."""
    for path in map(Path, paths or sorted(map(str, RECIPES.glob("*.ipynb")))):
        nbformat.write(execute(path), path)
        print(f"{path.name}: executed")


if __name__ == "__main__":
    main(sys.argv[1:])
