import { expect, it } from 'vitest';
import type { Job, JobEvent } from './client';
import { metricsOf, rowsOf } from './compare';

const job = (rank: number, metadata: Record<string, string>): Job =>
  ({
    status: 'running',
    model: 'm',
    seed: 7,
    trained_tokens: 12,
    protection: null,
    metadata,
    method: { type: 'split', split: { adapter_sets: 1, lora: { rank, target_modules: ['query'] } } },
    split: { next_seq: 3 },
  }) as unknown as Job;

const report = (step: number, values: Record<string, number>): JobEvent => ({ type: 'metrics', data: { step, ...values } }) as unknown as JobEvent;

it('what differs is said, and what only one job has', () => {
  const rows = rowsOf([job(4, {}), job(8, { team: 'a' })]);
  const row = (name: string) => rows.find((one) => one.name === name);
  expect(row('lora.rank')).toEqual({ name: 'lora.rank', values: ['4', '8'], differs: true });
  expect(row('lora.target_modules')).toEqual({ name: 'lora.target_modules', values: ['["query"]', '["query"]'], differs: false });
  expect(row('metadata.team')).toEqual({ name: 'metadata.team', values: ['–', 'a'], differs: true });
  expect(row('Steps')).toEqual({ name: 'Steps', values: ['2', '2'], differs: false });
});

it('a metric has a line for each job that reported it, on the steps of all', () => {
  const metrics = metricsOf([[report(1, { loss: 0.5 }), report(3, { loss: 0.25, acc: 1 })], [report(2, { loss: 0.75 })], []], ['a', 'b', 'c']);
  expect(metrics).toEqual([
    { name: 'acc', x: [1, 3], lines: [{ label: 'a', values: [null, 1] }] },
    {
      name: 'loss',
      x: [1, 2, 3],
      lines: [
        { label: 'a', values: [0.5, null, 0.25] },
        { label: 'b', values: [null, 0.75, null] },
      ],
    },
  ]);
});
