import { expect, it } from 'vitest';
import { ApiError } from './client';
import { delayAfter } from './poll';

it('a host that is away is asked often, one that refuses less and less, and one that says when, then', () => {
  const away = new ApiError(0, null, '');
  const refusal = new ApiError(403, null, '');
  const later = new ApiError(429, null, '', null, 12_000);
  expect([1, 2, 9].map((failures) => delayAfter(away, failures, 2_000))).toEqual([2_000, 4_000, 5_000]);
  expect([1, 2, 9].map((failures) => delayAfter(refusal, failures, 2_000))).toEqual([4_000, 8_000, 30_000]);
  expect(delayAfter(later, 1, 2_000)).toBe(12_000);
});
