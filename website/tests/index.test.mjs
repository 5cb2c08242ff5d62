// The ranking, as readers use it.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { after, before, test } from 'node:test';
import { build, here, names, ranks, start } from './sites.mjs';

let s;
let site;
let server;
const published = () => site.board.models.filter((model) => model.status !== 'withdrawn');

before(async () => {
  s = await start();
  site = build(37);
  server = await s.open(site);
});
after(() => s.close());

test('shows the models in published order, with their published ranks', async () => {
  const page = await s.page(server, 'index.html');
  assert.deepEqual(await names(page), published().map((model) => model.name));
  const shown = await ranks(page);
  for (const model of published()) assert.equal(shown[model.name], model.rank === null ? null : String(model.rank), model.name);
  assert.equal(await page.locator('#count').textContent(), `${published().length} models, ${published().filter((m) => m.rank !== null).length} ranked`);
  assert.deepEqual(page.problems, []);
});

test('sorts by any column, numbers as numbers, missing values last, and the rank stays with the model', async () => {
  const page = await s.page(server, 'index.html');
  const before = await ranks(page);
  for (const [key, value] of [['math', (m) => m.pillars.math?.score ?? null], ['size', (m) => m.parameters.measured], ['efficiency', (m) => m.efficiency.value]]) {
    await page.click(`th [data-sort="${key}"]`);
    for (const direction of ['first', 'second']) {
      if (direction === 'second') await page.click(`th [data-sort="${key}"]`);
      const descending = (await page.getAttribute(`th.c-${key}`, 'aria-sort')) === 'descending';
      const shown = await names(page);
      const values = shown.map((name) => value(published().find((m) => m.name === name)));
      const present = values.filter((v) => v !== null);
      if (key !== 'size') assert.deepEqual(values.slice(0, present.length), present, 'missing values come last');
      for (let i = 1; i < present.length; i++) assert.ok(descending ? present[i - 1] >= present[i] : present[i - 1] <= present[i], `${key} ${present[i - 1]} ${present[i]}`);
      assert.deepEqual(await ranks(page), before);
    }
  }
  assert.deepEqual(page.problems, []);
});

test('sort, then filter, then back: the filter goes, the sort stays', async () => {
  const page = await s.page(server, 'index.html');
  await page.click('th [data-sort="coding"]');
  const sorted = await names(page);
  await page.fill('#search', 'alder');
  const filtered = await names(page);
  assert.ok(filtered.length > 0 && filtered.length < sorted.length);
  assert.deepEqual(filtered, sorted.filter((name) => name.toLowerCase().includes('alder')), 'the sort survives the filter');
  await page.waitForTimeout(200);
  await page.goBack();
  assert.deepEqual(await names(page), sorted);
  assert.equal(await page.inputValue('#search'), '');
  assert.equal(await page.getAttribute('th.c-coding', 'aria-sort'), 'descending');
  await page.goBack();
  assert.deepEqual(await names(page), published().map((model) => model.name));
  await page.goForward();
  assert.deepEqual(await names(page), sorted);
});

test('filters compose, are in the address, and the address restores them', async () => {
  const page = await s.page(server, 'index.html');
  await page.click('#p-filters > summary');
  const family = 'Spruce';
  await page.check(`input[name="family"][value="${family}"]`);
  await page.check('input[name="status"][value="ranked"]');
  await page.locator('#size-max').fill('11');
  const expected = published().filter((m) => m.family === family && m.status === 'ranked' && m.parameters.measured <= 500e6).map((m) => m.name);
  assert.ok(expected.length > 1);
  assert.deepEqual(await names(page), expected);
  await page.click('#p-filters > summary');
  await page.click('th [data-sort="safety"]');
  assert.deepEqual((await names(page)).sort(), [...expected].sort());
  await page.waitForTimeout(200);
  const address = page.url();
  const again = await s.page(server, address.slice(server.url.length + 1));
  assert.deepEqual(await names(again), await names(page));
  await again.click('#p-filters > summary');
  assert.ok(await again.isChecked(`input[name="family"][value="${family}"]`));
  await again.click('#p-filters > summary');
  await again.click('#clear');
  assert.equal((await names(again)).length, published().length);
});

