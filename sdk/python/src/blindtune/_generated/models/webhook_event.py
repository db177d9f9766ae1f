from typing import Literal

WebhookEvent = Literal['fine_tuning.checkpoint.created', 'fine_tuning.job.cancelled', 'fine_tuning.job.failed', 'fine_tuning.job.paused', 'fine_tuning.job.running', 'fine_tuning.job.succeeded', 'webhook.test']

WEBHOOK_EVENT_VALUES: set[WebhookEvent] = { 'fine_tuning.checkpoint.created', 'fine_tuning.job.cancelled', 'fine_tuning.job.failed', 'fine_tuning.job.paused', 'fine_tuning.job.running', 'fine_tuning.job.succeeded', 'webhook.test',  }

def check_webhook_event(value: str) -> WebhookEvent:
    if value in WEBHOOK_EVENT_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {WEBHOOK_EVENT_VALUES!r}")
