// Plots, model, compare, submit and queue pages.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync, mkdirSync, copyFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { build, here, start } from './sites.mjs';

let s;
let site;
let server;
let first;

before(async () => {
  s = await start();
  site = build(37, { runs: 6 });
  server = await s.open(site);
  first = site.board.models.find((m) => m.run !== null && m.quantizations.length > 0 && m.long_context !== null) ?? site.board.models[0];
});
after(() => s.close());

const lines = (model, task) => {
  const packed = readFileSync(join(site.data, dirname(model.run.path), 'samples', `${task}.jsonl.zst`));
  // The generator stores blocks as they are: a nine-byte head, then blocks with three-byte heads.
  const parts = [];
  for (let at = 9; at < packed.length;) {
    const head = packed.readUIntLE(at, 3);
    parts.push(packed.subarray(at + 3, at + 3 + (head >> 3)));
    at += 3 + (head >> 3);
  }
  return Buffer.concat(parts).toString().trim().split('\n').map((line) => JSON.parse(line));
};

test('plot: the points are the models in view, the front is the Pareto front, a click opens the model', async () => {
  const page = await s.page(server, 'index.html?view=plots');
  await page.waitForSelector('#plots-view svg');
  const ranked = site.board.models.filter((m) => m.status === 'ranked');
  const drawn = site.board.models.filter((m) => m.status !== 'withdrawn' && m.aggregate.score !== null && m.parameters.measured !== null);
  assert.equal(await page.locator('#plots-view a').count(), drawn.length);
  const front = ranked.filter((m) => !ranked.some((o) => o !== m && o.parameters.measured <= m.parameters.measured && o.aggregate.score >= m.aggregate.score && (o.parameters.measured < m.parameters.measured || o.aggregate.score > m.aggregate.score)));
  const best = await page.locator('#plots-view a:has(.best)').evaluateAll((links) => links.map((link) => decodeURIComponent(link.getAttribute('href').split('id=')[1])));
  assert.deepEqual(best.sort(), front.map((m) => m.id).sort());
  // Filters hold for the plots as well.
  await page.fill('#search', 'spruce');
  await page.waitForFunction((n) => document.querySelectorAll('#plots-view a').length === n, drawn.filter((m) => m.family === 'Spruce').length);
  await page.locator('#plots-view a').first().focus();
  assert.ok(await page.isVisible('.plot-tip'));
  const before = await page.evaluate(() => document.activeElement.getAttribute('data-i'));
  await page.keyboard.press('ArrowRight');
  assert.notEqual(await page.evaluate(() => document.activeElement.getAttribute('data-i')), before);
  await page.keyboard.press('Enter');
  await page.waitForURL(/model\.html\?id=/);
});

test('plot: figures of one hardware class at a time, in the address', async () => {
  const page = await s.page(server, 'index.html?view=plots');
  await page.selectOption('#plot-x', 'energy_per_1k_tokens');
  const classes = await page.locator('#plot-hw option').evaluateAll((options) => options.map((option) => option.value));
  assert.ok(classes.length > 1);
  await page.selectOption('#plot-hw', classes[1]);
  const expected = site.board.models.filter((m) => m.status !== 'withdrawn' && m.edge?.hardware_class === classes[1] && m.energy.value !== null && m.aggregate.score !== null);
  assert.equal(await page.locator('#plots-view a').count(), expected.length);
  const again = await s.page(server, page.url().slice(server.url.length + 1));
  await again.waitForSelector('#plots-view svg');
  assert.equal(await again.inputValue('#plot-hw'), classes[1]);
  await page.goBack();
  await page.waitForFunction((name) => document.getElementById('plot-hw')?.value === name, classes[0]);
  assert.deepEqual(page.problems, []);
});

