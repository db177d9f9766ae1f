import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds the API: a host on this machine. */
const host = process.env.BLINDTUNE_BASE_URL ?? 'http://127.0.0.1:8080';
const proxy = Object.fromEntries(['/v1', '/readyz', '/healthz'].map((path) => [path, host]));

export default defineConfig({
  base: '/console/',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    sourcemap: false,
    // The content security policy allows no inline script and no data: script.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: { proxy },
  test: { include: ['src/**/*.test.ts'] },
});
