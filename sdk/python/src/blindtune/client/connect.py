"""Clients for the hosts that a user names.

Owns: which key goes with which host. Must never: open a job, or store a key.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RunError
from .sync.client import Client


def connect(hosts: Sequence[str | Client], api_keys: Sequence[str] | str | None) -> list[Client]:
    """Clients for the hosts.

    None means the one of BLINDTUNE_BASE_URL. One key may serve all, or each host has its own.
    """
    keys: list[str | None] = [api_keys] if isinstance(api_keys, str) else list(api_keys or ())
    keys = keys or [None]
    wanted: list[str | Client | None] = list(hosts) or [None]
    if len(keys) == 1:
        keys = keys * len(wanted)
    if len(keys) != len(wanted):
        raise RunError(f"{len(keys)} keys for {len(wanted)} hosts")
    return [h if isinstance(h, Client) else Client(h, key) for h, key in zip(wanted, keys, strict=True)]
