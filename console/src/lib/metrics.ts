/** Lines of a chart from the metrics that a client reported. */
import type { JobEvent } from './client';

export interface Lines {
  x: number[];
  lines: { label: string; values: (number | null)[] }[];
}

/** By step; of two reports of one value the newer holds. */
export function metricLines(events: JobEvent[]): Lines {
  const steps = new Map<number, Map<string, number>>();
  const names = new Set<string>();
  for (const event of events) {
    if (event.type !== 'metrics') continue;
    const { step, ...values } = event.data as Record<string, unknown>;
    if (typeof step !== 'number') continue;
    const row = steps.get(step) ?? new Map<string, number>();
    for (const [name, value] of Object.entries(values)) {
      if (typeof value !== 'number') continue;
      names.add(name);
      row.set(name, value);
    }
    steps.set(step, row);
  }
  const x = [...steps.keys()].sort((a, b) => a - b);
  const lines = [...names].sort().map((label) => ({ label, values: x.map((step) => steps.get(step)?.get(label) ?? null) }));
  return { x, lines };
}
