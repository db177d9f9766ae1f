"""`/webhooks`: where the host says what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from typing_extensions import Unpack

from ..objects import Webhook, WebhookDelivery
from . import core
from .core import Ask, Listing, get, patch, post, reads, to


class WebhookFields(TypedDict, total=False):
    """What of a webhook can be changed."""

    url: str
    events: Sequence[str]
    enabled: bool


def create(url: str, events: Sequence[str] | None = None) -> Ask[Webhook]:
    """Have `events` (all by default) sent to `url`. The answer's `secret` is shown this once; `verify` needs it."""
    return post("webhooks", reads(Webhook), {"url": url, "events": None if events is None else [*events]})


def list(limit: int | None = None) -> Listing[Webhook]:
    """The project's webhooks."""
    return Listing("webhooks", Webhook.read, {"limit": limit})


def retrieve(webhook_id: str) -> Ask[Webhook]:
    """One webhook, without its secret."""
    return get(to("webhooks", webhook_id), reads(Webhook))


def update(webhook_id: str, **fields: Unpack[WebhookFields]) -> Ask[Webhook]:
    """Change `url`, `events` or `enabled`."""
    return patch(to("webhooks", webhook_id), reads(Webhook), fields)


def delete(webhook_id: str) -> Ask[None]:
    """Send nothing there any more."""
    return core.delete(to("webhooks", webhook_id))


def test(webhook_id: str) -> Ask[WebhookDelivery]:
    """Send a `webhook.test` there."""
    return post(to("webhooks", webhook_id, "test"), reads(WebhookDelivery))


def deliveries(webhook_id: str, limit: int | None = None) -> Listing[WebhookDelivery]:
    """What was sent, newest first, and what came of it."""
    return Listing(to("webhooks", webhook_id, "deliveries"), WebhookDelivery.read, {"limit": limit})


def replay(webhook_id: str, delivery_id: str) -> Ask[WebhookDelivery]:
    """Send one again."""
    return post(to("webhooks", webhook_id, "deliveries", delivery_id, "replay"), reads(WebhookDelivery))
