"""Checks that what came to a webhook's address came from the host (Standard Webhooks).

Owns: the signature and its age. Must never: say which part of a bad signature was wrong, or compare in a time that
depends on it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from ..errors import WebhookVerificationError
from .objects import WebhookEvent

TOLERANCE_S = 300
"""How old, or how far ahead, a message may be: a copy of an old one is refused."""


def verify(payload: bytes | str, headers: Mapping[str, str], secret: str) -> WebhookEvent:
    """The event in `payload`, which is the body as it came, before any parsing.

    `headers` are those of the request, in any case; `secret` is what `client.webhooks.create` answered (`whsec_...`).
    Raises `WebhookVerificationError` when it was not signed with the secret, or more than five minutes ago. A message
    may come twice: remember `webhook-id` where that matters.
    """
    body = payload.encode() if isinstance(payload, str) else bytes(payload)
    named = {name.lower(): value for name, value in headers.items()}
    try:
        message, sent, signatures = (named[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        age = abs(time.time() - int(sent))
    except (KeyError, ValueError):
        raise WebhookVerificationError("webhook-id, webhook-timestamp or webhook-signature is absent or bad") from None
    expected = hmac.new(_key(secret), f"{message}.{sent}.".encode() + body, hashlib.sha256).digest()
    # A secret that is being replaced signs twice.
    if not any(hmac.compare_digest(expected, _decoded(signature)) for signature in signatures.split()):
        raise WebhookVerificationError("the signature is not that of this secret")
    if age > TOLERANCE_S:
        raise WebhookVerificationError(f"the message is more than {TOLERANCE_S} s old, or from the future")
    try:
        return WebhookEvent.read(json.loads(body))
    except (ValueError, TypeError, AttributeError) as error:
        raise WebhookVerificationError("the message is signed, but holds no event") from error


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise WebhookVerificationError("the secret is not whsec_ and base64") from None
    if not key:
        raise WebhookVerificationError("the secret is empty")
    return key


def _decoded(signature: str) -> bytes:
    """Of `v1,<base64>`; nothing that could match, where it is something else."""
    version, _, text = signature.partition(",")
    try:
        return base64.b64decode(text, validate=True) if version == "v1" else b""
    except ValueError:
        return b""
