/** Jobs side by side: what they were told, how far they are, and what their clients reported. */
import type { Job, JobEvent } from './client';
import { count } from './format';
import { protectionOf, stepsOf } from './jobs';
import { metricLines, type Lines } from './metrics';

export interface Row {
  name: string;
  values: string[];
  differs: boolean;
}

/** A metric of all jobs that have it, a line each. */
export interface MetricOfJobs extends Lines {
  name: string;
}

/** Settings of any depth by their path: `lora.rank`. */
function flat(value: unknown, path: string, into: Map<string, string>): void {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(value)) flat(inner, path ? `${path}.${name}` : name, into);
  } else if (value !== null && value !== undefined) {
    into.set(path, typeof value === 'string' ? value : JSON.stringify(value));
  }
}

function figuresOf(job: Job): Map<string, string> {
  const { type, split, features } = job.method;
  const figures = new Map([
    ['Status', job.status],
    ['Steps', stepsOf(job)],
    ['Tokens read', count(job.trained_tokens)],
    ['Model', job.model],
    ['Protection', protectionOf(job)],
    ['Method', type],
  ]);
  flat(split ?? features, '', figures);
  figures.set('seed', String(job.seed));
  if (job.training_file) figures.set('training_file', job.training_file);
  flat(job.metadata, 'metadata', figures);
  return figures;
}

/** Every figure that one of them has, in the order in which they come. */
export function rowsOf(jobs: Job[]): Row[] {
  const all = jobs.map(figuresOf);
  const names = [...new Set(all.flatMap((figures) => [...figures.keys()]))];
  return names.map((name) => {
    const values = all.map((figures) => figures.get(name) ?? '–');
    return { name, values, differs: new Set(values).size > 1 };
  });
}

/** The reports of jobs, by metric; `labels` names the jobs. */
export function metricsOf(reports: JobEvent[][], labels: string[]): MetricOfJobs[] {
  const charts = reports.map(metricLines);
  const names = [...new Set(charts.flatMap((chart) => chart.lines.map((line) => line.label)))].sort();
  return names.map((name) => {
    const having = charts.flatMap((chart, at) => {
      const line = chart.lines.find((other) => other.label === name);
      return line ? [{ label: labels[at] ?? '', byStep: new Map(chart.x.map((step, place) => [step, line.values[place] ?? null])) }] : [];
    });
    const x = [...new Set(having.flatMap(({ byStep }) => [...byStep.keys()]))].sort((a, b) => a - b);
    return { name, x, lines: having.map(({ label, byStep }) => ({ label, values: x.map((step) => byStep.get(step) ?? null) })) };
  });
}