test('probes: a table on the model page, optional columns on the index, and a reason where nothing was measured', async () => {
  const probed = site.board.models.find((m) => m.run !== null && m.probes.choice_order.value !== null);
  const without = site.board.models.find((m) => m.run !== null && m.probes.choice_order.value === null);
  const page = await s.page(server, `model.html?id=${probed.id}`);
  const table = page.locator('[aria-label="Table: Probes"]');
  const mmlu = await table.locator('tr', { hasText: 'MMLU' }).textContent();
  const { choice_order: order, answer_only: answer } = probed.probes.tasks.mmlu;
  for (const value of [order.changed.value, ...order.accuracies.map((a) => a.value), answer.accuracy.value, answer.with_question.value, answer.chance]) assert.ok(mmlu.includes(value.toFixed(1)), `${value} in ${mmlu}`);
  const why = await table.locator('tr', { hasText: 'HellaSwag' }).locator('.missing').first().getAttribute('data-tip');
  assert.match(why, /does not list the options/);
  assert.match(await page.textContent('section:has(> #h-probes)'), /never part of the score/);
  assert.ok(await (await fetch(new URL('methodology.html', page.url()))).text().then((text) => text.includes('id="probes"')));

  const bare = await s.page(server, `model.html?id=${without.id}`);
  assert.match(await bare.textContent('section:has(> #h-probes)'), /not measured in this run/);
  const index = await s.page(server, `index.html?q=${encodeURIComponent(probed.name)}&cols=aggregate,choice_order,answer_only`);
  const row = index.locator(`tr:has(a[href*="${probed.id}"])`).first();
  await row.waitFor();
  const cells = await row.textContent();
  assert.ok(cells.includes(probed.probes.choice_order.value.toFixed(1)) && cells.includes(probed.probes.answer_only.value.toFixed(1)), cells);
  const all = await s.page(server, 'index.html');
  assert.ok(!(await all.textContent('thead')).includes('Order sensitivity'), 'not shown unless chosen');
  assert.deepEqual([...page.problems, ...bare.problems, ...index.problems], []);
});

test('model: scores, tasks with chance, quantizations with differences, grid, figures, provenance, history', async () => {
  const page = await s.page(server, `model.html?id=${first.id}`);
  assert.equal(await page.textContent('h1'), first.name);
  const text = await page.textContent('main');
  assert.ok(text.includes(first.aggregate.score.toFixed(1)));
  for (const [pillar, { tasks }] of Object.entries(first.pillars)) {
    assert.ok(text.includes(first.pillars[pillar].score.toFixed(1)), pillar);
    for (const cell of Object.values(tasks)) assert.ok(text.includes(cell.score.toFixed(1)));
  }
  for (const link of first.quantizations) {
    const row = await page.textContent(`tr[data-run="${link.run_id}"]`);
    assert.ok(row.includes(link.aggregate_score.toFixed(1)) && row.includes(Math.abs(link.difference).toFixed(1)), row);
  }
  if (first.long_context !== null) assert.equal(await page.locator('.heat rect.cell').count(), first.long_context.needle.grid.length);
  await page.waitForSelector('#provenance details');
  const provenance = await page.textContent('#provenance');
  const run = JSON.parse(readFileSync(join(site.data, first.run.path), 'utf8'));
  for (const piece of [first.revision, run.model.weights[0].sha256, 'mistralrs 0.8.1', first.run.run_id, 'slm-bench run --submission-file', run.tasks.gsm8k.dataset.revision.slice(0, 10)]) assert.ok(provenance.includes(piece), piece);
  assert.ok((await page.textContent('#figures')).includes('measured'));
  assert.ok((await page.locator('section:has(#h-history) tbody tr').count()) >= 3);
  assert.deepEqual(page.problems, []);
});

test('model: the quantizations’ differences are tested on the same questions', async () => {
  const page = await s.page(server, `model.html?id=${first.id}`);
  await page.click('[data-paired]');
  await page.waitForSelector('table:has-text("Paired difference")');
  const text = await page.textContent('section:has(#h-quant)');
  assert.match(text, /p (=|<) 0\.\d+|p = 1\.000/);
  assert.ok(text.includes(`${first.quantizations[0].quantization.name} less`));
});