test('pillar coverage, licence, architecture, quantization and status filters each narrow', async () => {
  const cases = [
    ['has=coding', (m) => m.status !== 'withdrawn' && m.pillars.coding?.score != null],
    ['status=partial,preliminary', (m) => m.status === 'partial' || m.status === 'preliminary'],
    ['status=withdrawn', (m) => m.status === 'withdrawn'],
    ['license=mit', (m) => m.license === 'mit' && m.status !== 'withdrawn'],
    ['arch=llama', (m) => m.architecture === 'llama' && m.status !== 'withdrawn'],
    ['quant=Q8_0', (m) => m.quantizations.some((q) => q.quantization.name === 'Q8_0') && m.status !== 'withdrawn'],
  ];
  for (const [query, passes] of cases) {
    const page = await s.page(server, `index.html?${query}`);
    const expected = site.board.models.filter(passes).map((m) => m.name);
    assert.ok(expected.length > 0 && expected.length < site.board.models.length, query);
    assert.deepEqual(await names(page), expected, query);
    await page.context().close();
  }
});

test('the search takes words in any order over name, family and repository', async () => {
  const page = await s.page(server, 'index.html');
  await page.fill('#search', 'instruct cedar');
  for (const name of await names(page)) assert.match(name, /Cedar.*Instruct/);
  await page.fill('#search', 'example-birch/');
  assert.deepEqual(await names(page), published().filter((m) => m.hf_repo.startsWith('example-birch/')).map((m) => m.name));
  await page.fill('#search', 'no such model');
  assert.ok(await page.isVisible('#empty'));
  await page.click('#empty [data-action="clear"]');
  assert.equal((await names(page)).length, published().length);
});

test('columns can be chosen and are in the address', async () => {
  const page = await s.page(server, 'index.html');
  await page.click('#p-columns > summary');
  await page.check('input[name="cols"][value="peak_memory"]');
  await page.uncheck('input[name="cols"][value="family"]');
  assert.equal(await page.locator('thead th.c-peak_memory').count(), 1);
  assert.equal(await page.locator('th.c-family').count(), 0);
  const again = await s.page(server, page.url().slice(server.url.length + 1));
  assert.equal(await again.locator('thead th.c-peak_memory').count(), 1);
  assert.equal(await again.locator('thead th.c-family').count(), 0);
});

test('own weights: a slider reorders at once, the arithmetic is exact, the published ranking is one click away', async () => {
  const page = await s.page(server, 'index.html');
  await page.click('#p-weights > summary');
  await page.locator('#w-coding').fill('90');
  await page.locator('#w-reasoning').fill('0');
  const weights = { reasoning: 0, coding: 90, math: 15, language: 20, safety: 20 };
  const total = Object.values(weights).reduce((a, b) => a + b);
  const expected = published().filter((m) => m.status === 'ranked')
    .map((m) => ({ name: m.name, id: m.id, score: Object.entries(weights).reduce((sum, [p, w]) => sum + w * m.pillars[p].score, 0) / total }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
  assert.deepEqual((await names(page)).slice(0, expected.length), expected.map((m) => m.name));
  const shown = await ranks(page);
  expected.forEach((m, i) => assert.equal(shown[m.name], String(1 + expected.findIndex((other) => other.score === m.score)), `${m.name} ${i}`));
  assert.ok(await page.isVisible('#weights-note'));
  await page.waitForTimeout(200);
  assert.match(page.url(), /w=0,90,15,20,20/);
  const again = await s.page(server, page.url().slice(server.url.length + 1));
  assert.deepEqual(await names(again), await names(page));
  await page.click('#weights-note [data-action="published"]');
  assert.deepEqual(await names(page), published().map((m) => m.name));
  assert.ok(await page.isHidden('#weights-note'));
});

test('own weights give the rankings of tests/fixtures/weights.json, score for score', async () => {
  const fixture = JSON.parse(readFileSync(join(here, 'tests/fixtures/weights.json'), 'utf8'));
  const isPublished = (weights) => Object.values(weights).join() === '35,20,15,20,20';
  const published = fixture.cases.find(({ weights }) => isPublished(weights)).ranking;
  const fixed = build(fixture.models.length, {
    runs: 0,
    change(board) {
      board.models.forEach((model, i) => {
        const { id, pillars } = fixture.models[i];
        const { score, rank } = published.find((r) => r.id === id);
        const reason = rank === null ? 'a pillar is missing' : null;
        Object.assign(model, { id, name: id, status: rank === null ? 'partial' : 'ranked', status_reason: reason, rank, place: rank });
        Object.assign(model.aggregate, { score, ci95: null });
        const cells = Object.entries(pillars).map(([name, score]) => [name, { score, stderr: null, ci95: null, reason: score === null ? 'not measured' : null, tasks: {} }]);
        model.pillars = Object.fromEntries(cells);
      });
    },
  });
  const server = await s.open(fixed);
  for (const { weights, ranking } of fixture.cases) {
    const page = await s.page(server, `index.html?w=${Object.values(weights).join(',')}&cols=aggregate`);
    assert.equal(await page.isHidden('#weights-note'), isPublished(weights), `${Object.values(weights)}`);
    const shown = await ranks(page);
    for (const { id, rank } of ranking) assert.equal(shown[id] ?? null, rank === null ? null : String(rank), `${id} under ${Object.values(weights)}`);
    const ranked = ranking.filter(({ rank }) => rank !== null).map(({ rank }) => rank);
    assert.deepEqual((await names(page)).slice(0, ranked.length).map((id) => ranking.find((r) => r.id === id).rank), ranked);
    await page.click('#p-download > summary');
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('[data-action="json"]')]);
    const records = JSON.parse(readFileSync(await file.path(), 'utf8'));
    for (const { id, score } of ranking) assert.equal(records.find((r) => r.id === id).aggregate, score, id);
    await page.context().close();
  }
});

