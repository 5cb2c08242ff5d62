// Builds the site over a leaderboard of invented models and serves it; what every test file shares.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from '../scripts/browser.mjs';
import { serve } from '../scripts/serve.mjs';
import { write } from '../scripts/synthetic.mjs';

export const here = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), 'slm-site-test-'));
let number = 0;

/** Builds the site; `change` may alter the leaderboard before it is written. */
export function build(count, options = {}) {
  const data = join(work, `data-${++number}`);
  const dist = join(work, `dist-${number}`);
  const board = write(data, count, { runs: 2, ...options });
  if (options.change !== undefined) {
    options.change(board);
    mkdirSync(join(data, 'website/assets/data'), { recursive: true });
    writeFileSync(join(data, 'website/assets/data/leaderboard.json'), JSON.stringify(board));
  }
  execFileSync(process.execPath, [join(here, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', dist, '--emptyOutDir', '--logLevel', 'error'], {
    cwd: here, env: { ...process.env, SLM_DATA_ROOT: data, GITHUB_REPOSITORY: 'example/slm-benchmark' }, stdio: ['ignore', 'ignore', 'inherit'],
  });
  return { board, dist, data };
}

/** A browser, and for each built site a server; everything is closed by `close`. */
export async function start() {
  const browser = await launch();
  const servers = [];
  return {
    browser,
    async open(site, options = {}) {
      const server = await serve(site.dist, options);
      servers.push(server);
      return server;
    },
    /** A page that fails the test on script errors, policy violations and requests to other hosts. */
    async page(server, path, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options });
      const page = await context.newPage();
      const problems = [];
      page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) problems.push(`console: ${message.text()}`);
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(server.url) && !/^(blob|data):/.test(request.url())) problems.push(`request to ${request.url()}`);
      });
      page.problems = problems;
      await page.goto(`${server.url}/${path}`);
      if (options.javaScriptEnabled !== false) await page.waitForSelector('html[data-ready]', { timeout: 20000 });
      return page;
    },
    async close() {
      await Promise.all(servers.map((server) => server.close()));
      await browser.close();
      rmSync(work, { recursive: true, force: true });
    },
  };
}

/** Names of the models in the table, from top to bottom. */
export function names(page) {
  return page.locator('#ranking tbody tr[data-slug] a.name').allTextContents();
}

/** Rank shown beside each model, by name. */
export async function ranks(page) {
  return Object.fromEntries(await page.locator('#ranking tbody tr[data-slug]').evaluateAll((rows) => rows.map((row) => [row.querySelector('a.name').textContent, row.querySelector('.c-rank .r')?.textContent ?? null])));
}