test('items: every question of a task, page by page, right and wrong apart, with a permalink', async () => {
  const page = await s.page(server, `model.html?id=${first.id}`);
  await page.click('[data-task="arc_challenge"]');
  await page.waitForSelector('.item');
  const all = lines(first, 'arc_challenge');
  const wrong = all.filter((line) => line.metrics['acc_norm,none'] === 0);
  assert.match(await page.textContent('#items'), /SHA-256 equals the one in run\.json/);
  const ids = () => page.locator('.item h3').allTextContents();
  assert.deepEqual(await ids(), all.slice(0, 10).map((line) => `Document ${line.doc_id}`));
  const verdicts = await page.locator('.item .verdict').allTextContents();
  assert.deepEqual(verdicts, all.slice(0, 10).map((line) => (line.metrics['acc_norm,none'] === 1 ? 'right' : 'wrong')));
  // The marked choice is the one that the metric takes, and right exactly when it is the right answer.
  for (let i = 0; i < 10; i++) {
    const chosen = await page.locator('.item').nth(i).locator('tr:has(strong)').getAttribute('class');
    assert.equal(chosen === 'gold', verdicts[i] === 'right', `item ${i}`);
  }
  await page.click('[data-items="next"]');
  await page.waitForFunction(() => document.querySelector('.item h3')?.textContent === 'Document 10');
  await page.selectOption('#item-show', 'wrong');
  await page.waitForFunction((id) => document.querySelector('.item h3')?.textContent === `Document ${id}`, wrong[0].doc_id);
  assert.deepEqual(await ids(), wrong.slice(0, 10).map((line) => `Document ${line.doc_id}`));
  const again = await s.page(server, page.url().slice(server.url.length + 1));
  await again.waitForSelector('.item');
  assert.deepEqual(await again.locator('.item h3').allTextContents(), await ids());
  await page.goBack();
  await page.waitForFunction(() => document.querySelector('.item h3')?.textContent === 'Document 10');
  assert.deepEqual([...page.problems, ...again.problems], []);
});

test('items: generated answers, programs, sentence pairs, subjects of MMLU', async () => {
  const open = async (task) => {
    const page = await s.page(server, `model.html?id=${first.id}&task=${task}`);
    await page.waitForSelector('.item');
    assert.deepEqual(page.problems, []);
    return page;
  };
  const sums = lines(first, 'gsm8k');
  let page = await open('gsm8k');
  let text = await page.locator('.item').first().textContent();
  assert.ok(text.includes(sums[0].resps[0][0]) && text.includes('flexible-extract') && text.includes(sums[0].target));
  page = await open('humaneval');
  text = await page.locator('.item').first().textContent();
  assert.ok(text.includes('assert add_0(1, 2) == 3'));
  page = await open('crows_pairs_english');
  assert.match(await page.locator('.item .verdict').first().textContent(), /stereotype/);
  page = await open('mmlu');
  assert.equal(await page.inputValue('#item-task'), 'mmlu_astronomy');
  assert.ok(await page.locator('#item-task optgroup[label="MMLU"]').count());
});

test('items: a file that is not the one in run.json is called out', async () => {
  const forged = build(8, { runs: 1 });
  const model = forged.board.models.find((m) => m.run !== null);
  const path = join(forged.dist, dirname(model.run.path), 'samples/boolq.jsonl.zst');
  const bytes = readFileSync(path);
  bytes[bytes.indexOf('Item 0') + 5] = '7'.charCodeAt(0);
  writeFileSync(path, bytes);
  const page = await s.page(await s.open(forged), `model.html?id=${model.id}&task=boolq`);
  await page.waitForSelector('.item');
  assert.match(await page.textContent('#items'), /SHA-256 differs/);
});

test('items: files as the zstd tool packs them, several frames in one, are read', async () => {
  const packed = build(8, { runs: 1 });
  const model = packed.board.models.find((m) => m.run !== null);
  const folder = join(packed.dist, dirname(model.run.path));
  const fixture = join(here, 'tests/fixtures/packed.jsonl.zst');
  mkdirSync(join(folder, 'samples'), { recursive: true });
  copyFileSync(fixture, join(folder, 'samples/boolq.jsonl.zst'));
  const path = join(packed.dist, model.run.path);
  const run = JSON.parse(readFileSync(path, 'utf8'));
  const entry = run.samples.find((sample) => sample.task === 'boolq');
  entry.sha256 = createHash('sha256').update(readFileSync(fixture)).digest('hex');
  writeFileSync(path, JSON.stringify(run));
  const page = await s.page(await s.open(packed), `model.html?id=${model.id}&task=boolq`);
  await page.waitForSelector('.item');
  const text = await page.textContent('#items');
  assert.match(text, /400 answers/);
  assert.match(text, /SHA-256 equals/);
  await page.click('[data-items="last"]');
  await page.waitForFunction(() => document.querySelector('.item:last-of-type h3')?.textContent === 'Document 399');
  assert.deepEqual(page.problems, []);
});

test('a model that is not there, and artifacts that are not there, are said to be so', async () => {
  const page = await s.page(server, 'model.html?id=no-such-model');
  assert.match(await page.textContent('main'), /Model not found/);
  const without = site.board.models.filter((m) => m.run !== null).at(-1);
  const other = await s.page(server, `model.html?id=${without.id}&task=gsm8k`);
  await other.waitForSelector('#items .problem');
  assert.match(await other.textContent('#items'), /artifacts are not on this site/);
});