test('all weights zero: nothing is ranked, and it is said', async () => {
  const page = await s.page(server, 'index.html?w=0,0,0,0,0');
  assert.match(await page.textContent('#weights-text'), /All weights are zero/);
  assert.ok(Object.values(await ranks(page)).every((rank) => rank === null));
});

test('up to four models are chosen to compare, the fifth is refused', async () => {
  const page = await s.page(server, 'index.html');
  const boxes = page.locator('#ranking input[data-pick]');
  for (let i = 0; i < 4; i++) await boxes.nth(i).check();
  await boxes.nth(4).click();
  assert.equal(await boxes.nth(4).isChecked(), false);
  assert.ok(await page.isVisible('#selection-full'));
  const link = await page.getAttribute('#selection a.primary', 'href');
  assert.deepEqual(new URLSearchParams(link.split('?')[1]).getAll('id'), published().slice(0, 4).map((m) => m.id));
  const again = await s.page(server, page.url().slice(server.url.length + 1));
  assert.equal(await again.locator('#ranking input[data-pick]:checked').count(), 4);
  await page.click('#selection a.primary');
  await page.waitForSelector('html[data-ready]');
  assert.match(page.url(), /compare\.html/);
});

test('CSV and JSON hold the rows and columns in view', async () => {
  const page = await s.page(server, 'index.html?q=spruce&sort=-math&cols=aggregate,math,size');
  const shown = await names(page);
  await page.click('#p-download > summary');
  const get = async (action) => {
    const [file] = await Promise.all([page.waitForEvent('download'), page.click(`[data-action="${action}"]`)]);
    return readFileSync(await file.path(), 'utf8');
  };
  const json = JSON.parse(await get('json'));
  assert.deepEqual(json.map((record) => record.name), shown);
  const first = site.board.models.find((m) => m.name === shown[0]);
  assert.equal(json[0].math, first.pillars.math.score);
  assert.equal(json[0].math_low, first.pillars.math.ci95[0]);
  assert.equal(json[0].rank, first.rank);
  assert.equal(json[0].safety, undefined, 'columns out of view stay out');
  const csv = (await get('csv')).trimEnd().split('\r\n');
  assert.equal(csv.length, shown.length + 1);
  assert.ok(csv[0].startsWith('rank,rank_low,rank_high,id,name'));
});

test('statistical ties are joined, and only in the order of the ranking', async () => {
  const page = await s.page(server, 'index.html');
  const ranked = published().filter((m) => m.rank !== null);
  const tie = (a, b) => a.rank_interval[0] <= b.rank && b.rank <= a.rank_interval[1] && b.rank_interval[0] <= a.rank && a.rank <= b.rank_interval[1];
  const expected = ranked.slice(1).map((m, i) => tie(ranked[i], m));
  assert.ok(expected.includes(true) && expected.includes(false));
  const shown = await page.locator('#ranking tbody tr[data-slug] td.c-rank').evaluateAll((cells) => cells.map((cell) => cell.classList.contains('tie-up')));
  assert.deepEqual(shown.slice(1, ranked.length), expected);
  await page.click('th [data-sort="math"]');
  assert.equal(await page.locator('.tie-up').count(), 0);
});

