"""Who is told of the calls of a job as they go out, with the size and the hash that the host's ledger has of each.

Owns: which requests a ledger lists, and their hash as the host takes it: SHA-256 over kind, parameters and body. Must
never: keep a body, or have a say in what is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx

PATH = re.compile(
    r"/fine_tuning/jobs/(?P<job>[^/]+)/(?:(?P<call>forward|backward|optim_step|metrics|checkpoints)|adapters/(?P<set>\d+))$"
)
NUMBERED = frozenset({"forward", "backward", "optim_step"})


@dataclass(frozen=True)
class SentCall:
    """One call of a job, under the names that the host's ledger has: nothing of its contents."""

    job: str
    kind: str
    seq: int | None
    """The number of the step; None of a call that is none."""
    bytes: int
    sha256: str


Answered = Callable[[int | None], None]
"""Is told the status of the answer; None where no answer came."""
Listener = Callable[[SentCall], Answered]
"""Is told of a call before its first byte goes out, again for each attempt."""

_listener: ContextVar[Listener | None] = ContextVar("blindtune_listener", default=None)


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """Inside, this listener is told of the calls that this thread (or task) sends, whoever's client sends them."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def going_out(request: httpx.Request) -> Answered | None:
    """Tell the listener, if there is one, and if a ledger lists such a request; the request's body has been read."""
    listener = _listener.get()
    if listener is None or request.method not in ("POST", "PUT"):
        return None
    found = PATH.search(request.url.path)
    return None if found is None else listener(_described(request, found))


def _described(request: httpx.Request, found: re.Match[str]) -> SentCall:
    body, query, call = request.content, request.url.query.decode("ascii"), found["call"]
    if call is None:
        return SentCall(found["job"], "put_adapter", None, len(body), ledger_hash("put_adapter", found["set"], body))
    kind = call.removesuffix("s") if call == "checkpoints" else call
    seq = _seq(request, body) if call in NUMBERED else None
    listed = "evaluate" if kind == "forward" and seq is None else kind
    parameters = query if kind in ("forward", "backward") else ""
    return SentCall(found["job"], listed, seq, len(body), ledger_hash(kind, parameters, body))


def _seq(request: httpx.Request, body: bytes) -> int | None:
    """In the query of a binary call, in the body of a JSON one."""
    is_json = request.headers.get("content-type", "").startswith("application/json")
    seq = json.loads(body).get("seq") if is_json else request.url.params.get("seq")
    return None if seq is None else int(seq)


def ledger_hash(kind: str, parameters: str, body: bytes) -> str:
    """SHA-256 as a host takes it of a call: `forward` also of one that trains nothing, parameters as they were sent."""
    digest = hashlib.sha256(f"{kind}\0{parameters}\0".encode())
    digest.update(body)
    return digest.hexdigest()
