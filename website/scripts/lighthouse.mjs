// Lighthouse 12.8.2 (the last that accepts Node 20) on the built site, mobile preset, index and model.
// node scripts/lighthouse.mjs [--tries 3]; prints the scores, exit code 1 below 95 / 100 / 100 / 100.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { executablePath, FLAGS } from './browser.mjs';
import { serve } from './serve.mjs';
import { write } from './synthetic.mjs';

const { values } = parseArgs({ options: { tries: { type: 'string', default: '3' } } });
const here = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), 'slm-site-lighthouse-'));
const board = write(join(work, 'data'), 37, { runs: 3 });
execFileSync(process.execPath, [join(here, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', join(work, 'dist'), '--emptyOutDir', '--logLevel', 'error'], { cwd: here, env: { ...process.env, SLM_DATA_ROOT: join(work, 'data') }, stdio: ['ignore', 'ignore', 'inherit'] });
// The server runs in this process, so Lighthouse must not block it: it is started without waiting synchronously.
const server = await serve(join(work, 'dist'));
const wanted = { performance: 95, accessibility: 100, 'best-practices': 100, seo: 100 };
let kept = true;
for (const path of ['index.html', `model.html?id=${board.models[0].id}`]) {
  const best = {};
  for (let i = 1; i <= Number(values.tries); i++) {
    const out = join(work, 'report.json');
    await new Promise((done, fail) => {
      const child = spawn('npx', ['--yes', 'lighthouse@12.8.2', `${server.url}/${path}`, '--quiet', '--output=json', `--output-path=${out}`, '--only-categories=performance,accessibility,best-practices,seo', `--chrome-flags=--headless=new ${FLAGS.join(' ')}`], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, CHROME_PATH: executablePath } });
      child.on('error', fail);
      child.on('exit', (code) => (code === 0 ? done() : fail(new Error(`lighthouse exited with ${code}`))));
    });
    const report = JSON.parse(readFileSync(out, 'utf8'));
    const scores = Object.fromEntries(Object.entries(report.categories).map(([name, { score }]) => [name, Math.round(score * 100)]));
    for (const [name, score] of Object.entries(scores)) best[name] = Math.max(best[name] ?? 0, score);
    console.log(path, `try ${i}:`, Object.entries(scores).map(([name, score]) => `${name} ${score}`).join(', '), `| LCP ${report.audits['largest-contentful-paint'].displayValue}, CLS ${report.audits['cumulative-layout-shift'].displayValue}, TBT ${report.audits['total-blocking-time'].displayValue}`);
    if (i === 1) {
      for (const [name, category] of Object.entries(report.categories)) {
        for (const { id } of category.auditRefs) {
          const audit = report.audits[id];
          if (audit.score !== null && audit.score < 1 && name !== 'performance') console.log(`  ${name}: ${audit.title}`);
        }
      }
    }
  }
  for (const [name, least] of Object.entries(wanted)) {
    if ((best[name] ?? 0) < least) {
      kept = false;
      console.log(`BROKEN ${path}: ${name} ${best[name]} is below ${least}`);
    }
  }
}
await server.close();
rmSync(work, { recursive: true });
console.log(kept ? 'kept' : 'BROKEN');
process.exitCode = kept ? 0 : 1;
