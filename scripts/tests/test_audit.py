"""An audit without data is not called one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "audit"
SKIPPED = {"name": "a", "skip_reason": "not found"}
CLEAN = {"name": "b", "version": "1", "vulns": []}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1"}]}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"audit_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packages_that_the_index_knows_nothing_of_are_not_audited() -> None:
    verdict = load("python").verdict
    assert verdict("lock", [SKIPPED, SKIPPED]) == (
        ["lock: not audited: the index has no data on vulnerabilities of its 2 packages"],
        False,
    )
    assert verdict("lock", "no route") == (["lock: not audited: no route"], False)
    assert verdict("lock", [SKIPPED, CLEAN])[0] == ["lock: 1 of 2 packages audited, 0 vulnerabilities known"]


def test_a_known_vulnerability_is_named_and_red() -> None:
    lines, bad = load("python").verdict("lock", [CLEAN, BAD])
    assert bad and lines[0] == "lock: c 2: PYSEC-1"


def test_only_an_answer_of_npm_counts() -> None:
    verdict = load("node").verdict
    assert verdict({"message": "405"}) == ("scripts/api-tools: not audited: 405", False)
    assert verdict({"metadata": {"vulnerabilities": {"total": 2, "high": 1}}})[1]
    assert not verdict({"metadata": {"vulnerabilities": {"total": 2, "low": 2}}})[1]
