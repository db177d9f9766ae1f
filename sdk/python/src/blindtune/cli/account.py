"""`blindtune models | usage | whoami`: what a key may use, has used, and is.

Owns: what is shown of them. Must never: print a key, or take what a token claims for what the host says.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import DONE, FAILED
from .groups import Talk
from .hosts import clients, pairs
from .options import API_KEY_VARIABLE, Where
from .tables import show, show_each

if TYPE_CHECKING:
    from ..client import Client


@dataclass(frozen=True, kw_only=True)
class Period:
    """Which usage."""

    start_date: Annotated[
        str | None, typer.Option(metavar="DAY", help="first day, 2026-11-01; default: the month's first")
    ] = None
    end_date: Annotated[str | None, typer.Option(metavar="DAY", help="last day; default: today")] = None
    group_by: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="key, model or day, or job (with day); may be repeated", show_default=False),
    ] = None
    budgets: Annotated[bool, typer.Option("--budgets", help="what is left of this month's budgets instead")] = False


def models(where: Where, talk: Talk) -> int:
    """List the models that the key may use."""
    rows = [
        {
            "id": model.id,
            "base_model": model.base_model,
            "hidden_size": model.hidden_size,
            "max_tokens": model.max_tokens,
            "created": model.created,
            "host": client.base_url,
        }
        for client in clients(where)
        for model in client.models.list()
    ]
    show(rows, talk.as_json, "no models: whoever runs the host adds one with `blindtuned models add`")
    return DONE


def usage(period: Period, where: Where, talk: Talk) -> int:
    """Show what was used: requests, steps, tokens, bytes, seconds of the device."""
    if period.budgets:
        return _budgets(where, talk)
    rows: list[dict[str, Any]] = []
    groups = tuple(period.group_by or ())
    for client in clients(where):
        found = client.usage.retrieve(period.start_date, period.end_date, group_by=groups)
        span = {"host": client.base_url, "start_date": found.start_date, "end_date": found.end_date}
        rows += [span | _plain(row) for row in (found.data if groups else ())]
        rows.append(span | _plain(found.total) | ({"model": "all"} if groups else {}))
    names = list(dict.fromkeys(name for row in rows for name in row))
    show([{name: row.get(name) for name in names} for row in rows], talk.as_json)
    return DONE


def _budgets(where: Where, talk: Talk) -> int:
    rows = [
        {"host": client.base_url} | _plain(budget)
        for client in clients(where)
        for budget in client.usage.retrieve().budgets
    ]
    show(rows, talk.as_json, "no budgets: neither the key nor its project has one")
    return DONE


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "object" and value is not None}


def whoami(where: Where, talk: Talk) -> int:
    """Say which project and key this is, what it may do and until when, and whether the host takes it."""
    found = [_about(client, key) for client, (_, key) in zip(clients(where), pairs(where), strict=True)]
    show_each(found, talk.as_json)
    return DONE if all(one["accepted"] for one in found) else FAILED


def _about(client: Client, key: str | None) -> dict[str, Any]:
    """What the token says of itself, then what the host says of it."""
    from ..errors import ApiError, AuthenticationError, NotFoundError

    claims = claims_of(key or os.environ.get(API_KEY_VARIABLE, ""))
    known = {"project": claims.get("sub"), "key": claims.get("jti"), "issued": claims.get("iat")}
    about: dict[str, Any] = {"host": client.base_url, "accepted": False, **known, "expires": claims.get("exp")}
    try:
        me = client.api_keys.current()
    except AuthenticationError as error:
        return about | {"host_says": error.message}
    except NotFoundError:
        return about | {"accepted": True, "scopes": "not known: a host before 0.3 does not tell a key about itself"}
    except ApiError as error:
        return about | {"accepted": True, "host_says": error.message}
    said = {"name": me.key_name, "project": me.project, "project_name": me.project_name, "key": me.key_id}
    return about | {"accepted": True, **said, "scopes": ", ".join(me.scopes), "expires": me.expires_at}


def claims_of(key: str) -> dict[str, Any]:
    """What a key says of itself; nothing where it is no signed token. Nobody has checked it."""
    parts = key.split(".")
    if len(parts) != 3:
        return {}
    try:
        body = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
