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
