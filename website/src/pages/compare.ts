// Up to four models side by side.

import { profile, swatch } from '../charts/profile.ts';
import { byId, html, nothing, setHtml } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { missing } from '../core/columns.ts';
import { count, halfWidth, MISSING, pValue, quantity, score, signed, size } from '../core/format.ts';
import { announce, problemHtml, showProblem, startPage } from '../core/page.ts';
import { MAX_COMPARED } from '../core/state.ts';
import { holm, unpaired, Z95 } from '../core/stats.ts';
import type { Difference } from '../core/stats.ts';
import { modelAddress } from '../core/table.ts';
import { FIGURE_WORDS, PILLAR_LABEL, taskLabel } from '../core/words.ts';
import { loadModels, loadRows } from '../data/load.ts';
import { PILLARS } from '../data/model.ts';
import type { FigureName, Measured, Model, Row } from '../data/model.ts';
import type { TaskComparison } from '../data/paired.ts';

/** Paired results by the slug of the model that is compared with the first. */
const tested = new Map<string, TaskComparison[]>();
let rows: readonly Row[] = [];
let models: Model[] = [];

function slugs(): string[] {
  return [...new Set(new URLSearchParams(location.search).getAll('id'))].slice(0, MAX_COMPARED);
}

function address(ids: readonly string[]): string {
  return `${location.pathname}${ids.length === 0 ? '' : `?${ids.map((id) => `id=${encodeURIComponent(id)}`).join('&')}`}`;
}

async function main(): Promise<void> {
  startPage();
  const content = byId('content');
  addEventListener('popstate', () => void load(content));
  content.addEventListener('click', clicked);
  content.addEventListener('submit', (event) => {
    event.preventDefault();
    add();
  });
  try {
    rows = (await loadRows()).rows;
    await load(content);
  } catch (error) {
    showProblem(content, error);
  } finally {
    document.documentElement.dataset['ready'] = 'yes';
  }
}

async function load(content: HTMLElement): Promise<void> {
  const wanted = slugs();
  const found = wanted.length === 0 ? [] : await loadModels(wanted);
  models = found.filter((model): model is Model => model !== null);
  tested.clear();
  draw(content, wanted.filter((_, i) => found[i] === null || found[i] === undefined));
}

function go(ids: readonly string[]): void {
  history.pushState(null, '', address(ids));
  void load(byId('content'));
}

function add(): void {
  const input = byId<HTMLInputElement>('add');
  const text = input.value.trim().toLowerCase();
  const row = rows.find((r) => r.slug.toLowerCase() === text || r.name.toLowerCase() === text || r.repo.toLowerCase() === text) ?? rows.find((r) => text !== '' && r.name.toLowerCase().includes(text));
  if (row === undefined) {
    byId('add-error').textContent = text === '' ? 'Type a name first.' : `No model matches “${input.value.trim()}”.`;
    return;
  }
  go([...models.map((model) => model.slug), row.slug]);
}

function clicked(event: MouseEvent): void {
  const button = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-remove],[data-first],[data-test]') : null;
  if (button === null) return;
  const { remove, first, test } = button.dataset;
  const ids = models.map((model) => model.slug);
  if (remove !== undefined) go(ids.filter((id) => id !== remove));
  else if (first !== undefined) go([first, ...ids.filter((id) => id !== first)]);
  else if (test !== undefined) void runTests();
}

function draw(content: HTMLElement, unknown: readonly string[]): void {
  const full = models.length >= MAX_COMPARED;
  setHtml(
    content,
    html`<h1>Compare models</h1>
${unknown.map((id) => html`<p class="notice">The leaderboard has no model with the id <code>${id}</code>.</p>`)}
${full ? nothing : html`<form class="items-bar"><label>Add a model <input type="text" id="add" list="names" autocomplete="off" spellcheck="false" aria-describedby="add-error"></label><datalist id="names">${rows.slice(0, 2000).map((row) => html`<option value="${row.name}"></option>`)}</datalist><button type="submit" class="button">Add</button><span id="add-error" class="down" role="alert"></span></form>`}
${models.length === 0 ? html`<p class="hint">Choose up to ${MAX_COMPARED} models here, or with the boxes in the <a href="index.html">ranking</a>.</p>` : body()}`,
  );
}

