/**
 * Server-sent events over fetch: EventSource cannot carry a bearer.
 *
 * Owns: the reading of a stream, and going on after the last event when it breaks.
 */
import type { JobEvent } from './client';
import { ApiError, send } from './http';

export interface Message {
  id: string | null;
  data: string;
}

/** Takes pieces of a stream as they come, gives whole messages. */
export class EventParser {
  private rest = '';
  private id: string | null = null;
  private data: string[] = [];

  feed(piece: string): Message[] {
    // A piece may end between \r and \n: the \r waits for the next.
    const text = this.rest + piece;
    const held = text.endsWith('\r') ? 1 : 0;
    const lines = text.slice(0, text.length - held).split(/\r\n|\n|\r/);
    this.rest = (lines.pop() ?? '') + text.slice(text.length - held);
    return lines.flatMap((line) => this.line(line));
  }

  private line(line: string): Message[] {
    if (line === '') {
      if (this.data.length === 0) return [];
      const message = { id: this.id, data: this.data.join('\n') };
      this.data = [];
      return [message];
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') this.id = value;
    if (field === 'data') this.data.push(value);
    return [];
  }
}

export type StreamState = 'connecting' | 'live' | 'lost' | 'ended';

/** The host writes a comment after 15 s of silence: a connection that is silent for longer is dead. */
const SILENCE_MS = 40_000;
const LONGEST_WAIT_MS = 5_000;

/** How far a job has come: `job.step` of its stream. */
export interface JobStep {
  object: 'fine_tuning.job.step';
  job_id: string;
  next_seq: number;
  optimizer_steps: number;
  trained_tokens: number;
  rows_done: number;
  last_call_at: number | null;
}

interface Following {
  event: (events: JobEvent[]) => void;
  step: (step: JobStep) => void;
  state: (state: StreamState) => void;
}

/**
 * Follow a job's events until it is over, or those of all jobs (`null`) from now on, until the signal is aborted; throws what no retry mends.
 */
export async function follow(job: string | null, to: Following, signal: AbortSignal): Promise<void> {
  let last: string | null = null;
  let wait = 250;
  to.state('connecting');
  while (!signal.aborted) {
    try {
      for await (const messages of messagesOf(job, last, signal)) {
        to.state('live');
        wait = 250;
        last = messages.findLast((message) => message.id)?.id ?? last;
        const over = messages.some((message) => message.data === '[DONE]');
        const told = messages.filter((message) => message.data !== '[DONE]').map((message) => JSON.parse(message.data) as JobEvent | JobStep);
        const steps = told.filter(isStep);
        const events = told.filter((one): one is JobEvent => !isStep(one));
        if (events.length > 0) to.event(events);
        steps.forEach(to.step);
        if (over) return to.state('ended');
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && [400, 401, 403, 404].includes(error.status)) throw error;
      if (error instanceof ApiError && error.retryAfterMs) wait = Math.max(wait, error.retryAfterMs);
    }
    if (signal.aborted) return;
    to.state('lost');
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

function isStep(told: JobEvent | JobStep): told is JobStep {
  return told.object === 'fine_tuning.job.step';
}

/** Messages as they come; an empty list when the connection is there. */
async function* messagesOf(job: string | null, last: string | null, outer: AbortSignal): AsyncGenerator<Message[]> {
  const silence = new AbortController();
  const stop = (): void => silence.abort();
  outer.addEventListener('abort', stop, { once: true });
  let alarm = setTimeout(stop, SILENCE_MS);
  try {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (last) headers['Last-Event-ID'] = last;
    const path = `/v1/${job === null ? '' : `fine_tuning/jobs/${encodeURIComponent(job)}/`}events?steps=true`;
    const response = await send(path, { headers, signal: silence.signal });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    yield [];
    while (reader) {
      const { value, done } = await reader.read();
      clearTimeout(alarm);
      if (done) return;
      alarm = setTimeout(stop, SILENCE_MS);
      yield parser.feed(value);
    }
  } finally {
    clearTimeout(alarm);
    silence.abort();
    outer.removeEventListener('abort', stop);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
