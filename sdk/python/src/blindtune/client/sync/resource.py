"""A group of calls of a client, such as `client.files`.

Owns: how a group sends. Must never: know what a call is about.
"""

# Made from ../aio/resource.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import Client


class Resource:
    """A group of calls."""

    def __init__(self, client: Client) -> None:
        self._client = client
