// Prints the weight of the index, and with 5,000 models at a 4 times slowed processor: when the first rows are seen, and how long
// a keystroke in the search takes until the next picture is painted. node scripts/speed.mjs [--models 5000] [--tries 5]
// Exit code 1 when a promise is broken in the best of the tries: other work on the machine makes single tries slow.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { launch } from './browser.mjs';
import { serve } from './serve.mjs';
import { write } from './synthetic.mjs';

const { values } = parseArgs({ options: { models: { type: 'string', default: '5000' }, tries: { type: 'string', default: '5' }, slowdown: { type: 'string', default: '4' } } });
const here = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), 'slm-site-speed-'));
write(join(work, 'data'), Number(values.models), { runs: 0 });
execFileSync(process.execPath, [join(here, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', join(work, 'dist'), '--emptyOutDir', '--logLevel', 'error'], { cwd: here, env: { ...process.env, SLM_DATA_ROOT: join(work, 'data') }, stdio: ['ignore', 'ignore', 'inherit'] });
const server = await serve(join(work, 'dist'));
const browser = await launch();
const slowdown = Number(values.slowdown);

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const best = { rows: Infinity, table: Infinity, keystroke: Infinity, worst: Infinity };
const loaded = new Set();
console.log(`${values.models} models, processor slowed ${slowdown} times, milliseconds`);
console.log('try  first rows seen  table usable  keystroke median  keystroke worst');
for (let i = 1; i <= Number(values.tries); i++) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  page.on('response', (answer) => /\.(js|css)$/.test(new URL(answer.url()).pathname) && loaded.add(new URL(answer.url()).pathname));
  const client = await context.newCDPSession(page);
  await client.send('Emulation.setCPUThrottlingRate', { rate: slowdown });
  await page.addInitScript(() => {
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (entry.name === 'first-contentful-paint') globalThis.firstPaint = entry.startTime;
    }).observe({ type: 'paint', buffered: true });
    // When a row of the table has been in a painted picture.
    const look = () => {
      const row = document.querySelector('#ranking tbody tr[data-slug]');
      if (row !== null && row.getBoundingClientRect().top < innerHeight) requestAnimationFrame(() => (globalThis.rowsSeen = performance.now()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.goto(`${server.url}/index.html`, { waitUntil: 'commit' });
  await page.waitForFunction(() => globalThis.rowsSeen !== undefined && performance.getEntriesByName('interactive').length > 0);
  const { rows, table } = await page.evaluate(() => ({ rows: globalThis.rowsSeen, table: performance.getEntriesByName('interactive')[0].startTime }));
  // A keystroke: from the event to the picture after it, as Event Timing does, by the page's own clock.
  await page.evaluate(() => {
    globalThis.keys = [];
    document.getElementById('search').addEventListener('keydown', () => {
      const from = performance.now();
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => globalThis.keys.push(performance.now() - from);
        channel.port2.postMessage(null);
      });
    }, { capture: true });
  });
  await page.focus('#search');
  await page.waitForTimeout(500);
  for (const key of [...'maple instruct']) {
    await page.keyboard.press(key === ' ' ? 'Space' : key);
    await page.waitForTimeout(250);
  }
  for (let k = 0; k < 14; k++) {
    await page.keyboard.press('Backspace');
    await page.waitForTimeout(250);
  }
  const keys = await page.evaluate(() => globalThis.keys);
  const one = { rows, table, keystroke: median(keys), worst: Math.max(...keys) };
  for (const name of Object.keys(best)) best[name] = Math.min(best[name], one[name]);
  console.log(`${String(i).padStart(3)}  ${rows.toFixed(0).padStart(15)}  ${table.toFixed(0).padStart(12)}  ${one.keystroke.toFixed(1).padStart(16)}  ${one.worst.toFixed(1).padStart(15)}`);
  await context.close();
}
await browser.close();
await server.close();

const dist = join(work, 'dist');
const size = (paths, pack) => paths.reduce((sum, path) => sum + pack(readFileSync(join(dist, path))).length, 0);
const paths = [...loaded].map((path) => path.slice(1));
const everything = readdirSync(join(dist, 'assets')).filter((name) => /\.(js|css)$/.test(name)).map((name) => `assets/${name}`);
console.log(`index loads ${paths.length} scripts and style sheets: ${(size(paths, gzipSync) / 1024).toFixed(1)} KiB with gzip, ${(size(paths, brotliCompressSync) / 1024).toFixed(1)} KiB with brotli`);
console.log(`the whole site has ${everything.length}: ${(size(everything, gzipSync) / 1024).toFixed(1)} KiB with gzip`);
console.log(`data for the index: ${(gzipSync(readFileSync(join(dist, 'assets/data/ranking.json'))).length / 1024).toFixed(0)} KiB with gzip; page: ${(gzipSync(readFileSync(join(dist, 'index.html'))).length / 1024).toFixed(0)} KiB`);
const promises = [
  ['first rows within 1,000 ms', best.rows <= 1000],
  ['a keystroke within 50 ms (median)', best.keystroke <= 50],
  ['index within 120 KB of JavaScript and CSS', size(paths, gzipSync) <= 120_000],
];
for (const [text, kept] of promises) console.log(`${kept ? 'kept  ' : 'BROKEN'} ${text}`);
rmSync(work, { recursive: true });
process.exitCode = promises.every(([, kept]) => kept) ? 0 : 1;
