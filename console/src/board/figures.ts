/** Numbers of runs, for people. */
import { count } from '../lib/format';
import type { Row } from './api';

/** A score or a leak, which lie between 0 and 1. */
export function score(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : value.toFixed(3);
}

/** `12 of 60 steps`. */
export function progress(run: Row): string {
  const unit = run.planned === 1 || (run.planned === null && run.steps === 1) ? run.unit.slice(0, -1) : run.unit;
  return run.planned === null ? `${count(run.steps)} ${unit}` : `${count(run.steps)} of ${count(run.planned)} ${unit}`;
}

export interface Rates {
  hits: number;
  alarms: number;
  misses: number;
  rejections: number;
  precision: number | null;
  recall: number | null;
  falseRate: number | null;
  f1: number | null;
}

/** Of true positives, false positives, false negatives and true negatives; a rate of nothing is null. */
export function rates([hits, alarms, misses, rejections]: [number, number, number, number]): Rates {
  const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);
  return {
    hits,
    alarms,
    misses,
    rejections,
    precision: share(hits, hits + alarms),
    recall: share(hits, hits + misses),
    falseRate: share(alarms, alarms + rejections),
    f1: share(2 * hits, 2 * hits + alarms + misses),
  };
}
