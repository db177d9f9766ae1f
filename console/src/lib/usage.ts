/** Sums over rows of usage, which come by key, model and day at once. */
import type { Budget, UsageRow } from './client';
import { bytes, count, duration } from './format';

export type Measure = 'requests' | 'steps' | 'training_tokens' | 'inference_tokens' | 'bytes_in' | 'bytes_out' | 'device_seconds';
/** What groups are summed by: the cost is there where the host has prices. */
export type Summed = Measure | 'cost';
export type Grouping = 'day' | 'model' | 'key_id';

export const MEASURES: { name: Measure; title: string; format: (value: number | null) => string }[] = [
  { name: 'training_tokens', title: 'Training tokens', format: count },
  { name: 'inference_tokens', title: 'Inference tokens', format: count },
  { name: 'steps', title: 'Steps', format: count },
  { name: 'device_seconds', title: 'Device time', format: duration },
  { name: 'bytes_in', title: 'Bytes in', format: bytes },
  { name: 'bytes_out', title: 'Bytes out', format: bytes },
  { name: 'requests', title: 'Requests', format: count },
];

export type Sums = Record<Summed, number>;

export function sumBy(rows: UsageRow[], by: Grouping): Map<string, Sums> {
  const groups = new Map<string, Sums>();
  for (const row of rows) {
    const name = row[by] ?? '';
    const sums = groups.get(name) ?? ({ ...Object.fromEntries(MEASURES.map((measure) => [measure.name, 0])), cost: 0 } as Sums);
    for (const measure of MEASURES) sums[measure.name] += row[measure.name];
    sums.cost += row.cost ?? 0;
    groups.set(name, sums);
  }
  return groups;
}

/** An amount of money with its currency. */
export function money(amount: number, currency: string): string {
  return new Intl.NumberFormat('en-US', { style: 'currency', currency, maximumFractionDigits: amount < 1 ? 4 : 2 }).format(amount);
}

/** The unit of a budget is in its name. */
export function budgetFigure(budget: Pick<Budget, 'name'>, value: number): string {
  return budget.name === 'monthly_device_seconds' ? duration(value) : `${count(value)} tokens`;
}

/** What a budget's use will be at the end of the month (UTC) if it goes on as it went since the first. */
export function forecast(used: number, now: Date): number {
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
  const [first, next] = [Date.UTC(year, month), Date.UTC(year, month + 1)];
  // Of the first minutes of a month nothing can be told.
  const passed = Math.max(now.getTime() - first, 3_600_000);
  return Math.round((used * (next - first)) / passed);
}

/** All days from one to the other, both included. */
export function daysBetween(first: string, last: string): string[] {
  const days: string[] = [];
  for (let at = Date.parse(first); at <= Date.parse(last); at += 86_400_000) days.push(new Date(at).toISOString().slice(0, 10));
  return days;
}

/** Lines for a chart by day: the largest groups, and the rest as one. */
export function dailyLines(rows: UsageRow[], measure: Measure, by: Grouping, days: string[], most = 7): { label: string; values: number[] }[] {
  const place = new Map(days.map((day, at) => [day, at]));
  const lines = new Map<string, number[]>();
  for (const row of rows) {
    const at = place.get(row.day ?? '');
    if (at === undefined) continue;
    const name = by === 'day' ? 'all' : (row[by] ?? '');
    const values = lines.get(name) ?? days.map(() => 0);
    values[at] = (values[at] ?? 0) + row[measure];
    lines.set(name, values);
  }
  const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
  const sorted = [...lines].map(([label, values]) => ({ label, values })).filter(({ values }) => total(values) > 0);
  sorted.sort((a, b) => total(b.values) - total(a.values));
  if (sorted.length <= most) return sorted;
  const rest = sorted.slice(most).reduce((sum, line) => sum.map((value, at) => value + (line.values[at] ?? 0)), days.map(() => 0));
  return [...sorted.slice(0, most), { label: 'others', values: rest }];
}
