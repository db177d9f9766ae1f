"""Clients for commands that ask a host one thing.

Owns: how long such a command waits. Must never: print a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import ArgumentError
from .options import Where

if TYPE_CHECKING:
    from ..client import Client

PATIENCE_S = 5.0


def clients(where: Where) -> list[Client]:
    """One for each host, that gives up soon: who asks at a prompt waits for the answer."""
    from ..client import Client, RetryPolicy

    return [Client(url, key, retry=RetryPolicy(patience_s=PATIENCE_S)) for url, key in pairs(where)]


def pairs(where: Where) -> list[tuple[str | None, str | None]]:
    """Hosts with their keys; None is what the environment says."""
    hosts: list[str | None] = [*where.hosts] or [None]
    keys: list[str | None] = [*(where.keys or [])] or [None]
    keys = keys * len(hosts) if len(keys) == 1 else keys
    if len(keys) != len(hosts):
        raise ArgumentError(f"{len(keys)} keys for {len(hosts)} hosts: one serves all, or each has its own")
    return list(zip(hosts, keys, strict=True))
