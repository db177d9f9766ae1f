"""Executes notebooks against a host and keeps their outputs: `python examples/recipes/run.py NOTEBOOK...`.

Owns: what is kept of a run. Must never: keep times, machine paths, or whatever differs from run to run without need.
BLINDTUNE_BASE_URL and BLINDTUNE_API_KEY say where the host is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def execute(path: Path, timeout: int = 300) -> Any:
    """The notebook with its outputs; a cell that fails raises nbclient's CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["PYTHONWARNINGS"] = "ignore"  # one of them, about a missing widget, names a folder of this machine
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        NotebookClient(
            notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.pop("metadata", None)
            if output.output_type in ("execute_result", "display_data"):
                output.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main(paths: list[str]) -> None:
    """Each is replaced by itself with outputs."""
    for path in map(Path, paths or sorted(map(str, HERE.glob("*.ipynb")))):
        notebook = execute(path)
        nbformat.write(notebook, path)
        print(f"{path.name}: executed")


if __name__ == "__main__":
    main(sys.argv[1:])