test('compare: profile, differences, hardware classes, and adding and removing models', async () => {
  const [a, b, c] = site.board.models;
  const page = await s.page(server, `compare.html?id=${a.id}&id=${b.id}`);
  const text = await page.textContent('main');
  assert.ok(text.includes(a.name) && text.includes(b.name));
  const difference = (b.pillars.math.score - a.pillars.math.score).toFixed(1).replace('-', '−');
  assert.ok((await page.locator('tr:has(th:text-is("Math"))').first().textContent()).includes(difference));
  await page.fill('#add', c.name);
  await page.keyboard.press('Enter');
  await page.waitForFunction((name) => document.querySelector('.legend')?.textContent.includes(name), c.name);
  assert.deepEqual(new URL(page.url()).searchParams.getAll('id'), [a.id, b.id, c.id]);
  await page.click(`[data-remove="${b.id}"]`);
  await page.waitForFunction((name) => !document.querySelector('.legend')?.textContent.includes(name), b.name);
  await page.fill('#add', 'nothing like it');
  await page.keyboard.press('Enter');
  assert.match(await page.textContent('#add-error'), /No model matches/);
  await page.goBack();
  await page.waitForFunction((name) => document.querySelector('.legend')?.textContent.includes(name), b.name);
  assert.deepEqual(page.problems, []);
});

test('compare: tests on the same questions agree with the counts in the answers, and show where the models disagree', async () => {
  const [a, b] = site.board.models.filter((m) => m.run !== null);
  const page = await s.page(server, `compare.html?id=${a.id}&id=${b.id}`);
  await page.click('[data-test]');
  await page.waitForSelector('h3:has-text("against")');
  const left = lines(a, 'gsm8k');
  const right = lines(b, 'gsm8k');
  const value = (line) => line.metrics['exact_match,flexible-extract'];
  const count = (x, y) => left.filter((line, i) => value(line) === x && value(right[i]) === y).length;
  const row = await page.locator('section:has(#h-dis) tr:has(th:text-is("GSM8K")) td.num').allTextContents();
  assert.deepEqual(row.map(Number), [count(1, 1), count(0, 1), count(1, 0), count(0, 0)]);
  const link = page.locator('section:has(#h-dis) tr:has(th:text-is("GSM8K")) a').first();
  if ((await link.count()) > 0) {
    const doc = await link.textContent();
    await link.click();
    await page.waitForSelector('.item');
    assert.deepEqual(await page.locator('.item h3').allTextContents(), [`Document ${doc}`]);
    assert.equal(await page.locator('.item .verdict').textContent(), 'right');
  }
});

test('submit: the form writes YAML that the schema accepts, and the link carries it', async () => {
  const page = await s.page(server, 'submit.html');
  assert.equal(await page.getAttribute('#open-issue', 'href'), null);
  assert.match(await page.textContent('#findings'), /Still to fill in: name, family/);
  for (const [field, value] of Object.entries({ name: 'SmolLM2-135M', family: 'SmolLM2', hf_repo: 'HuggingFaceTB/SmolLM2-135M', parameters: '135M', architecture: 'llama', license: 'apache-2.0', submitted_by: 'octocat', context_length: '8192' })) await page.fill(`#f-${field}`, value);
  assert.match(await page.textContent('#findings'), /Valid by the schema/);
  const url = new URL(await page.getAttribute('#open-issue', 'href'));
  assert.equal(url.origin + url.pathname, 'https://github.com/example/slm-benchmark/issues/new');
  assert.equal(url.searchParams.get('template'), 'model-submission.yml');
  const yaml = url.searchParams.get('submission');
  assert.match(yaml, /^model:\n {2}name: SmolLM2-135M\n/);
  assert.match(yaml, /context_length: 8192/);
  assert.match(yaml, /categories: \[reasoning, coding, math, language, safety\]/);
  await page.click('[data-quant="add"]');
  assert.match(await page.textContent('#findings'), /quantizations/);
  assert.equal(await page.getAttribute('#open-issue', 'href'), null);
  await page.locator('.quant-row').nth(1).locator('[data-q="name"]').fill('Q4_K_M');
  await page.locator('.quant-row').nth(1).locator('[data-q="source"]').fill('smollm2-135m-q4_k_m.gguf');
  assert.match(await page.textContent('#findings'), /Valid by the schema/);
  assert.deepEqual(page.problems, []);
});

