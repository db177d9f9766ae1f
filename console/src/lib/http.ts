/**
 * Requests: every one of a page passes here, with the key as a bearer.
 *
 * Must never: keep the key anywhere but in memory; ask another origin.
 */

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

/** Who is asked, as messages name it. */
export const server = { name: 'The host' };

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
    throw told(new ApiError(0, null, `${server.name} does not answer.`));
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
    const { error } = (await response.json()) as { error: { code: string | null; message: string } };
    return new ApiError(response.status, error.code, error.message, id, wait);
  } catch {
    return new ApiError(response.status, null, `${server.name} answered ${response.status}.`, id, wait);
  }
}

/** What to show of anything thrown. */
export function asFailure(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError(0, null, thrown instanceof Error ? thrown.message : String(thrown));
}
