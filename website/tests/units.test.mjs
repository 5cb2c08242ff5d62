// Arithmetic and formats, without a browser: the modules are loaded as Vite would serve them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createServer } from 'vite';
import { here } from './sites.mjs';

let vite;
const load = (path) => vite.ssrLoadModule(path);
before(async () => {
  vite = await createServer({ root: here, logLevel: 'error', server: { middlewareMode: true, ws: false }, appType: 'custom', optimizeDeps: { noDiscovery: true, include: [] } });
});
after(() => vite.close());

const close = (found, expected, relative) => assert.ok(Math.abs(found - expected) <= relative * Math.abs(expected), `${found} is not ${expected}`);

test('p-values of a normal z equal erfc(z/√2)', async () => {
  const { twoSided } = await load('/src/core/stats.ts');
  // python3 -c "import math; print([math.erfc(z/math.sqrt(2)) for z in (0.1,1,1.959963984540054,2.5,3.6,5,8)])"
  const expected = { 0.1: 0.920344325445942, 1: 0.31731050786291415, 1.959963984540054: 0.05000000000000004, 2.5: 0.012419330651552278, 3.6: 0.000318217180315068, 5: 5.733031437583892e-07, 8: 1.2441921148543639e-15 };
  for (const [z, p] of Object.entries(expected)) {
    close(twoSided(Number(z)), p, 1e-10);
    close(twoSided(-Number(z)), p, 1e-10);
  }
  assert.equal(twoSided(0), 1);
});

test('McNemar’s exact p-values equal the binomial sums in exact fractions', async () => {
  const { mcnemar } = await load('/src/core/stats.ts');
  for (const [b, c, p] of [[1, 1, 1.0], [5, 15, 0.04138946533203125], [0, 10, 0.001953125], [300, 360, 0.02157234823197102], [2, 40, 4.1109160520136356e-10], [7, 7, 1.0], [1200, 1400, 9.442234765340861e-05]]) {
    close(mcnemar(b, c), p, 1e-9);
    close(mcnemar(c, b), p, 1e-9);
  }
  assert.equal(mcnemar(0, 0), 1);
});

test('Holm’s correction keeps the order and never lowers a p-value', async () => {
  const { holm } = await load('/src/core/stats.ts');
  assert.deepEqual(holm([0.01, 0.04, 0.03, 0.005]).map((p) => Number(p.toFixed(10))), [0.03, 0.06, 0.06, 0.02]);
  assert.deepEqual(holm([0.9, 0.8]), [1, 1]);
});

test('a paired difference has the value, the standard error and the counts of its pairs', async () => {
  const { paired } = await load('/src/core/stats.ts');
  const a = [1, 1, 1, 0, 0, 1, 0, 1];
  const b = [1, 0, 1, 0, 1, 0, 0, 0];
  const d = a.map((x, i) => x - b[i]);
  const mean = d.reduce((s, x) => s + x, 0) / d.length;
  const sd = Math.sqrt(d.reduce((s, x) => s + (x - mean) ** 2, 0) / (d.length - 1));
  const result = paired(a, b);
  close(result.value, 100 * mean, 1e-12);
  close(result.stderr, (100 * sd) / Math.sqrt(d.length), 1e-12);
  assert.deepEqual([result.bothRight, result.onlyA, result.onlyB, result.bothWrong], [2, 3, 1, 2]);
  assert.equal(result.test, 'McNemar');
  assert.equal(result.p, 0.625);
  // Stereotypes: 100·(1 − 2·|p − 0.5|) of 5/8 and 3/8 are equal.
  assert.equal(paired(a, b, true).value, 0);
  assert.equal(paired([0.3, 0.9], [0.2, 0.4]).test, 'normal');
});

test('an address is a view and back, and nonsense in it is ignored', async () => {
  const { fromAddress, toAddress, defaultView } = await load('/src/core/state.ts');
  assert.equal(toAddress(defaultView()), '');
  for (const address of ['?q=a%26b+c', '?sort=-math', '?sort=size&size=135000000..', '?family=A%2C+B&family=C&license=mit', '?has=coding,safety&status=ranked,partial', '?cols=aggregate,size&w=1,2,3,4.5,0', '?sel=a--b&sel=c--d', '?view=plots&x=peak_memory&y=math&hw=x86']) {
    assert.equal(toAddress(fromAddress(toAddress(fromAddress(address)))), toAddress(fromAddress(address)), address);
    assert.equal(toAddress(fromAddress(address)).length > 1, true, address);
  }
  assert.equal(toAddress(fromAddress('?w=1,2&size=x..y&status=gone&sort=%3Cscript%3E&view=none&has=luck&w=-1,2,3,4,5')), '');
});

test('numbers are written as people read them', async () => {
  const f = await load('/src/core/format.ts');
  assert.deepEqual([1.2576e6, 135e6, 999.6e6, 1.7e9, 3e9, 950, 4.2e6].map(f.size), ['1.3M', '135M', '1B', '1.7B', '3B', '950', '4.2M']);
  assert.equal(f.size(null), '–');
  assert.deepEqual([0.04, -0.04, -3.21, 2].map((x) => f.signed(x)), ['0.0', '0.0', '−3.2', '+2.0']);
  assert.deepEqual([12345, 123.4, 12.34, 1.234, 0.1234, 0].map(f.quantity), ['12,345', '123', '12.3', '1.23', '0.123', '0']);
  assert.equal(f.bytes(5.1 * 1024 ** 3), '5.10 GiB');
});

test('markup escapes what it is given, in text and in attributes', async () => {
  const { html, hubUrl, sitePath } = await load('/src/core/html.ts');
  assert.equal(html`<a title="${'"><b>'}">${"<i>'&"}</a>${html`<br>`}${[html`1`, '<']}${null}${false}`.text, '<a title="&quot;&gt;&lt;b&gt;">&lt;i&gt;&#39;&amp;</a><br>1&lt;');
  assert.equal(hubUrl('javascript:alert(1)'), null);
  assert.equal(hubUrl('a/b/../c'), null);
  assert.equal(hubUrl('owner/name', 'abc'), 'https://huggingface.co/owner/name/tree/abc');
  for (const bad of ['/etc/passwd', 'https://x.invalid/', '//x.invalid', '../../x', 'a/../../x', 'data:text/html,x', 'a\\b', '']) assert.equal(sitePath(bad), null, bad);
  assert.equal(sitePath('results/raw/a b/run.json'), 'results/raw/a%20b/run.json');
});

test('a long-context grid is read in the form that runs have, without taking an empty cell for 0', async () => {
  const { readGrid } = await load('/src/data/leaderboard.ts');
  const row = (length, cells) => ({ length, n: 4, correct: 1, ci95: null, cells });
  const grid = readGrid({
    window: 4096,
    grids: {
      document: { task: 'documents', lengths: [row(1024, [{ depth: 0, n: 1, correct: 1 }])] },
      needle: { task: 'needle', lengths: [row(2048, [{ depth: 0, n: 4, correct: 1 }, { depth: 50, n: 0, correct: 0 }]), { length: 8192, reason: 'longer than the window', n: 0, correct: 0, ci95: null }] },
    },
  });
  assert.deepEqual(grid, { lengths: [2048], depths: [0, 50], cells: [{ length: 2048, depth: 0, value: 25, n: 4 }, { length: 2048, depth: 50, value: null, n: 0 }] });
  assert.equal(readGrid({ grids: {} }), null);
});
