"""The package's front door: every public name is behind it, and nobody pays for what was not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import blindtune

HEAVY = ("numpy", "pydantic", "sklearn", "scipy", "pandas", "matplotlib", "torch")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a new interpreter has loaded after this code."""
    asked = f"{code}\nimport sys\nprint(*(set({HEAVY!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_client_alone_loads_neither_numpy_nor_scikit_learn() -> None:
    used = "from blindtune import BlindtuneError, Client, ForwardRequest, StepAnswer\nClient('http://127.0.0.1:9', 'k')"
    assert loaded_by(used) == set()
    assert {"numpy", "sklearn"} <= loaded_by("from blindtune import P3EFT"), "the check would notice"


def test_types_of_arrays_are_there_when_they_are_asked_for() -> None:
    found = (
        "from blindtune.arrays import F32, AnyArray\nimport numpy as np\nassert F32 == np.typing.NDArray[np.float32]"
    )
    assert "numpy" in loaded_by(found)
    with pytest.raises(ImportError, match="F16"):
        exec("from blindtune.arrays import F16")


def test_every_public_name_is_there_however_it_is_asked_for() -> None:
    names = set(blindtune.__all__)
    assert names <= set(dir(blindtune))
    star: dict[str, object] = {}
    exec("from blindtune import *", star)
    assert names <= star.keys()
    assert blindtune.P3EFT is blindtune.Tuner, "its first name"
    for name in names - {"__version__", "P3EFT"}:
        found = getattr(blindtune, name)
        assert star[name] is found and found.__name__ == name and found.__module__.startswith("blindtune.")


def test_a_module_of_a_public_name_needs_no_import_of_its_own() -> None:
    assert "LeakReport" in subprocess.check_output(
        [sys.executable, "-c", "import blindtune; print(blindtune.audit.LeakReport)"], text=True
    )


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("client", "AsyncClient Client Recorder StepAnswer normalize_url API_KEY_VARIABLE BASE_URL_VARIABLE"),
        ("data", "Batches DataError Dataset Text evaluation_chunks read_dataset read_texts text_lengths upload_bytes"),
        ("export", "export load_export"),
        ("settings", "METHODS POOLINGS Settings SettingsError"),
        ("trainer", "FitResult P3EFT Tuner connect load_export"),
        ("audit", "LeakReport Recorder"),
        ("frontier", "make_grid run_frontier"),
    ],
)
def test_users_paths_stay(path: str, names: str) -> None:
    """Where the code lies is nobody's business outside: these imports go on working, in a fresh interpreter."""
    code = f"from blindtune.{path} import {', '.join(names.split())}\nimport blindtune\nblindtune.{path}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'blindtune' has no attribute 'Nothing'"):
        blindtune.Nothing  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ImportError, match="Nothing"):
        exec("from blindtune import Nothing")
