"""The toy host with whole entries in its ledger: bytes and SHA-256 of each call, as a real host has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fake_host import FakeHost, Refusal

ONE_PAGE = 7
"""Entries of a page, so that a ledger of a few steps has several."""


class LedgerHost(FakeHost):
    """`lost` are jobs that it has no more; a test may change the entries of `ledger(job)`."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while a ledger is asked for."""

    def ledger(self, job: str) -> list[dict[str, Any]]:
        """The entries themselves."""
        entries: list[dict[str, Any]] = self.jobs[job]["ledger"]
        return entries

    def _on_job(
        self, job: dict, method: str, rest: list[str], query: dict, body: bytes, headers: Any
    ) -> tuple[Any, Any]:
        if job["id"] in self.lost:
            raise Refusal(404, "not_found")
        if rest == ["ledger"]:
            self.meanwhile()
            return self._page(job, int(query.get("after", -1))), None
        before = len(job["ledger"])
        answer = super()._on_job(job, method, rest, query, body, headers)
        for entry in job["ledger"][before:]:
            entry |= {"bytes": len(body), "sha256": self._hash(entry["kind"], rest, body)}
        return answer

    def _hash(self, kind: str, rest: list[str], body: bytes) -> str:
        """Over kind, parameters and body: what `Sent::new` of the host hashes."""
        parameters = rest[1] if kind == "put_adapter" else urlsplit(self.seen[-1][1]).query
        called = "forward" if kind == "evaluate" else kind
        return hashlib.sha256(b"\0".join([called.encode(), parameters.encode(), body])).hexdigest()

    def _page(self, job: dict, after: int) -> dict[str, Any]:
        rest = [entry for entry in job["ledger"] if int(entry["id"]) > after]
        page, more = rest[:ONE_PAGE], len(rest) > ONE_PAGE
        return {"object": "list", "data": page, "has_more": more, "last_id": page[-1]["id"] if page else None}
