import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** Where `npm run dev:board` finds the API: `blindtune board --port 8091` on this machine. */
const board = process.env.BLINDTUNE_BOARD_URL ?? 'http://127.0.0.1:8091';

/** The run board, which the SDK's wheel carries. */
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    outDir: '../sdk/python/src/blindtune/board/page',
    emptyOutDir: true,
    rollupOptions: { input: 'board.html' },
  },
  server: { proxy: { '/api': board } },
});
