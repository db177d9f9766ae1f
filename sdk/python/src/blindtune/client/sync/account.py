"""`client.usage`, `client.api_keys` and `client.audit_log`: who used what, and who may.

Owns: the calls under `/usage`, `/me`, `/api_keys` and `/audit_log`. Must never: keep a key.
"""

# Made from ../aio/account.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from typing_extensions import Unpack

from ..._generated import operations as op
from ..._generated.schemas import KeyLimits
from ..objects import ApiKey, AuditEntry, Me, Usage
from ..requests import given, nothing, reads
from .pages import Pages
from .resource import Resource


class UsageReports(Resource):
    """`client.usage`: what was used."""

    def retrieve(
        self,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        *,
        group_by: Sequence[str] = (),
    ) -> Usage:
        """Requests, steps, tokens, bytes, device seconds, by `key`, `model`, `day`, or by `job` and `day`."""
        start, end = (date.fromisoformat(day) if isinstance(day, str) else day for day in (start_date, end_date))
        named = {"start_date": start, "end_date": end, "group_by": ",".join(group_by) or None}
        return self._client.call(op.GET_USAGE, reads(Usage), **named)


class ApiKeys(Resource):
    """`client.api_keys`: the project's keys."""

    def create(
        self, name: str, *, scopes: Sequence[str] | None = None, days: int | None = None, **limits: Unpack[KeyLimits]
    ) -> ApiKey:
        """Make a key for `days`. The answer's `key` is shown this once: the host keeps only its hash."""
        named = {"name": name, "scopes": None if scopes is None else [*scopes], "days": days}
        return self._client.call(op.CREATE_API_KEY, reads(ApiKey), given({**named, **limits}))

    def list(self, limit: int | None = None) -> Pages[ApiKey]:
        """The project's keys, without the keys themselves."""
        return Pages(self._client, op.LIST_API_KEYS, ApiKey.read, limit=limit)

    def retrieve(self, key_id: str) -> ApiKey:
        """One key, without the key itself."""
        return self._client.call(op.GET_API_KEY, reads(ApiKey), key_id=key_id)

    def current(self) -> Me:
        """The key that this client shows, its project, and what it may do. Any key may ask."""
        return self._client.call(op.GET_ME, reads(Me))

    def update(
        self,
        key_id: str,
        *,
        name: str | None = None,
        scopes: Sequence[str] | None = None,
        limits: KeyLimits | None = None,
    ) -> ApiKey:
        """Change its name, scopes or limits; what is left out stays. Of `limits` all count: `{}` takes its own away."""
        body = given({"name": name, "scopes": None if scopes is None else [*scopes], "limits": limits})
        return self._client.call(op.UPDATE_API_KEY, reads(ApiKey), body, key_id=key_id)

    def rotate(self, key_id: str, overlap_s: int | None = None) -> ApiKey:
        """Put a new key in its place. The old one works for `overlap_s` seconds more, a day by default."""
        body = given({"overlap_seconds": overlap_s})
        return self._client.call(op.ROTATE_API_KEY, reads(ApiKey), body, key_id=key_id)

    def delete(self, key_id: str) -> None:
        """Revoke it: from now on nothing is done for it."""
        self._client.call(op.REVOKE_API_KEY, nothing, key_id=key_id)


class AuditLog(Resource):
    """`client.audit_log`: what was done with which key."""

    def list(self, limit: int | None = None) -> Pages[AuditEntry]:
        """What was done with which key, newest first."""
        return Pages(self._client, op.LIST_AUDIT_LOG, AuditEntry.read, limit=limit)
