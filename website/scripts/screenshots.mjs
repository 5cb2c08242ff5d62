// Pictures of the pages, light, dark and on a phone: node scripts/screenshots.mjs OUT_DIR [--data DIR] [--only name,name]

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { write } from './synthetic.mjs';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { data: { type: 'string' }, only: { type: 'string' } } });
const out = positionals[0];
if (out === undefined) throw new Error('usage: node scripts/screenshots.mjs OUT_DIR [--data DIR] [--only name,name]');
mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'slm-site-'));
const data = values.data ?? join(work, 'data');
if (values.data === undefined) write(data, 37, { runs: 3 });
execFileSync('npx', ['vite', 'build', '--outDir', join(work, 'dist'), '--emptyOutDir', '--logLevel', 'error'], { cwd: here, env: { ...process.env, SLM_DATA_ROOT: data, GITHUB_REPOSITORY: 'example/slm-benchmark' }, stdio: 'inherit' });
const server = await serve(join(work, 'dist'), { answers: { '/api/queue': { body: JSON.stringify({ generated_at: '2026-11-23T20:00:00Z', jobs: [{ model: 'Alder-3-1.3B', issue: 12, state: 'evaluating', submitted_at: '2026-11-23T18:10:00Z', updated_at: '2026-11-23T19:58:00Z', progress: 0.42, task: 'hellaswag' }, { model: 'Birch-2-490M', issue: 14, state: 'queued', submitted_at: '2026-11-23T19:40:00Z', position: 1 }] }) } } });
const { models } = await (await fetch(`${server.url}/assets/data/leaderboard.json`)).json();
const first = models.filter((model) => model.run !== null);
const id = encodeURIComponent(first[0]?.id ?? '');
const pages = {
  index: 'index.html',
  plots: 'index.html?view=plots',
  energy: 'index.html?view=plots&x=energy_per_1k_tokens',
  weights: 'index.html?w=10,60,20,10,10&sort=math&sel=' + id,
  model: `model.html?id=${id}`,
  items: `model.html?id=${id}&task=arc_challenge`,
  compare: `compare.html?${first.slice(0, 3).map((model) => `id=${encodeURIComponent(model.id)}`).join('&')}`,
  methodology: 'methodology.html',
  submit: 'submit.html',
  support: 'support.html',
  queue: 'queue.html',
};
const browser = await launch();
const kinds = { light: [{ width: 1360, height: 900 }, 'light'], dark: [{ width: 1360, height: 900 }, 'dark'], phone: [{ width: 360, height: 740 }, 'light'] };
for (const [name, path] of Object.entries(pages)) {
  if (values.only !== undefined && !values.only.split(',').includes(name)) continue;
  for (const [kind, [viewport, colorScheme]] of Object.entries(kinds)) {
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: kind === 'phone' ? 2 : 1 });
    const page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && console.log(`${name} ${kind}: ${message.text()}`));
    page.on('pageerror', (error) => console.log(`${name} ${kind}: ${error}`));
    await page.goto(`${server.url}/${path}`, { waitUntil: 'networkidle' });
    await page.waitForTimeout(250);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) console.log(`${name} ${kind}: ${wide} px wider than the window`);
    await page.screenshot({ path: join(out, `${name}-${kind}.png`), fullPage: !['index', 'weights'].includes(name) || kind === 'phone' });
    await context.close();
  }
}
await browser.close();
await server.close();
rmSync(work, { recursive: true });
