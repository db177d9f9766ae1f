import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const LICENCES = { clsx: 'license', 'esm-env': 'LICENSE', 'openapi-fetch': 'LICENSE', svelte: 'LICENSE.md', uplot: 'LICENSE' };

it.each(Object.entries(LICENCES))('the bundle carries the licence of %s', (name, file) => {
  const text = readFileSync(`node_modules/${name}/${file}`, 'utf8').trim();
  expect(readFileSync('src/licences.txt', 'utf8')).toContain(text);
});
