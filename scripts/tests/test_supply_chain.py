"""deny.toml is enforced without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import supply_chain

POLICY: dict[str, Any] = {
    "licenses": {"allow": ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause"]},
    "bans": {"skip": [{"crate": "old@1.0.0", "reason": "tch"}, {"crate": "bare@1.0.0", "reason": ""}]},
    "sources": {"allow-registry": ["https://example.org/index"], "allow-git": []},
}


def crate(name: str, version: str = "1.0.0", **more: str | None) -> dict[str, Any]:
    return {"name": name, "version": version, "license": "MIT", "source": "registry+https://example.org/index"} | more


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("MIT/GPL-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("MIT OR Apache-2.0 AND GPL-3.0", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND BSD-3-Clause", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT WITH LLVM-exception", False),
        ("", False),
        ("MIT )", False),
    ],
)
def test_a_licence_is_allowed_when_the_list_meets_its_expression(expression: str, allowed: bool) -> None:
    assert supply_chain.licence_allowed(expression, POLICY["licenses"]["allow"]) is allowed


def test_a_crate_without_a_licence_is_refused() -> None:
    assert supply_chain.check_licences([crate("a"), crate("b", license=None)], POLICY) == [
        "b 1.0.0: licence not stated is not allowed"
    ]


def test_a_second_copy_needs_a_reason() -> None:
    both = [crate("old"), crate("old", "2.0.0")]
    assert supply_chain.check_copies(both, POLICY) == []
    assert supply_chain.check_copies([*both, crate("old", "3.0.0")], POLICY) == [
        "old: 2.0.0 and 3.0.0 without a reason in deny.toml"
    ]
    assert supply_chain.check_copies([crate("bare"), crate("bare", "2.0.0")], POLICY), "an empty reason is none"


def test_a_crate_from_elsewhere_is_refused_and_ours_is_not() -> None:
    crates = [crate("ours", source=None), crate("a"), crate("b", source="git+https://example.org/b")]
    assert supply_chain.check_sources(crates, POLICY) == ["b 1.0.0: comes from git+https://example.org/b"]


def test_a_reason_for_nothing_is_named() -> None:
    assert supply_chain.unused_reasons([crate("old"), crate("old", "2.0.0")], POLICY) == ["bare@1.0.0"]


def test_a_list_pins_every_package(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    digest = f"--hash=sha256:{'0a' * 32}"
    rows = ["a==1.0", 'b==2 ; python_version < "3.11"']
    text = "".join(f"{row} \\\n    {digest} \\\n    {digest}\n" for row in rows)
    lock.write_text(f"# words\n{text}", encoding="utf-8")
    assert supply_chain.check_pins([lock]) == []
    wrong = ["a>=1.0", "b @ https://example.org/b.whl", "--index-url https://example.org"]
    lock.write_text("".join(f"{row} \\\n    {digest}\n" for row in wrong), encoding="utf-8")
    assert len(supply_chain.check_pins([lock])) == 3


def test_a_list_says_which_files_a_package_may_be(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"a==1.0\nb==2 \\\n    --hash=sha256:{'0a' * 32}\nc==1 \\\n    --hash=md5:00\n", encoding="utf-8")
    assert [line.split(": ")[1][:5] for line in supply_chain.check_pins([lock])] == ["'a==1", "'c==1"]


def test_the_repository_keeps_its_policy() -> None:
    assert supply_chain.main() == 0
