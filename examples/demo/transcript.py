"""All that a host is sent, as one number: what does not depend on labels is the same under any labels.

Owns: the hash of requests. Must never: change one, or count what is not of the label holder's making (keys, times).
"""

from __future__ import annotations

import hashlib

import httpx
from blindtune import Client


class Transcript(httpx.BaseTransport):
    """Sends, and hashes method, path and body of every request in their order."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport(retries=0)
        self._digest = hashlib.sha256()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As the transport inside answers."""
        for part in (request.method.encode(), request.url.raw_path, request.read()):
            self._digest.update(len(part).to_bytes(8, "big") + part)
        return self._inner.handle_request(request)

    def sha256(self) -> str:
        """Of all that was sent so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class TranscribedClient(Client):
    """A client that knows the hash of what it sent."""

    def __init__(self, url: str, key: str) -> None:
        self.transcript = Transcript()
        super().__init__(url, key, transport=self.transcript)
