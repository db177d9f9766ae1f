"""Every skip that `make test` expects on a machine like CI's, and why it is right. Any other fails its part.

Owns: the list. Must never: hold a pattern that fits more than the tests it is about.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from .counts import Skip

OLD_PYTHON = sys.version_info < (3, 11)


@dataclass(frozen=True)
class Expected:
    """A skip that is right: patterns for the whole of a test's name and of its reason."""

    part: str
    test: str
    reason: str
    why: str
    applies: bool = True


TORCH = r"could not import '(torch|peft|transformers)'.*"
TORCH_WHY = "torch, PEFT and transformers are 5 GB: make test-torch runs these"

EXPECTED = (
    Expected("sdk", r"tests\.(real\.)?test_torch(::.*)?", TORCH, TORCH_WHY),
    Expected("sdk", r"tests\.test_side_ladder(::.*)?", TORCH, TORCH_WHY),
    Expected("sdk", r"tests\.real\.test_adapters_peft::.*", TORCH, TORCH_WHY),
    Expected("sdk", r"tests\.real\.test_export::.*", TORCH, TORCH_WHY),
    Expected("contract", r"contract", r"schemathesis needs Python 3\.11", "it is not made for 3.10", OLD_PYTHON),
    Expected("console", r".*", r"no /.*chromium: .*", "set-up installs Chromium on Debian, as root alone"),
    Expected(
        "rust",
        r".*",
        r"minutes long and wants an idle machine: make load(-fair|-watched)?",
        "make load, load-fair and load-watched do",
    ),
    Expected("dist", r"Python [\d.]+", r"not on this machine", "make test-dist tries every Python that is here"),
    Expected("portable", r".*", r"the processor has no .*", "it cannot be emulated"),
)


def why(part: str, skip: Skip) -> str | None:
    """Why a skip of a part is right; None when nobody expects it."""
    for row in EXPECTED:
        named = row.applies and row.part == part
        if named and re.fullmatch(row.test, skip.test) and re.fullmatch(row.reason, skip.reason, re.DOTALL):
            return row.why
    return None