test('a missing value is a dash with its reason, for the eye, the pointer and the ear', async () => {
  const page = await s.page(server, 'index.html');
  const model = published().find((m) => m.status === 'partial');
  const cell = page.locator(`tr[data-slug="${model.id}"] td.c-coding button.missing`);
  assert.equal(await cell.textContent(), '–');
  assert.match(await cell.getAttribute('aria-label'), /sandbox of this machine/);
  await cell.scrollIntoViewIfNeeded();
  await cell.hover();
  assert.match(await page.locator('#tip').textContent(), /sandbox of this machine/);
  await page.keyboard.press('Escape');
  assert.ok(await page.isHidden('#tip'));
  assert.equal(await page.locator(`tr[data-slug="${model.id}"] td.c-rank button.missing`).count(), 1);
});

test('works from the keyboard', async () => {
  const page = await s.page(server, 'index.html');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.focus('th [data-sort="language"]');
  await page.keyboard.press('Enter');
  assert.equal(await page.getAttribute('th.c-language', 'aria-sort'), 'descending');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('data-sort')), 'language', 'the focus stays on the head');
  await page.focus('#p-weights > summary');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.inputValue('#w-reasoning'), '36');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.closest('details')?.id), 'p-weights');
  assert.equal(await page.getAttribute('#p-weights', 'open'), null);
  await page.locator('#ranking tbody tr[data-slug] input').first().focus();
  await page.keyboard.press('Space');
  assert.ok(await page.isVisible('#selection'));
  assert.equal(await page.evaluate(() => document.activeElement === document.querySelector('#ranking tbody tr[data-slug] input')), true, 'the focus stays on the box');
});

test('dark and light follow the system and can be switched, and the choice stays', async () => {
  const page = await s.page(server, 'index.html', { colorScheme: 'dark' });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await background();
  await page.click('#theme');
  assert.equal(await page.textContent('#theme'), 'Theme: light');
  const light = await background();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await background(), light);
  await page.click('#theme');
  assert.equal(await background(), dark);
});

test('without JavaScript the ranking is a plain table', async () => {
  const page = await s.page(server, 'index.html', { javaScriptEnabled: false });
  assert.deepEqual(await names(page), site.board.models.slice(0, 50).map((m) => m.name));
  const first = page.locator('#ranking tbody tr[data-slug]').first();
  assert.match(await first.textContent(), new RegExp(site.board.models[0].aggregate.score.toFixed(1).replace('.', '\\.')));
  assert.ok(await page.isHidden('.toolbar'));
  const all = await s.page(server, 'all.html', { javaScriptEnabled: false });
  assert.deepEqual(await all.locator('tbody th').allTextContents(), site.board.models.map((m) => m.name));
});

test('on paper every row is there, the controls are not', async () => {
  const big = build(300, { runs: 0 });
  const page = await s.page(await s.open(big), 'index.html');
  const shown = big.board.models.filter((m) => m.status !== 'withdrawn').length;
  assert.ok((await page.locator('#ranking tbody tr[data-slug]').count()) < shown);
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  assert.equal(await page.locator('#ranking tbody tr[data-slug]').count(), shown);
  await page.emulateMedia({ media: 'print' });
  assert.ok(await page.isHidden('.toolbar'));
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  assert.ok((await page.locator('#ranking tbody tr[data-slug]').count()) < shown);
});

test('0 models: an empty ranking that says so, with and without JavaScript', async () => {
  const empty = await s.open(build(0));
  const page = await s.page(empty, 'index.html');
  assert.match(await page.textContent('#empty'), /leaderboard is empty/);
  assert.equal(await page.textContent('#count'), 'No model has been evaluated yet.');
  await page.click('#tab-plots');
  await page.waitForSelector('#plots-view .empty');
  assert.deepEqual(page.problems, []);
  const plain = await s.page(empty, 'index.html', { javaScriptEnabled: false });
  assert.match(await plain.textContent('main'), /leaderboard is empty/);
  for (const path of ['compare.html', 'model.html', 'queue.html', 'methodology.html', 'submit.html']) assert.deepEqual((await s.page(empty, path)).problems, [], path);
});

test('1 model', async () => {
  const one = build(1);
  const server = await s.open(one);
  const page = await s.page(server, 'index.html');
  assert.deepEqual(await names(page), ['demo-1m']);
  assert.equal(await page.textContent('#count'), '1 model, 1 ranked');
  await page.click('#tab-plots');
  await page.waitForSelector('#plots-view svg');
  assert.deepEqual(page.problems, []);
});