test('submit: findings name the line, the field and what is expected; hostile YAML is refused', async () => {
  const page = await s.page(server, 'submit.html');
  const check = async (yaml) => {
    await page.fill('#yaml', yaml);
    return page.textContent('#findings');
  };
  const valid = readFileSync(join(here, '../README.md'), 'utf8').match(/```yaml\n([\s\S]*?)```/)[1];
  assert.match(await check(valid), /Valid by the schema/);
  assert.equal(await page.inputValue('#f-name'), 'SmolLM2-135M', 'the form follows the YAML');
  assert.match(await check(`\`\`\`yaml\n${valid}\`\`\``), /Valid by the schema/);
  assert.match(await check(valid.replace('135M\n  arch', 'about 135M\n  arch')), /line 5 model\.parameters: Expected a number with K, M or B/);
  assert.match(await check(valid.replace('safetensors', 'pickle')), /“pickle” is not one of safetensors/);
  assert.match(await check(valid.replace('  family: SmolLM2\n', '')), /model\.family: “family” is missing/);
  assert.match(await check(`${valid}  colour: red\n`), /model\.colour.*not known/);
  assert.match(await check(valid.replace('name: SmolLM2-135M', 'name: <img src=x onerror=alert(1)>')), /model\.name: Expected letters/);
  assert.match(await check('a: &a [x]\nb: [*a, *a]\n'), /Aliases|not known|missing/);
  assert.match(await check('model: {name: a, name: b}'), /unique/);
  assert.match(await check(': : :'), /./);
  assert.match(await check(''), /./);
  assert.match(await check('x'.repeat(70000)), /longer than 65,536/);
  assert.equal(await page.getAttribute('#open-issue', 'href'), null);
  assert.equal(await page.locator('main img').count(), 0);
  assert.deepEqual(page.problems, []);
});

test('queue: what a server tells, and a plain word where there is none', async () => {
  const page = await s.page(server, 'queue.html');
  assert.match(await page.textContent('main'), /static: no evaluation server stands behind it/);
  const body = JSON.stringify({ generated_at: '2026-11-23T20:00:00Z', jobs: [{ model: '<b>Bold</b>', issue: 3, state: 'evaluating', submitted_at: '2026-11-23T18:10:00Z', progress: 0.5, task: 'hellaswag' }, { model: 'Next', issue: 4, state: 'queued', position: 1 }, { model: 'Old', issue: 2, state: 'failed' }] });
  const live = await s.open(site, { answers: { '/api/queue': { body } } });
  const shown = await s.page(live, 'queue.html');
  const text = await shown.textContent('main');
  assert.ok(text.includes('<b>Bold</b>') && text.includes('50 %') && text.includes('place 1'));
  assert.equal(await shown.locator('a[href="https://github.com/example/slm-benchmark/issues/3"]').count(), 1);
  const wrong = await s.page(await s.open(site, { answers: { '/api/queue': { body: '{"jobs": 3}' } } }), 'queue.html');
  assert.match(await wrong.textContent('main'), /jobs: expected a list/);
  assert.deepEqual(shown.problems, []);
});

test('no page is wider than a phone of 360 pixels', async () => {
  const id = first.id;
  const [a, b] = site.board.models;
  for (const path of ['index.html', 'index.html?view=plots', `model.html?id=${id}&task=gsm8k`, `compare.html?id=${a.id}&id=${b.id}`, 'methodology.html', 'submit.html', 'support.html', 'queue.html', 'all.html']) {
    const page = await s.page(server, path, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    await page.waitForTimeout(200);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, path);
    if (path === 'index.html') {
      // What decides is in view without a sideways scroll: rank, name and aggregate.
      for (const cell of ['.c-rank', '.c-name', '.c-aggregate']) {
        const box = await page.locator(`#ranking tbody tr[data-slug] ${cell}`).first().boundingBox();
        assert.ok(box.x >= 0 && box.x + box.width <= 360, `${cell} ends at ${box.x + box.width}`);
      }
      await page.click('#p-filters > summary');
      const sheet = await page.locator('#p-filters .sheet').boundingBox();
      assert.ok(sheet.x >= 0 && sheet.x + sheet.width <= 360);
    }
    await page.context().close();
  }
});