function body(): Html {
  const [reference] = models;
  if (reference === undefined) return nothing;
  const profileRows = [{ label: 'Aggregate', strong: true }, ...PILLARS.map((pillar) => ({ label: PILLAR_LABEL[pillar] }))];
  const series = models.map((model) => ({ name: model.name, values: [model.aggregate, ...PILLARS.map((pillar) => model.pillars[pillar])] }));
  const groups = new Set(models.map((model) => model.group));
  return html`<ul class="facts legend">${models.map((model, i) => html`<li>${swatch(i)}<a href="${modelAddress(model.slug)}"><b>${model.name}</b></a> ${size(model.size)}${i === 0 ? html` <span class="muted">(reference)</span>` : html` <button type="button" class="link" data-first="${model.slug}">make reference</button>`} <button type="button" class="link" data-remove="${model.slug}">remove<span class="sr"> ${model.name}</span></button></li>`)}</ul>
${groups.size > 1 ? html`<p class="notice">These models did not answer the same questions (${[...groups].map((group) => group ?? 'no run').join('; ')}): their scores cannot be compared directly.</p>` : nothing}
<section aria-labelledby="h-profile"><h2 id="h-profile">Profile</h2>${profile(profileRows, series, `Profiles of ${models.map((model) => model.name).join(', ')}; the table below holds the numbers`, Math.max(300, Math.min(760, innerWidth - 40)))}</section>
<section aria-labelledby="h-diff"><h2 id="h-diff">Differences</h2>${models.length < 2 ? html`<p class="hint">Add a second model to see differences.</p>` : html`<p id="test-line">${tested.size > 0 ? html`Differences with p-values from the same questions where both runs’ answers are here (McNemar’s exact test where an answer is right or wrong; Holm’s correction over the tasks of a model).` : html`The intervals below take the questions as unmatched, which is cautious. <button type="button" class="button" data-test="yes">Test on the same questions</button>`}</p>`}${table(reference)}</section>
<section aria-labelledby="h-machine"><h2 id="h-machine">Speed, memory, energy</h2>${machine()}</section>
${models.length < 2 ? nothing : html`<section aria-labelledby="h-dis"><h2 id="h-dis">Where they disagree</h2>${disagreements(reference)}</section>`}`;
}

interface Line {
  readonly label: string;
  readonly className: string;
  values(model: Model): Measured;
  paired(model: Model): (Difference & { corrected?: number }) | null;
}

function lines(reference: Model): Line[] {
  const out: Line[] = [{ label: 'Aggregate', className: 'group', values: (model) => model.aggregate, paired: () => null }];
  for (const pillar of PILLARS) {
    out.push({ label: PILLAR_LABEL[pillar], className: 'group', values: (model) => model.pillars[pillar], paired: () => null });
    for (const task of reference.pillarTasks[pillar]) {
      out.push({
        label: taskLabel(task.name),
        className: 'part',
        values: (model) => model.pillarTasks[pillar].find((t) => t.name === task.name)?.score ?? { value: null, interval: null, reason: 'not part of this run' },
        paired: (model) => {
          const results = tested.get(model.slug);
          const i = results?.findIndex((r) => r.task === task.name) ?? -1;
          const found = results?.[i];
          if (results === undefined || found === undefined) return null;
          return { ...found.result, corrected: holm(results.map((r) => r.result.p))[i] ?? 1 };
        },
      });
    }
  }
  return out;
}