test('rows full of nulls are shown as missing, and nothing breaks', async () => {
  const nulls = build(6, {
    runs: 0,
    change(board) {
      const model = board.models[1];
      Object.assign(model, {
        status: 'partial', status_reason: 'nothing could be measured', rank: null, rank_interval: null, place: null, revision: null, date_added: null, context_length: null, edge: null, long_context: null,
        parameters: { declared: '', measured: null }, aggregate: { score: null, weighted_sum: null, stderr: null, ci95: null, coverage: 0 }, run: null, quantizations: [], other_tasks: {}, badges: [],
      });
      for (const pillar of Object.values(model.pillars)) Object.assign(pillar, { score: null, stderr: null, ci95: null, reason: null, tasks: {} });
      for (const key of ['energy', 'co2', 'efficiency']) Object.assign(model[key], { value: null, hardware_class: null, reason: null });
    },
  });
  const server = await s.open(nulls);
  const page = await s.page(server, 'index.html');
  const row = page.locator(`tr[data-slug="${nulls.board.models[1].id}"]`);
  assert.ok((await row.locator('button.missing').count()) >= 8);
  assert.doesNotMatch(await row.textContent(), /NaN|null|undefined|\b0\.0\b/);
  for (const key of ['aggregate', 'size', 'efficiency', 'family', 'hub', 'rank', 'name']) await page.click(`th [data-sort="${key}"]`);
  const model = await s.page(server, `model.html?id=${nulls.board.models[1].id}`);
  assert.doesNotMatch(await model.textContent('main'), /NaN|\bnull\b|undefined/);
  assert.deepEqual([...page.problems, ...model.problems], []);
});

test('names and texts of an attacker are shown as text, everywhere', async () => {
  const hostile = build(12, { hostile: true });
  const server = await s.open(hostile);
  const bad = hostile.board.models.find((m) => m.name.startsWith('<img'));
  for (const path of ['index.html', 'index.html?view=plots', `model.html?id=${bad.id}`, `compare.html?id=${bad.id}&id=${hostile.board.models[0].id}`, 'all.html', `model.html?id=${encodeURIComponent('"><img src=x onerror=alert(1)>')}`, `compare.html?id=${encodeURIComponent('<img src=x onerror=alert(1)>')}`]) {
    const page = await s.page(server, path);
    if (path.includes('plots')) await page.waitForSelector('#plots-view svg');
    await page.waitForTimeout(150);
    assert.equal(await page.locator('main img, body script:not([src]), main h1:text-is("owned"), main svg[onload]').count(), 0, path);
    assert.doesNotMatch(await page.title(), /^owned/, path);
    const text = await page.textContent('body');
    if (path.includes(bad.id) || path === 'index.html') assert.ok(text.includes(bad.name), path);
    assert.equal(await page.locator('a[href^="javascript:"]').count(), 0, path);
    assert.deepEqual(page.problems, [], path);
    await page.context().close();
  }
  // A spreadsheet must not take a name for a formula.
  const page = await s.page(server, 'index.html');
  await page.click('#p-download > summary');
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('[data-action="csv"]')]);
  assert.match(readFileSync(await file.path(), 'utf8'), /"'=HYPERLINK\(""http/);
});

test('5,000 models: only rows near the window are drawn, the last one is reached', async () => {
  const big = build(5000, { runs: 0 });
  const page = await s.page(await s.open(big), 'index.html');
  const shown = big.board.models.filter((m) => m.status !== 'withdrawn');
  assert.equal(await page.getAttribute('#ranking', 'aria-rowcount'), String(shown.length + 1));
  assert.ok((await page.locator('#ranking tbody tr[data-slug]').count()) < 120);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await page.waitForFunction((slug) => document.querySelector(`tr[data-slug="${slug}"]`) !== null, shown.at(-1).id);
  assert.equal(await page.locator('#ranking tbody tr[data-slug]').last().getAttribute('aria-rowindex'), String(shown.length + 1));
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight / 2));
  await page.waitForTimeout(200);
  await page.waitForTimeout(100);
  const visible = await page.evaluate(() => document.elementsFromPoint(600, 450).find((e) => e.closest('tr[data-slug]'))?.closest('tr').getAttribute('aria-rowindex'));
  assert.ok(Math.abs(Number(visible) - shown.length / 2) < 60, `row ${visible} in the middle`);
  await page.fill('#search', 'maple-4321');
  await page.fill('#search', '');
  await page.click('#tab-plots');
  await page.waitForSelector('#plots-view svg');
  assert.deepEqual(page.problems, []);
});

