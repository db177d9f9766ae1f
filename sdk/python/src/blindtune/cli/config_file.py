"""The options of a command as a file that `--config` reads.

Owns: `--print-config`. Must never: write a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training.settings import SETTING_TYPES

UNWRITTEN = ("config", "print_config", "api_key")


def as_toml(given: Mapping[str, Any]) -> str:
    """What was given, and the settings that were not, as comments with their defaults."""
    lines = ["# blindtune --config FILE reads this; keys stay out of it: BLINDTUNE_API_KEY"]
    for name, value in given.items():
        if name in UNWRITTEN:
            continue
        option = name.replace("_", "-").removeprefix("as-")
        kind = SETTING_TYPES.get(name)
        if value is not None and value is not False and value != []:
            lines.append(f"{option} = {_written(value)}")
        elif kind is not None:
            usual = "" if kind.default in (None, ()) else f" {_written(kind.default)}"
            lines.append(f"# {option} ={usual}  # {kind.says}")
    return "\n".join(lines) + "\n"


def _written(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