function table(reference: Model): Html {
  const others = models.slice(1);
  const row = (line: Line): Html => {
    const base = line.values(reference);
    return html`<tr class="${line.className}"><th scope="row">${line.label}</th><td class="num">${cell(base)}</td>${others.map((model) => {
      const m = line.values(model);
      return html`<td class="num">${cell(m)}</td><td class="num">${differenceCell(m, base, line.paired(model))}</td>`;
    })}</tr>`;
  };
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Differences"><table class="data"><thead><tr><th scope="col"><span class="sr">What</span></th>${models.map((model, i) => html`<th scope="col" class="num">${swatch(i)}${model.name}</th>${i === 0 ? nothing : html`<th scope="col" class="num">against ${reference.name}</th>`}`)}</tr></thead><tbody>${lines(reference).map(row)}</tbody></table></div>
<p class="hint">Bold: the 95 % interval of the difference leaves out 0${tested.size > 0 ? ', or p &lt; 0.05 after correction'.replace('&lt;', '<') : ''}. Points, 0 to 100.</p>`;
}

function cell(m: Measured): Html {
  if (m.value === null) return missing(m.reason);
  return html`${score(m.value)}${m.interval === null ? nothing : html` <span class="pm">${halfWidth(...m.interval)}</span>`}`;
}

function differenceCell(m: Measured, base: Measured, pair: (Difference & { corrected?: number }) | null): Html {
  if (pair !== null) {
    const p = pair.corrected ?? pair.p;
    return significance(pair.value, Z95 * pair.stderr, p < 0.05, pValue(p));
  }
  if (m.value === null || base.value === null) return html`<span class="muted">${MISSING}</span>`;
  if (m.interval === null || base.interval === null) return html`${signed(m.value - base.value)}`;
  const d = unpaired({ value: m.value, interval: m.interval }, { value: base.value, interval: base.interval });
  return significance(d.value, Z95 * d.stderr, d.p < 0.05, null);
}

function significance(value: number, half: number, sure: boolean, p: string | null): Html {
  const text = html`${signed(value)} <span class="pm">±${half.toFixed(1)}</span>`;
  const tail = p === null ? nothing : html` <span class="pm">${p}</span>`;
  return sure ? html`<strong class="${value > 0 ? 'up' : 'down'}">${text}</strong>${tail}` : html`${text}${tail}`;
}

function machine(): Html {
  const names: FigureName[] = ['decode_speed', 'prefill_speed', 'time_to_first_token', 'peak_memory', 'energy_per_1k_tokens', 'co2_per_1k_tokens', 'efficiency'];
  const classes = new Set(models.flatMap((model) => (model.hardwareClass === null ? [] : [model.hardwareClass])));
  return html`${classes.size > 1 ? html`<p class="notice">Measured on different hardware classes: do not compare these figures with each other.</p>` : nothing}
<div class="scroll" tabindex="0" role="region" aria-label="Table: Speed, memory, energy"><table class="data"><thead><tr><th scope="col">Figure</th>${models.map((model, i) => html`<th scope="col" class="num">${swatch(i)}${model.name}</th>`)}</tr></thead><tbody>
<tr><th scope="row">Hardware class</th>${models.map((model) => html`<td class="num">${model.hardwareClass ?? MISSING}</td>`)}</tr>
${names.map((name) => html`<tr><th scope="row">${FIGURE_WORDS[name].label} <span class="muted">${FIGURE_WORDS[name].unit === 'bytes' ? 'MiB' : FIGURE_WORDS[name].unit}</span></th>${models.map((model) => {
    const figure = model.figures[name];
    if (figure === undefined || figure.value === null) return html`<td class="num">${missing(figure?.reason ?? 'not measured in this run')}</td>`;
    return html`<td class="num">${quantity(FIGURE_WORDS[name].unit === 'bytes' ? figure.value / 1048576 : figure.value)}${figure.method.startsWith('estimated') ? html` <span class="est">est.</span>` : nothing}</td>`;
  })}</tr>`)}</tbody></table></div>`;
}

function disagreements(reference: Model): Html {
  if (tested.size === 0) return html`<p class="hint">Questions that one model answers right and the other wrong are found when the differences are tested on the same questions.</p>`;
  return html`${models.slice(1).map((model) => {
    const results = tested.get(model.slug) ?? [];
    if (results.length === 0) return html`<p class="hint">${model.name} and ${reference.name} have no answers in common on this site.</p>`;
    return html`<h3>${model.name} against ${reference.name}</h3><div class="scroll" tabindex="0" role="region" aria-label="Table: Agreement of ${model.name} and ${reference.name}"><table class="data"><thead><tr><th scope="col">Task</th><th scope="col" class="num">Both right</th><th scope="col" class="num">Only ${model.name}</th><th scope="col" class="num">Only ${reference.name}</th><th scope="col" class="num">Both wrong</th><th scope="col" class="barcell"><span class="sr">Shares</span></th><th scope="col">Questions they disagree on</th></tr></thead><tbody>${results.map(({ task, result, disagreements: list }) => html`<tr><th scope="row">${taskLabel(task)}</th><td class="num">${count(result.bothRight)}</td><td class="num">${count(result.onlyA)}</td><td class="num">${count(result.onlyB)}</td><td class="num">${count(result.bothWrong)}</td><td class="barcell">${agreementBar([result.bothRight, result.onlyA, result.onlyB, result.bothWrong])}</td><td>${list.slice(0, 5).map((d) => html`<a href="${modelAddress(d.aIsRight ? model.slug : reference.slug)}&amp;task=${encodeURIComponent(d.file.task)}&amp;doc=${d.docId}#answers" title="${d.aIsRight ? model.name : reference.name} is right">${d.docId}</a> `)}${list.length > 5 ? html`<span class="muted">and ${count(list.length - 5)} more</span>` : nothing}</td></tr>`)}</tbody></table></div>`;
  })}`;
}

function agreementBar(parts: readonly number[]): Html {
  const total = Math.max(1, parts.reduce((sum, part) => sum + part, 0));
  const classes = ['len', 'a-only', 'b-only', 'axis'];
  let x = 0;
  return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">${parts.map((part, i) => {
    const width = (100 * part) / total;
    const rect = html`<rect class="${classes[i]}" x="${x.toFixed(2)}" width="${width.toFixed(2)}" y="0" height="8"/>`;
    x += width;
    return rect;
  })}</svg>`;
}

async function runTests(): Promise<void> {
  const [reference, ...others] = models;
  const line = byId('test-line');
  if (reference === undefined) return;
  try {
    const { compareRuns } = await import('../data/paired.ts');
    for (const model of others) {
      if (model.run === null || reference.run === null) {
        tested.set(model.slug, []);
        continue;
      }
      tested.set(
        model.slug,
        await compareRuns(model.run, reference.run, (done, of) => {
          line.textContent = `${model.name}: reading ${done} of ${of} files…`;
        }),
      );
    }
    draw(byId('content'), []);
    announce('The differences have been tested on the same questions.');
  } catch (error) {
    tested.clear();
    setHtml(line, problemHtml(error));
  }
}

void main();
