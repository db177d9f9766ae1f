/**
 * The API's client: every request of the console passes here, with the key as a bearer.
 *
 * Must never: keep the key anywhere but in memory; ask another origin.
 */
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type Job = Schemas['JobObject'];
export type JobEvent = Schemas['EventObject'];
export type Checkpoint = Schemas['CheckpointObject'];
export type LedgerEntry = Schemas['LedgerEntry'];
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
export type Capabilities = Schemas['CapabilitiesObject'];

export interface Page<T> {
  data: T[];
  has_more: boolean;
}

/** An answer that is no success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string | null,
    message: string,
    readonly requestId: string | null = null,
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
  }

  /** The scope that the key lacks, where that is the reason. */
  get missingScope(): string | null {
    if (this.status !== 403) return null;
    return /lacks the scope ([a-z_]+(?::[a-z_]+)?)/.exec(this.message)?.[1] ?? null;
  }
}

/** What others want to know of each answer. */
export const listeners = {
  answered: (): void => {},
  failed: (_error: ApiError): void => {},
};

let bearer: string | null = null;

export function useKey(key: string | null): void {
  bearer = key;
}

/** `fetch` with the key. An answer that is not 2xx, and none, is thrown as ApiError. */
export async function send(input: Request | string, init?: RequestInit): Promise<Response> {
  const request = new Request(input, { ...init, credentials: 'omit', cache: 'no-store', redirect: 'error' });
  if (bearer) request.headers.set('Authorization', `Bearer ${bearer}`);
  let response: Response;
  try {
    response = await fetch(request);
  } catch (cause) {
    const reason: unknown = request.signal.reason;
    const late = reason instanceof DOMException && reason.name === 'TimeoutError';
    if (request.signal.aborted && !late) throw cause;
    throw told(new ApiError(0, null, 'The host does not answer.'));
  }
  if (!response.ok) throw told(await refusal(response));
  listeners.answered();
  return response;
}

function told(error: ApiError): ApiError {
  if (error.status !== 0) listeners.answered();
  listeners.failed(error);
  return error;
}

async function refusal(response: Response): Promise<ApiError> {
  const wait = Number(response.headers.get('retry-after-ms')) || null;
  const id = response.headers.get('x-request-id');
  try {
    const { error } = (await response.json()) as Schemas['ErrorEnvelope'];
    return new ApiError(response.status, error.code, error.message, id, wait);
  } catch {
    return new ApiError(response.status, null, `The host answered ${response.status}.`, id, wait);
  }
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

/** What to show of anything thrown. */
export function asFailure(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError(0, null, thrown instanceof Error ? thrown.message : String(thrown));
}
