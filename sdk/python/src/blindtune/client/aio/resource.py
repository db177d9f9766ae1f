"""A group of calls of a client, such as `client.files`.

Owns: how a group sends. Must never: know what a call is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import AsyncClient


class AsyncResource:
    """A group of calls."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
