import type { WebhookEvent } from './client';

/** Every event there is: the type makes an unknown or a missing one an error. */
const ALL: Record<WebhookEvent, true> = {
  'fine_tuning.job.running': true,
  'fine_tuning.job.paused': true,
  'fine_tuning.job.succeeded': true,
  'fine_tuning.job.failed': true,
  'fine_tuning.job.cancelled': true,
  'fine_tuning.checkpoint.created': true,
  'batch.completed': true,
  'batch.failed': true,
  'batch.expired': true,
  'batch.cancelled': true,
  'webhook.test': true,
};

export const EVENTS = Object.keys(ALL) as WebhookEvent[];
