"""docs/support.md says of versions what the packages, the scripts that test them and the locks say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def row(first: str) -> list[str]:
    """The columns of the one row of the page that begins so."""
    (found,) = re.findall(rf"^\| {re.escape(first)}.*$", read("docs/support.md"), flags=re.MULTILINE)
    return [column.strip() for column in found.strip("|").split("|")]


def versions(first: str) -> list[str]:
    return re.findall(r"[\d.]*\d", row(first)[1])


def project() -> dict[str, Any]:
    return tomllib.loads(read("sdk/python/pyproject.toml"))


PYTHONS = versions("Python")


def test_the_package_takes_the_oldest_python_of_the_page_and_names_each() -> None:
    about = project()["project"]
    assert about["requires-python"] == f">={PYTHONS[0]}"
    named = [line.rpartition(" :: ")[2] for line in about["classifiers"] if "Python :: 3." in line]
    assert named == PYTHONS


def test_types_and_style_are_checked_for_the_oldest_python() -> None:
    tools = project()["tool"]
    assert tools["mypy"]["python_version"] == PYTHONS[0]
    assert tools["ruff"]["target-version"] == f"py{PYTHONS[0].replace('.', '')}"


def test_the_packages_are_tried_on_each_python() -> None:
    (tried,) = re.findall(r'^versions="([\d. ]+)"$', read("scripts/test-dist.sh"), flags=re.MULTILINE)
    assert tried.split() == PYTHONS
    assert "make test-dist " in read("docs/releasing.md"), "before each release"


def test_ci_has_the_python_that_the_page_says() -> None:
    (python,) = re.findall(r'python-version: "(.+)"', read(".github/workflows/ci.yml"))
    assert f"the whole suite on {python}, which CI sets up" in row("Python")[2]


@pytest.mark.parametrize("name", ["docs/install.md", "Makefile", "CONTRIBUTING.md", "scripts/test-dist.sh"])
def test_other_pages_name_the_same_pythons(name: str) -> None:
    ranges = set(re.findall(r"(?:Python|versions?) (?:from )?(3\.\d+) to (3\.\d+)", read(name)))
    assert ranges == {(PYTHONS[0], PYTHONS[-1])}


def test_stock_clients_are_those_that_are_locked() -> None:
    locked = {path.stem.removeprefix("requirements-") for path in (ROOT / "tests/openai").glob("requirements-*.lock")}
    assert set(versions("the stock `openai`")) == locked
    for version in locked:
        assert re.search(
            rf"^openai=={re.escape(version)} ", read(f"tests/openai/requirements-{version}.lock"), re.MULTILINE
        )


def test_libtorch_is_the_one_that_set_up_fetches() -> None:
    (fetched,) = re.findall(r"^version=(.+)$", read("scripts/setup/libtorch.sh"), flags=re.MULTILINE)
    assert versions("LibTorch") == [fetched]
    assert f"torch=={fetched}" in read("scripts/setup/requirements-torch-cpu.lock")


def test_the_database_of_the_compose_file_is_one_of_the_page() -> None:
    (image,) = re.findall(r"image: postgres:(\d+)", read("compose.yaml"))
    assert image in versions("PostgreSQL")


def test_pages_ask_for_the_same_glibc() -> None:
    (glibc,) = re.findall(r"glibc ([\d.]+) or newer", row("operating system, for the host")[1])
    assert f"({glibc} from Debian 12)" in read("docs/install.md")
    assert f"glibc {glibc} or newer" in read("docs/gpu-kit.md")
