/** The API's client: calls and objects as openapi.yaml has them. */
import createClient from 'openapi-fetch';
import { send } from './http';
import type { components, paths } from './schema';

export { ApiError, asFailure, listeners, useKey } from './http';

type Schemas = components['schemas'];
export type Job = Schemas['JobObject'];
export type JobEvent = Schemas['EventObject'];
export type Checkpoint = Schemas['CheckpointObject'];
export type LedgerEntry = Schemas['LedgerEntry'];
export type LedgerSummary = Schemas['LedgerSummary'];
export type StoredFile = Schemas['FileObject'];
export type Model = Schemas['ModelObject'];
export type UsageRow = Schemas['UsageObject'];
export type UsageReport = Schemas['UsageReport'];
export type ApiKey = Schemas['ApiKeyObject'];
export type Webhook = Schemas['WebhookObject'];
export type WebhookEvent = Schemas['WebhookEvent'];
export type Delivery = Schemas['DeliveryObject'];
export type AuditEntry = Schemas['AuditEntry'];
export type Me = Schemas['MeObject'];
export type Budget = Schemas['BudgetObject'];
export type Project = Schemas['ProjectObject'];
export type JobCounts = Schemas['JobCounts'];
export type HostState = Schemas['HostObject'];
export type Capabilities = Schemas['CapabilitiesObject'];

export interface Page<T> {
  data: T[];
  has_more: boolean;
}

const PATIENCE_MS = 30_000;

/** A read that hangs would stop what polls; an upload may take its time. */
function sendInTime(request: Request): Promise<Response> {
  return send(request, request.method === 'GET' ? { signal: AbortSignal.timeout(PATIENCE_MS) } : undefined);
}

export const api = createClient<paths>({ baseUrl: '', fetch: sendInTime });

/** The body of a call; `send` has thrown what went wrong. */
export async function ask<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}

/** All pages of a list, one after the other. */
export async function* everyPage<T extends { id: string }>(
  fetchPage: (after?: string) => Promise<Page<T>>,
  after?: string,
): AsyncGenerator<T[]> {
  for (;;) {
    const page = await fetchPage(after);
    yield page.data;
    after = page.data.at(-1)?.id;
    if (!page.has_more || after === undefined) return;
  }
}
