import { expect, it } from 'vitest';
import type { Row } from './api';
import { progress, rates, score } from './figures';
import { quoted } from './shell';

it('rates are those of the counts, and of nothing there is none', () => {
  expect(rates([3, 1, 2, 4])).toMatchObject({ precision: 0.75, recall: 0.6, falseRate: 0.2, f1: 6 / 9 });
  expect(rates([0, 0, 5, 4])).toMatchObject({ precision: null, recall: 0, f1: 0 });
  expect(rates([0, 0, 0, 0])).toMatchObject({ recall: null, falseRate: null, f1: null });
});

it('a score has three digits, and what is not known has none', () => {
  expect([score(0.6004), score(1), score(null), score(undefined)]).toEqual(['0.600', '1.000', '–', '–']);
});

it('progress has its unit', () => {
  const run = (steps: number, planned: number | null, unit: 'steps' | 'epochs') => progress({ steps, planned, unit } as Row);
  expect([run(12, 1_200, 'steps'), run(1, 1, 'epochs'), run(3, null, 'steps')]).toEqual(['12 of 1,200 steps', '1 of 1 epoch', '3 steps']);
});

it('a word that a shell would read otherwise is quoted', () => {
  expect([quoted('runs/first-1'), quoted("it's"), quoted('a b'), quoted('')]).toEqual(['runs/first-1', `'it'"'"'s'`, `'a b'`, `''`]);
});
