import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // Class names follow from the style alone: the build gives the same bytes in any folder.
    cssHash: ({ hash, css }) => `c-${hash(css)}`,
  },
};
