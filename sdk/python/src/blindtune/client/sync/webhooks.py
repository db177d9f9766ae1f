"""`client.webhooks`: where the host says what happened, and the check that it was the host.

Owns: the calls under `/webhooks`. Must never: check a signature (client/webhooks.py does).
"""

# Made from ../aio/webhooks.py by tools/unasync.py: `make sdk`.

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import Unpack

from ..._generated import operations as op
from ..._generated.schemas import WebhookFields
from ..objects import Webhook, WebhookDelivery
from ..requests import given, nothing, reads
from ..webhooks import verify
from .pages import Pages
from .resource import Resource


class Webhooks(Resource):
    """`client.webhooks`: where the host says what happened, and the check that it was the host."""

    def create(self, url: str, events: Sequence[str] | None = None) -> Webhook:
        """Have `events` (all by default) sent to `url`. The answer's `secret` is shown this once; `verify` needs it."""
        body = given({"url": url, "events": None if events is None else [*events]})
        return self._client.call(op.CREATE_WEBHOOK, reads(Webhook), body)

    def list(self, limit: int | None = None) -> Pages[Webhook]:
        """The project's webhooks."""
        return Pages(self._client, op.LIST_WEBHOOKS, Webhook.read, limit=limit)

    def retrieve(self, webhook_id: str) -> Webhook:
        """One webhook, without its secret."""
        return self._client.call(op.GET_WEBHOOK, reads(Webhook), webhook_id=webhook_id)

    def update(self, webhook_id: str, **fields: Unpack[WebhookFields]) -> Webhook:
        """Change `url`, `events` or `enabled`."""
        return self._client.call(op.UPDATE_WEBHOOK, reads(Webhook), fields, webhook_id=webhook_id)

    def rotate_secret(self, webhook_id: str) -> Webhook:
        """A new `secret`, shown this once. For a day messages are signed with the old one too."""
        return self._client.call(op.ROTATE_WEBHOOK_SECRET, reads(Webhook), webhook_id=webhook_id)

    def delete(self, webhook_id: str) -> None:
        """Send nothing there any more."""
        self._client.call(op.DELETE_WEBHOOK, nothing, webhook_id=webhook_id)

    def test(self, webhook_id: str) -> WebhookDelivery:
        """Send a `webhook.test` there."""
        return self._client.call(op.TEST_WEBHOOK, reads(WebhookDelivery), webhook_id=webhook_id)

    def deliveries(self, webhook_id: str, limit: int | None = None) -> Pages[WebhookDelivery]:
        """What was sent, newest first, and what came of it."""
        return Pages(self._client, op.LIST_DELIVERIES, WebhookDelivery.read, webhook_id=webhook_id, limit=limit)

    def replay(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Send one again."""
        named = {"webhook_id": webhook_id, "delivery_id": delivery_id}
        return self._client.call(op.REPLAY_DELIVERY, reads(WebhookDelivery), **named)

    verify = staticmethod(verify)