test('data that is missing or malformed gives a message that says what and what to do', async () => {
  const broken = build(3, { runs: 0 });
  const data = join(broken.dist, 'assets/data');
  const path = join(data, 'leaderboard.json');
  const server = await s.open(broken);
  const message = async () => {
    const page = await s.page(server, 'index.html');
    const text = await page.textContent('#problem');
    await page.context().close();
    return text;
  };
  const later = new Date(Date.now() + 60_000);
  writeFileSync(path, '{"schema_version": "1.0.0", "models": [');
  utimesSync(path, later, later);
  assert.match(await message(), /not valid JSON.*slm-bench website update/s);
  const board = structuredClone(broken.board);
  board.models[1].aggregate.score = 'high';
  writeFileSync(path, JSON.stringify(board));
  utimesSync(path, later, later);
  assert.match(await message(), /models\[1\]\.aggregate\.score: expected a number, found the text “high”/);
  writeFileSync(path, JSON.stringify({ ...broken.board, schema_version: '9.0.0' }));
  utimesSync(path, later, later);
  assert.match(await message(), /its format is 9\.0\.0/);
  rmSync(path);
  rmSync(join(data, 'ranking.json'));
  assert.match(await message(), /answered 404/);
});

test('a leaderboard.json that is newer than the build is the one that is shown', async () => {
  const fresh = build(5, { runs: 0 });
  const path = join(fresh.dist, 'assets/data/leaderboard.json');
  const board = structuredClone(fresh.board);
  board.models[0].name = 'Renamed-since';
  writeFileSync(path, JSON.stringify(board));
  const later = new Date(Date.now() + 60_000);
  utimesSync(path, later, later);
  const server = await s.open(fresh);
  assert.equal((await names(await s.page(server, 'index.html')))[0], 'Renamed-since');
  const page = await s.page(server, `model.html?id=${board.models[0].id}`);
  assert.equal(await page.textContent('h1'), 'Renamed-since');
});

test('a malformed leaderboard stops the build', () => {
  assert.throws(() => build(2, { runs: 0, change: (board) => void (board.models[0].rank = 'first') }), /Command failed/);
});

test('the policy is strict, and no page breaks it', async () => {
  const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)"/;
  const id = site.board.models[0].id;
  for (const path of ['index.html', 'index.html?view=plots', `model.html?id=${id}&task=gsm8k`, `compare.html?id=${id}`, 'methodology.html', 'submit.html', 'support.html', 'queue.html', 'all.html']) {
    const text = readFileSync(join(site.dist, path.split('?')[0]), 'utf8');
    const rules = policy.exec(text)?.[1] ?? '';
    assert.match(rules, /default-src 'none'/);
    assert.match(rules, /require-trusted-types-for 'script'/);
    assert.doesNotMatch(rules, /unsafe|https?:|\*/);
    assert.doesNotMatch(text, /<script(?![^>]*\ssrc=)|\sstyle="|\son[a-z]+="|https?:\/\/(?!www\.w3\.org|huggingface\.co)[a-z]/i, path);
    const page = await s.page(server, path);
    assert.deepEqual(page.problems, [], path);
    await page.context().close();
  }
});

test('the index weighs at most 120 KB of compressed JavaScript and CSS, everything it may load included', () => {
  const seen = new Set();
  const collect = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(join(site.dist, 'assets', file), 'utf8');
    for (const [, name] of text.matchAll(/["'`]\.\/([\w.-]+\.(?:js|css))["'`]/g)) collect(name);
    for (const [, name] of text.matchAll(/assets\/([\w.-]+\.(?:js|css))/g)) collect(name);
  };
  const page = readFileSync(join(site.dist, 'index.html'), 'utf8');
  for (const [, name] of page.matchAll(/assets\/([\w.-]+\.(?:js|css))/g)) collect(name);
  const bytes = [...seen].reduce((sum, file) => sum + gzipSync(readFileSync(join(site.dist, 'assets', file))).length, statSync(join(site.dist, 'theme.js')).size);
  console.log(`index: ${(bytes / 1024).toFixed(1)} KiB compressed in ${seen.size} files`);
  assert.ok(bytes <= 120 * 1000, `${bytes} bytes`);
});

test('the lock file names no host, and the versions of package.json are locked', () => {
  const lock = readFileSync(join(here, 'package-lock.json'), 'utf8');
  assert.doesNotMatch(lock, /"resolved"|https?:/, 'run node scripts/lock.mjs after npm install');
  assert.equal(JSON.parse(lock).lockfileVersion, 3);
});
