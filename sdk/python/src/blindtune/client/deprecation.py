"""Warns of calls that a host says will go: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), `Link: rel="deprecation"`.

Owns: how those headers are read, and that a client warns of each operation once. Must never: refuse a call or change
an answer because of them.
"""

from __future__ import annotations

import email.utils
import re
import sys
import warnings
from datetime import datetime, timezone
from functools import cache

import httpx

from .._generated import operations
from .._generated.operations import Operation

PACKAGE = __name__.partition(".")[0]


class Deprecations:
    """What one client has warned of."""

    def __init__(self, base_url: str) -> None:
        self._root = httpx.URL(base_url).raw_path.decode("ascii")
        self._warned: dict[str, object] = {}

    def notice(self, answer: httpx.Response, host: str) -> None:
        """Warn, once for each operation, where the answer says that the call is deprecated."""
        stated = answer.headers.get("deprecation")
        if stated is None:
            return
        call, mine = self._call(answer.request), object()
        if self._warned.setdefault(call, mine) is mine:  # of two threads one warns
            warnings.warn(f"{host}: {_sentence(call, stated, answer)}", DeprecationWarning, stacklevel=_level())

    def _call(self, request: httpx.Request) -> str:
        """The operation of a request; its method and path where the contract has none."""
        path = request.url.raw_path.decode("ascii").partition("?")[0]
        for operation, pattern in _patterns():
            if operation.method == request.method and pattern.fullmatch(path.removeprefix(self._root)):
                return f"{operation.name} ({operation.method} /v1/{operation.path})"
        return f"{request.method} {path}"


@cache
def _patterns() -> list[tuple[Operation, re.Pattern[str]]]:
    found = [one for one in vars(operations).values() if isinstance(one, Operation)]
    # Ids are quoted, so that none has a slash; `jobs/latest` would come before `jobs/{job_id}`.
    found.sort(key=lambda operation: operation.path.count("{"))
    return [(one, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(one.path)))) for one in found]


def _sentence(call: str, stated: str, answer: httpx.Response) -> str:
    day = _day(stated)
    parts = [f"{call} is deprecated"]
    if day is not None:
        begun = day <= datetime.now(timezone.utc)
        parts = [f"{call} {'is deprecated since' if begun else 'will be deprecated on'} {day:%Y-%m-%d}"]
    ends = _date(answer.headers.get("sunset"))
    if ends is not None:
        parts.append(f"it may stop working on {ends:%Y-%m-%d}")
    for link in answer.links.values():
        if "deprecation" in link.get("rel", "").lower().split() and "url" in link:
            parts.append(f"see {answer.url.join(link['url'])}")
            break
    return "; ".join(parts)


def _day(stated: str) -> datetime | None:
    """The date of a `Deprecation` header, `@` and seconds; None where it is none, as in drafts of the standard."""
    seconds = re.match(r"@(-?\d{1,15})\s*(;|$)", stated)
    try:
        return datetime.fromtimestamp(int(seconds[1]), timezone.utc) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _date(value: str | None) -> datetime | None:
    """An HTTP date; None where it is none."""
    try:
        return email.utils.parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError):
        return None


def _level() -> int:
    """How far up the first caller outside this package is: Python shows such warnings by the line that they are for."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
        level, frame = level + 1, frame.f_back
    return level
