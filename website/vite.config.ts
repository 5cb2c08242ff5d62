import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { defineConfig } from 'vite';
import { site } from './build/site.ts';

const here = import.meta.dirname;

/** Folder that holds website/assets/data/leaderboard.json and results/: the repository, or another one for tests. */
const root = resolve(process.env['SLM_DATA_ROOT'] ?? resolve(here, '..'));
const pages = ['index', 'all', 'model', 'compare', 'methodology', 'submit', 'support', 'queue'];

export default defineConfig({
  root: here,
  base: './',
  define: {
    // `owner/name` on GitHub, for links to issues: set by GitHub Actions; elsewhere the page works it out or asks.
    REPOSITORY: JSON.stringify(process.env['GITHUB_REPOSITORY'] ?? ''),
  },
  build: {
    target: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // The policy allows no data: styles or fonts.
    assetsInlineLimit: 0,
    rollupOptions: { input: pages.filter((page) => existsSync(resolve(here, `${page}.html`))).map((page) => resolve(here, `${page}.html`)) },
  },
  worker: { format: 'es' },
  plugins: [site(here, root)],
});
