import { expect, it } from 'vitest';
import type { JobEvent, LedgerEntry, UsageRow } from './client';
import { addTotals } from './ledger.svelte';
import { metricLines } from './metrics';
import { dailyLines, daysBetween, sumBy } from './usage';

function reported(data: Record<string, unknown>): JobEvent {
  return { id: '', object: 'fine_tuning.job.event', created_at: 0, level: 'info', message: '', type: 'metrics', data } as JobEvent;
}

it('metrics are lines by step, with gaps, and of two reports the newer holds', () => {
  const events = [{ step: 2, loss: 1 }, { step: 1, loss: 3, f1: 0.5 }, { step: 2, loss: 2 }].map(reported);
  expect(metricLines(events)).toEqual({
    x: [1, 2],
    lines: [
      { label: 'f1', values: [0.5, null] },
      { label: 'loss', values: [3, 2] },
    ],
  });
});

it('totals of a ledger are the same whatever the pages', () => {
  const entry = (kind: string, bytes: number): LedgerEntry =>
    ({ kind, bytes, tensors: [{ name: 'rows', dtype: 'I64', shape: [1], bytes: bytes - 1, sha256: '' }] }) as unknown as LedgerEntry;
  const entries = [entry('forward', 10), entry('backward', 20), entry('forward', 5)];
  const whole = addTotals([], entries);
  expect(whole).toEqual([
    { kind: 'forward', calls: 2, bytes: 15, tensorBytes: 13 },
    { kind: 'backward', calls: 1, bytes: 20, tensorBytes: 19 },
  ]);
  expect(entries.reduce((totals, one) => addTotals(totals, [one]), addTotals([], []))).toEqual(whole);
});

const used = (day: string, model: string, steps: number): UsageRow =>
  ({ day, model, key_id: 'k', requests: 0, steps, training_tokens: 0, inference_tokens: 0, bytes_in: 0, bytes_out: 0, device_seconds: 0 }) as UsageRow;

it('usage is summed by group, and the smallest groups of a chart are one line', () => {
  const rows = [used('2026-11-01', 'a', 1), used('2026-11-03', 'a', 2), used('2026-11-03', 'b', 7), used('2026-11-03', 'c', 1)];
  const days = daysBetween('2026-11-01', '2026-11-03');
  expect(days).toEqual(['2026-11-01', '2026-11-02', '2026-11-03']);
  expect(sumBy(rows, 'model').get('a')?.steps).toBe(3);
  expect(dailyLines(rows, 'steps', 'model', days, 1)).toEqual([
    { label: 'b', values: [0, 0, 7] },
    { label: 'others', values: [1, 0, 3] },
  ]);
});
