"""`/usage`, `/api_keys` and `/audit_log`: who used what, and who may."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TypedDict

from typing_extensions import Unpack

from ..._generated.api.governance import get_api_key, get_usage, list_api_keys, list_audit_log, revoke_api_key
from ..objects import ApiKey, AuditEntry, Usage
from .core import Ask, Listing, nothing, post, reads


class KeyLimits(TypedDict, total=False):
    """What a key may use at most."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    monthly_tokens: int | None
    monthly_device_seconds: int | None


def usage(
    start_date: str | date | None = None, end_date: str | date | None = None, *, group_by: Sequence[str] = ()
) -> Ask[Usage]:
    """Requests, steps, tokens, bytes and device seconds, by any of `key`, `model` and `day`."""
    start, end = (date.fromisoformat(day) if isinstance(day, str) else day for day in (start_date, end_date))
    return Ask.of(get_usage, reads(Usage), start_date=start, end_date=end, group_by=",".join(group_by) or None)


def create_key(
    name: str, *, scopes: Sequence[str] | None = None, days: int | None = None, **limits: Unpack[KeyLimits]
) -> Ask[ApiKey]:
    """Make a key for `days`. The answer's `key` is shown this once: the host keeps only its hash."""
    named = {"name": name, "scopes": None if scopes is None else [*scopes], "days": days}
    return post("api_keys", reads(ApiKey), {**named, **limits})


def list_keys(limit: int | None = None) -> Listing[ApiKey]:
    """The project's keys, without the keys themselves."""
    return Listing.of(list_api_keys, ApiKey.read, limit=limit)


def retrieve_key(key_id: str) -> Ask[ApiKey]:
    """One key, without the key itself."""
    return Ask.of(get_api_key, reads(ApiKey), key_id=key_id)


def delete_key(key_id: str) -> Ask[None]:
    """Revoke it: from now on nothing is done for it."""
    return Ask.of(revoke_api_key, nothing, key_id=key_id)


def audit_log(limit: int | None = None) -> Listing[AuditEntry]:
    """What was done with which key, newest first."""
    return Listing.of(list_audit_log, AuditEntry.read, limit=limit)
