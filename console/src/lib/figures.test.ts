import { expect, it } from 'vitest';
import type { JobEvent, UsageRow } from './client';
import { metricLines } from './metrics';
import { budgetFigure, dailyLines, daysBetween, forecast, money, sumBy } from './usage';

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

const used = (day: string, model: string, steps: number): UsageRow =>
  ({ day, model, key_id: 'k', requests: 0, steps, training_tokens: 0, inference_tokens: 0, bytes_in: 0, bytes_out: 0, device_seconds: 0, cost: steps / 4 }) as UsageRow;

it('usage is summed by group, and the smallest groups of a chart are one line', () => {
  const rows = [used('2026-11-01', 'a', 1), used('2026-11-03', 'a', 2), used('2026-11-03', 'b', 7), used('2026-11-03', 'c', 1)];
  const days = daysBetween('2026-11-01', '2026-11-03');
  expect(days).toEqual(['2026-11-01', '2026-11-02', '2026-11-03']);
  expect(sumBy(rows, 'model').get('a')).toMatchObject({ steps: 3, cost: 0.75 });
  expect(dailyLines(rows, 'steps', 'model', days, 1)).toEqual([
    { label: 'b', values: [0, 0, 7] },
    { label: 'others', values: [1, 0, 3] },
  ]);
});

it('a budget is forecast from how much of the month has passed', () => {
  expect(forecast(100, new Date('2026-11-16T00:00:00Z'))).toBe(200);
  expect(forecast(7, new Date('2026-12-31T23:59:59Z'))).toBe(7);
  expect(forecast(1, new Date('2026-11-01T00:00:10Z'))).toBe(720);
  expect([money(0.0125, 'EUR'), money(1234.5, 'EUR')]).toEqual(['€0.0125', '€1,234.50']);
  expect(budgetFigure({ name: 'monthly_device_seconds' }, 240)).toBe('4 min');
  expect(budgetFigure({ name: 'monthly_tokens' }, 1200)).toBe('1,200 tokens');
});
