/** Asks again and again while the tab is seen; less often while the host refuses or is away. */
import { ApiError } from './http';

const LONGEST_MS = 30_000;

/** Runs `work` now, and then `every` milliseconds after it ended. The answer stops it. */
export function poll(work: () => Promise<void>, every: number): () => void {
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running = false;
  let failures = 0;

  async function round(): Promise<void> {
    if (stopped || running) return;
    running = true;
    clearTimeout(timer);
    let next = every;
    try {
      await work();
      failures = 0;
    } catch (error) {
      failures += 1;
      next = delayAfter(error, failures, every);
    }
    running = false;
    if (!stopped && document.visibilityState !== 'hidden') timer = setTimeout(() => void round(), next);
  }

  const seen = (): void => {
    if (document.visibilityState !== 'hidden') void round();
  };
  document.addEventListener('visibilitychange', seen);
  // Not at once: an effect that starts this must not depend on what `work` reads.
  queueMicrotask(() => void round());
  return () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', seen);
  };
}

/** A host that is away is asked often: it may come back at any moment. One that refuses is not. */
export function delayAfter(error: unknown, failures: number, every: number): number {
  if (!(error instanceof ApiError)) return every;
  if (error.retryAfterMs) return Math.max(every, error.retryAfterMs);
  const away = error.status === 0 || error.status >= 500;
  return away ? Math.min(every * failures, 5_000) : Math.min(every * 2 ** failures, LONGEST_MS);
}
