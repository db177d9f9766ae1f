"""Every environment that runs this package's tests is locked with all that the package needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGE = Path(__file__).resolve().parent.parent
LOCKS = [PACKAGE / "requirements-dev.lock", PACKAGE.parent.parent / "scripts/fixtures/requirements.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=["dev", "peft"])
def test_a_lock_holds_every_dependency(lock: Path) -> None:
    project = re.search(r"^dependencies = \[(.*?)^\]", (PACKAGE / "pyproject.toml").read_text(), re.M | re.S)
    oldest = re.search(r"^# .*CPython (3\.\d+)", lock.read_text(), re.M)
    assert project is not None and oldest is not None
    wanted = [Requirement(text) for text in re.findall(r'^ *"(.*)",$', project[1], re.M)]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"python_version": oldest[1]})]
    assert len(needed) > 5
    names = {_plain(one.name) for one in needed}
    assert names <= {_plain(name) for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.M)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
