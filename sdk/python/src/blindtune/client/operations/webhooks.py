"""`/webhooks`: where the host says what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from typing_extensions import Unpack

from ..._generated.api.webhooks import (
    delete_webhook,
    get_webhook,
    list_deliveries,
    list_webhooks,
    replay_delivery,
    test_webhook,
)
from ..objects import Webhook, WebhookDelivery
from .core import Ask, Listing, nothing, patch, post, reads, to


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
    return Listing.of(list_webhooks, Webhook.read, limit=limit)


def retrieve(webhook_id: str) -> Ask[Webhook]:
    """One webhook, without its secret."""
    return Ask.of(get_webhook, reads(Webhook), webhook_id=webhook_id)


def update(webhook_id: str, **fields: Unpack[WebhookFields]) -> Ask[Webhook]:
    """Change `url`, `events` or `enabled`."""
    return patch(to("webhooks", webhook_id), reads(Webhook), fields)


def delete(webhook_id: str) -> Ask[None]:
    """Send nothing there any more."""
    return Ask.of(delete_webhook, nothing, webhook_id=webhook_id)


def test(webhook_id: str) -> Ask[WebhookDelivery]:
    """Send a `webhook.test` there."""
    return Ask.of(test_webhook, reads(WebhookDelivery), webhook_id=webhook_id)


def deliveries(webhook_id: str, limit: int | None = None) -> Listing[WebhookDelivery]:
    """What was sent, newest first, and what came of it."""
    return Listing.of(list_deliveries, WebhookDelivery.read, webhook_id=webhook_id, limit=limit)


def replay(webhook_id: str, delivery_id: str) -> Ask[WebhookDelivery]:
    """Send one again."""
    return Ask.of(replay_delivery, reads(WebhookDelivery), webhook_id=webhook_id, delivery_id=delivery_id)
