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
  lines: { label: string; values: (number | null)[]; dashed?: boolean; limit?: boolean }[];
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
  /** Whether it was trained on pairs of texts, where its report says it. */
  pairs: boolean | null;
  retries: number;
  truncated: number | null;
}

/** Whether a folder could be read. */
export function readable<T extends Row>(folder: T | Folder): folder is T {
  return folder.state !== 'damaged' && folder.state !== 'empty';
}

export interface Sent {
  hosts: { host: string; kinds: SentKind[] }[];
  calls: number;
  bytes: number;
  training_bytes: number | null;
  learns: string[];
  protection: string;
  protection_means: string;
  notes: string[];
  no_record: string | null;
}

export interface SentKind {
  kind: string;
  carries: string;
  calls: number;
  bytes: number;
  refused: number;
  unanswered: number;
}

export interface Difference {
  what: string;
  kind: string;
  seq: number | null;
  sent_bytes: number | null;
  sent_sha256: string | null;
  listed_bytes: number | null;
  listed_sha256: string | null;
}

export interface LedgerCheck {
  agrees: boolean | null;
  calls: number;
  matching: number;
  hosts: { host: string; calls: number; matching: number; jobs: { job: string; why: string; differences: Difference[] }[] }[];
  lines: string[];
  means: Record<string, string>;
}

export interface Curve {
  label: string;
  rows: number;
  /** [false positive rate, true positive rate]. */
  roc: [number, number][];
  /** [recall, precision]. */
  pr: [number, number][];
  /** At the thresholds 0.00 to 1.00: true positives, false positives, false negatives, true negatives. */
  sweep: [number, number, number, number][];
}

export interface WrongRow {
  row: number;
  text: string[];
  truth: string;
  guess: string;
  sure?: number;
  of_truth?: number;
}

export interface Evaluation {
  data: string | null;
  at: number | null;
  steps: number | null;
  rows_of_the_training: boolean;
  report: {
    task: string;
    scores: Record<string, number>;
    labels: { name: string; precision: number; recall: number; f1: number; rows: number; auc: number | null }[];
    confusion: number[][] | null;
    calibration: { error: number; brier: number; confidence: number[]; right: number[]; rows: number[] } | null;
    decided_by: string[];
    calibrated_by: string[];
  };
  curves: Curve[];
  thresholds?: Record<string, number>;
  worst: WrongRow[];
  errors: number | null;
}

export interface Quality {
  state: 'none' | 'working' | 'failed' | 'done';
  message: string;
  here: string;
  result: Evaluation | null;
}

export interface Said {
  task: string;
  said?: string[];
  labels?: { label: string; probability: number }[];
  thresholds?: Record<string, number>;
  value?: number;
  spans?: { start: number; end: number; label: string }[];
}

export interface Point {
  name: string;
  kind: 'run' | 'frontier';
  run: string | null;
  method: string;
  protection: string;
  accuracy: number;
  low: number;
  high: number;
  leak: number;
  limit: number | null;
  hosts: number;
  seeds: number;
  megabytes: number;
  command: string;
  front: boolean;
}

export interface Group {
  name: string;
  guessing: number;
  points: Point[];
  words: { name: string; lines: string[] }[];
}

export interface Points {
  groups: Group[];
  left_out: { name: string; why: string }[];
}

const PATIENCE_MS = 30_000;

export async function get<T>(path: string): Promise<T> {
  return (await (await send(`/api/${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) })).json()) as T;
}

export async function post<T>(path: string, body: object = {}): Promise<T> {
  const headers = { 'Content-Type': 'application/json' };
  return (await (await send(`/api/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json()) as T;
}

/** The address of what is told of a run. */
export function ofRun(id: string, part = ''): string {
  return `run${part && `/${part}`}?name=${encodeURIComponent(id)}`;
}
