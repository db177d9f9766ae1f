/** What the console reads out of a job. */
import type { Job } from './client';
import { count, plural } from './format';
import type { JobStep } from './sse';

export const STATES = ['queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled', 'validating_files'];

export function isOver(job: Job): boolean {
  return ['succeeded', 'failed', 'cancelled'].includes(job.status);
}

/** Step calls of a split job; rows of a features job. */
export function stepsOf(job: Job): string {
  if (job.split) return count(job.split.next_seq - 1);
  if (job.features) return `${count(job.features.rows_done)} of ${count(job.features.rows)} rows`;
  return '–';
}

/** The job as a step of its stream found it. */
export function after(step: JobStep, job: Job): Job {
  const { next_seq, optimizer_steps, trained_tokens, rows_done, last_call_at } = step;
  const split = job.split && { ...job.split, next_seq, optimizer_steps };
  const features = job.features && { ...job.features, rows_done };
  return { ...job, trained_tokens, last_call_at, split, features };
}

/** What a job waits for; a queued one also for whom. */
export function detailsOf(job: Job): string | null {
  if (job.queue_position === null || !job.status_details) return job.status_details;
  const others = job.queue_position - 1;
  return `${job.status_details} ${others === 0 ? 'It is the next.' : `${plural(others, 'job')} of the project before it.`}`;
}

/** What the text filter looks at, in lower case. */
export function cluesOf(job: Job): string {
  const metadata = Object.entries(job.metadata ?? {}).flat();
  const clues = [job.id, job.model, job.user_provided_suffix, job.fine_tuned_model, job.protection, job.method.type, ...metadata];
  return clues.filter((clue) => clue).join('\n').toLowerCase();
}

const PROTECTION: Record<string, string> = {
  blind: 'the host is sent the same under any labels (proven)',
  bounded: 'what a label can change is bounded by label_epsilon (proven)',
  hurdle: 'hidden as far as the audit measured; stronger attacks exist',
  open: 'plain LoRA, what is sent can tell the labels',
};

/** The class as the client declared it; the host does not check it. */
export function protectionOf(job: Job): string {
  if (!job.protection) return 'none declared';
  const words = PROTECTION[job.protection];
  return words ? `${job.protection}: ${words}` : job.protection;
}
