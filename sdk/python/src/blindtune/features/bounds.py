"""What an operator gives of hidden states (`limits.feature_levels`, `limits.feature_dim`), and what to do about it.

Owns: the advice that a refusal is answered with, and sizes that are known without a hidden state. Must never: go around
a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..client import Client
from ..errors import ApiError, RunError

BOUND = "limits.feature_dim"


@contextmanager
def explained(gone: str | None = None) -> Iterator[None]:
    """Turns a host's refusal of wide states into what to do; `gone` is the job whose transform it has no more."""
    try:
        yield
    except ApiError as error:
        if BOUND not in error.message:
            raise
        if gone is not None:
            raise RunError(
                f"{error.message} The transform of {gone} is no longer on the host, and without plain hidden states it "
                "cannot be applied at home: fit again, in another run folder"
            ) from error
        most = re.search(r"at most (\d+)", error.message)
        dim = most.group(1) if most else "96"
        raise RunError(
            f"{error.message} Pass project={dim} (--project {dim}) or less: method side then learns from so many "
            "label-free components of each level, which a features job makes on the host"
        ) from error


def levels_given(client: Client, model: str, layers: str | int | Sequence[int]) -> int:
    """How many levels a host gives of a model."""
    if layers != "all":
        return layers if isinstance(layers, int) else len(layers)
    backbone, limits = described(client, model)
    levels, most = int(backbone["levels"]), int(limits.get("feature_levels", 0))
    return min(levels, most) if most else levels


def described(client: Client, model: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What a host says of a backbone, and its limits."""
    found = client.jobs.capabilities()
    for one in found.models:
        if one["id"] == model:
            return one, found.limits
    raise RunError(f"{client.base_url} has no backbone {model!r}")
