import { expect, it } from 'vitest';
import { merge } from './paging';

const of = (...ids: string[]): { id: string }[] => ids.map((id) => ({ id }));
const ids = (list: { id: string }[]): string => list.map(({ id }) => id).join('');

function merged(known: string, more: boolean, page: string, hasMore: boolean, start = 0): [string, boolean] {
  const result = merge({ items: of(...known), more }, { data: of(...page), has_more: hasMore }, start);
  return [ids(result.items), result.more];
}

it('new ones come to the front, and what is behind the page stays', () => {
  expect(merged('fedcba', false, 'hgf', true)).toEqual(['hgfedcba', false]);
  expect(merged('fedcba', true, 'hgf', true)).toEqual(['hgfedcba', true]);
});

it('what a page lacks between its ends is gone', () => {
  expect(merged('fedcba', true, 'fd', true)).toEqual(['fdcba', true]);
});

it('where the page does not reach what is known, the list ends with it: there may be a gap', () => {
  expect(merged('cba', false, 'zyx', true)).toEqual(['zyx', true]);
});

it('the last page ends the list', () => {
  expect(merged('fedcba', true, 'cb', false, 3)).toEqual(['fedcb', false]);
  expect(merged('fed', true, '', false, 3)).toEqual(['fed', false]);
});
