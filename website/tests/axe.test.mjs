// axe-core on every page, light and dark: no violation.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { build, here, start } from './sites.mjs';

const AXE = readFileSync(join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');
let s;
let site;
let server;
let empty;

before(async () => {
  s = await start();
  site = build(37, { runs: 3, hostile: true });
  server = await s.open(site, { answers: { '/api/queue': { body: JSON.stringify({ generated_at: null, jobs: [{ model: 'A', issue: 1, state: 'evaluating', progress: 0.3 }] }) } } });
  empty = await s.open(build(0));
});
after(() => s.close());

async function violations(page) {
  // The page's policy forbids injected scripts; axe runs through the debugger instead.
  await page.evaluate(AXE);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } }));
  return result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${node.failureSummary?.split('\n')[1]?.trim()})`).join('; ')}`);
}

for (const colorScheme of ['light', 'dark']) {
  test(`every page, ${colorScheme}`, async () => {
    const id = site.board.models.find((m) => m.run !== null && m.long_context !== null).id;
    const [a, b] = site.board.models;
    const steps = {
      'index.html': null,
      'index.html?w=10,20,30,20,20&sel=x': null,
      'index.html?filters': (page) => page.click('#p-filters > summary'),
      'index.html?weights': (page) => page.click('#p-weights > summary'),
      'index.html?view=plots': (page) => page.waitForSelector('#plots-view svg'),
      [`model.html?id=${id}&task=arc_challenge`]: (page) => page.waitForSelector('.item, #items .problem'),
      [`compare.html?id=${a.id}&id=${b.id}`]: null,
      'methodology.html': null,
      'submit.html': null,
      'support.html': null,
      'queue.html': null,
      'all.html': null,
    };
    const found = {};
    const note = (where, list) => {
      if (list.length > 0) found[where] = list;
    };
    for (const [path, step] of Object.entries(steps)) {
      const page = await s.page(server, path, { colorScheme });
      if (step !== null) await step(page);
      await page.waitForTimeout(150);
      note(path, await violations(page));
      await page.context().close();
    }
    for (const path of ['index.html', 'compare.html', 'queue.html', 'model.html']) {
      const page = await s.page(empty, path, { colorScheme, viewport: { width: 360, height: 740 } });
      note(`${path}, empty, phone`, await violations(page));
      await page.context().close();
    }
    const phone = await s.page(server, 'index.html', { colorScheme, viewport: { width: 360, height: 740 } });
    note('index, phone', await violations(phone));
    assert.deepEqual(found, {});
  });
}
