"""Every environment that runs this package's tests is locked with all that the package needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
LOCKS = [PACKAGE / "requirements-dev.lock", PACKAGE.parent.parent / "scripts/fixtures/requirements.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=["dev", "peft"])
def test_a_lock_holds_every_dependency(lock: Path) -> None:
    needed = re.search(r"^dependencies = \[(.*?)^\]", (PACKAGE / "pyproject.toml").read_text(), re.M | re.S)
    assert needed is not None
    names = {_plain(name) for name in re.findall(r'"([\w.-]+)', needed[1])}
    assert len(names) > 5
    assert names <= {_plain(name) for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.M)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
