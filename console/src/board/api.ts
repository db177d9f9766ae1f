/** What the board's server answers: sdk/python/src/blindtune/board/. */
import { send } from '../lib/http';

export interface Leak {
  worst: number | null;
  tier: number | null;
  limit: number | null;
  enough: boolean | null;
  source: string;
  guessing: number;
  words: string;
}

export interface Score {
  name: string;
  value: number;
  f1: number | null;
  on: string;
  rows: number | null;
}

export type RunState = 'running' | 'finished' | 'paused' | 'damaged' | 'empty';

/** What is told of every folder. */
export interface Folder {
  id: string;
  folder: string;
  state: RunState;
  state_words: string;
}

export interface Row extends Folder {
  model: string;
  method: string;
  task: string | null;
  protection: string;
  protection_means: string;
  unit: 'steps' | 'epochs';
  steps: number;
  planned: number | null;
  score: Score | null;
  leak: Leak;
  hosts: string[];
  changed_at: number | null;
  bytes_up: number | null;
  bytes_down: number | null;
}

export interface RunList {
  root: string;
  blindtune: string;
  runs: (Row | Folder)[];
}

export interface ChartData {
  key: string;
  title: string;
  x_label: string;
  x: number[];
  lines: { label: string; values: (number | null)[]; dashed?: boolean }[];
  unit: 'number' | 'seconds';
  every: number;
}

export interface Tier {
  tier: number;
  name: string;
  score: number;
  low: number | null;
  high: number | null;
  control: number | null;
  oracle: number | null;
  limit: number | null;
  enough: boolean | null;
  attack: string;
}

export interface Setting {
  name: string;
  value: string;
  usual: string;
  changed: boolean;
  means: string;
}

export interface Run extends Row {
  charts: ChartData[];
  tiers: Tier[];
  verdict: string[];
  private_enough: boolean | null;
  decision: string[];
  chosen: string[];
  settings: Setting[];
  command: string;
  label_names: string[];
  rows: number | null;
  retries: number;
  truncated: number | null;
}

/** Whether a folder could be read. */
export function readable<T extends Row>(folder: T | Folder): folder is T {
  return folder.state !== 'damaged' && folder.state !== 'empty';
}

const PATIENCE_MS = 30_000;

export async function get<T>(path: string): Promise<T> {
  return (await (await send(`/api/${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) })).json()) as T;
}

export async function post<T>(path: string, body: object = {}): Promise<T> {
  const headers = { 'Content-Type': 'application/json' };
  return (await (await send(`/api/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json()) as T;
}

/** The address of a run, or of a part of it. */
export function runPath(id: string, ...parts: string[]): string {
  return ['runs', encodeURIComponent(id), ...parts].join('/');
}
