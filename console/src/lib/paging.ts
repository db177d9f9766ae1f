/** Lists that are read by cursor, and read again. */
import type { Page } from './client';

export interface Known<T> {
  items: T[];
  /** Whether the host has more behind the last one. */
  more: boolean;
}

/**
 * What is known after a page was read behind the first `start` items.
 *
 * Known items between the page's ends that it lacks are gone; those behind it stay, unless the page does not reach them:
 * then there may be a gap, and the list ends with the page.
 */
export function merge<T extends { id: string }>(known: Known<T>, page: Page<T>, start: number): Known<T> {
  const head = known.items.slice(0, start);
  const last = page.data.at(-1);
  const end = page.has_more && last ? known.items.findIndex((item, at) => at >= start && item.id === last.id) : -1;
  const behind = end < 0 ? [] : known.items.slice(end + 1);
  return { items: [...head, ...page.data, ...behind], more: behind.length > 0 ? known.more : page.has_more };
}
