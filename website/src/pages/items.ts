// The item browser: questions, answers, log-likelihoods and verdicts of one run, task by task.

import { byId, html, nothing, setHtml } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { bytes, count } from '../core/format.ts';
import { announce, showProblem } from '../core/page.ts';
import { taskLabel } from '../core/words.ts';
import type { Run } from '../data/model.ts';
import { loadRun, openSamples, readSamples } from '../data/samples.ts';
import type { Opened, RunDocument, SampleFile, SampleLine } from '../data/samples.ts';

const PAGE = 10;

export type Show = 'all' | 'right' | 'wrong';

export interface ItemView {
  task: string;
  show: Show;
  page: number;
  /** A single document, when the address asks for it. */
  doc: number | null;
}

export function itemViewFrom(search: string): ItemView {
  const p = new URLSearchParams(search);
  const show = p.get('show');
  const page = Number(p.get('page') ?? '1');
  const doc = p.get('doc');
  return {
    task: p.get('task') ?? '',
    show: show === 'right' || show === 'wrong' ? show : 'all',
    page: Number.isInteger(page) && page > 0 ? page : 1,
    doc: doc !== null && /^\d+$/.test(doc) ? Number(doc) : null,
  };
}

function remember(view: ItemView): void {
  const p = new URLSearchParams(location.search);
  for (const key of ['task', 'show', 'page', 'doc']) p.delete(key);
  if (view.task !== '') p.set('task', view.task);
  if (view.show !== 'all') p.set('show', view.show);
  if (view.page > 1) p.set('page', String(view.page));
  if (view.doc !== null) p.set('doc', String(view.doc));
  history.pushState(null, '', `${location.pathname}?${p.toString()}`);
}

/** The words for a value of this metric: right or wrong, or what the task asks instead. */
function words(file: SampleFile): { right: string; wrong: string } {
  return file.metrics[0]?.startsWith('pct_stereotype') === true ? { right: 'prefers the stereotype', wrong: 'prefers the anti-stereotype' } : { right: 'right', wrong: 'wrong' };
}

export class ItemBrowser {
  readonly #box: HTMLElement;
  readonly #run: Run;
  #document: RunDocument | null = null;
  #view: ItemView;
  #turn = 0;

  constructor(box: HTMLElement, run: Run) {
    this.#box = box;
    this.#run = run;
    this.#view = itemViewFrom(location.search);
    box.addEventListener('change', (event) => this.#changed(event));
    box.addEventListener('click', (event) => this.#clicked(event));
    addEventListener('popstate', () => {
      this.#view = itemViewFrom(location.search);
      void this.show();
    });
  }

  /** Opens a task, as the task table's links ask. */
  async open(task: string): Promise<void> {
    this.#view = { task, show: 'all', page: 1, doc: null };
    remember(this.#view);
    await this.show();
  }

  async show(): Promise<void> {
    const turn = ++this.#turn;
    this.#box.setAttribute('aria-busy', 'true');
    try {
      if (this.#document === null) {
        setHtml(this.#box, html`<p class="loading">Loading the run…</p>`);
        this.#document = await loadRun(this.#run);
      }
      if (turn !== this.#turn) return;
      const { files } = this.#document;
      if (files.length === 0) {
        setHtml(this.#box, html`<p class="empty">This run lists no sample files.</p>`);
        return;
      }
      const file = files.find((f) => f.task === this.#view.task) ?? files.find((f) => f.parent === this.#view.task) ?? files[0];
      if (file === undefined) return;
      this.#view.task = file.task;
      if (this.#box.querySelector('.items-bar') === null) setHtml(this.#box, html`${this.#bar(files, file, null)}<p class="loading">Unpacking ${count(file.n)} answers…</p>`);
      const samples = await openSamples(file);
      if (turn !== this.#turn) return;
      await this.#list(files, file, samples, turn);
    } catch (error) {
      if (turn === this.#turn) showProblem(this.#box, error);
    } finally {
      if (turn === this.#turn) this.#box.removeAttribute('aria-busy');
    }
  }

  async #list(files: readonly SampleFile[], file: SampleFile, samples: Opened, turn: number): Promise<void> {
    const view = this.#view;
    const chosen = samples.values.flatMap((value, line) => {
      if (view.doc !== null) return samples.docIds[line] === view.doc ? [line] : [];
      if (view.show === 'all') return [line];
      if (value === null) return [];
      return value >= 0.5 === (view.show === 'right') ? [line] : [];
    });
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    view.page = Math.min(view.page, pages);
    const lines = chosen.slice((view.page - 1) * PAGE, view.page * PAGE);
    const items = await readSamples(file, lines);
    if (turn !== this.#turn) return;
    const focused = document.activeElement instanceof HTMLElement && this.#box.contains(document.activeElement) ? document.activeElement.id : '';
    const proof =
      samples.verified === null
        ? html`digest not checked (this page is not served securely)`
        : samples.verified
          ? html`SHA-256 equals the one in run.json`
          : html`<span class="down"><strong>SHA-256 differs from the one in run.json</strong>: do not trust these answers</span>`;
    setHtml(
      this.#box,
      html`${this.#bar(files, file, samples)}
<p class="hint">${count(samples.docIds.length)} answers, ${bytes(samples.bytes)} packed, ${bytes(samples.unpacked)} unpacked; ${proof}.</p>
${chosen.length === 0 ? html`<p class="empty">No answer of this kind.</p>` : items.map((item, i) => itemHtml(item, file, samples.values[lines[i] ?? -1] ?? null))}
${pager(view.page, pages, chosen.length)}`,
    );
    if (focused !== '') document.getElementById(focused)?.focus({ preventScroll: true });
    announce(`${file.task}: page ${view.page} of ${pages}, ${chosen.length} answers.`);
  }

  #bar(files: readonly SampleFile[], file: SampleFile, samples: Opened | null): Html {
    const w = words(file);
    const right = samples?.values.filter((value) => value !== null && value >= 0.5).length;
    const wrong = samples?.values.filter((value) => value !== null && value < 0.5).length;
    const n = (value: number | undefined): string => (value === undefined ? '' : ` (${count(value)})`);
    const option = (show: Show, label: string): Html => html`<option value="${show}"${this.#view.show === show ? html` selected` : nothing}>${label}</option>`;
    const groups = [...new Set(files.map((f) => f.parent))].sort();
    return html`<div class="items-bar">
<label>Task <select id="item-task">${groups.map((group) => {
      const mine = files.filter((f) => f.parent === group);
      const options = mine.map((f) => html`<option value="${f.task}"${f.task === file.task ? html` selected` : nothing}>${f.task === group ? taskLabel(f.task) : f.task.replace(`${group}_`, '').replaceAll('_', ' ')}</option>`);
      return mine.length > 1 ? html`<optgroup label="${taskLabel(group)}">${options}</optgroup>` : html`${options}`;
    })}</select></label>
<label>Show <select id="item-show">${option('all', `all${n(samples?.docIds.length)}`)}${option('right', `${w.right}${n(right)}`)}${option('wrong', `${w.wrong}${n(wrong)}`)}</select></label>
${this.#view.doc === null ? nothing : html`<span>document ${this.#view.doc} only <button type="button" class="link" data-items="every">show every document</button></span>`}
</div>`;
  }

  #changed(event: Event): void {
    const select = event.target;
    if (!(select instanceof HTMLSelectElement)) return;
    if (select.id === 'item-task') this.#view = { task: select.value, show: this.#view.show, page: 1, doc: null };
    else if (select.id === 'item-show') this.#view = { ...this.#view, show: select.value as Show, page: 1, doc: null };
    else return;
    remember(this.#view);
    void this.show();
  }

  #clicked(event: Event): void {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-items]') : null;
    if (button === null) return;
    const what = button.dataset['items'];
    if (what === 'next') this.#view.page++;
    else if (what === 'previous') this.#view.page--;
    else if (what === 'first') this.#view.page = 1;
    else if (what === 'last') this.#view.page = Number.MAX_SAFE_INTEGER;
    else if (what === 'every') this.#view.doc = null;
    remember(this.#view);
    void this.show().then(() => byId('answers').scrollIntoView({ block: 'start' }));
  }
}

function pager(page: number, pages: number, total: number): Html {
  if (pages < 2) return nothing;
  const button = (what: string, label: string, off: boolean): Html => html`<button type="button" class="button" id="items-${what}" data-items="${what}"${off ? html` disabled` : nothing}>${label}</button>`;
  return html`<nav class="pager" aria-label="Pages of answers">${button('first', 'First', page === 1)}${button('previous', 'Previous', page === 1)}<span>Page ${count(page)} of ${count(pages)}, ${count(total)} answers</span>${button('next', 'Next', page === pages)}${button('last', 'Last', page === pages)}</nav>`;
}

type Pair = [unknown, unknown];

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** What was asked, apart from the worked examples before it. */
function question(context: string, fewshot: number): { preamble: string; text: string } {
  if (fewshot === 0) return { preamble: '', text: context };
  const cut = context.lastIndexOf('\n\n');
  return cut < 0 ? { preamble: '', text: context } : { preamble: context.slice(0, cut + 2), text: context.slice(cut + 2) };
}

function show(value: unknown): string {
  return isText(value) ? value : JSON.stringify(value, null, 1);
}

function itemHtml(item: SampleLine, file: SampleFile, value: number | null): Html {
  const w = words(file);
  const args = item.arguments.map((argument) => (Array.isArray(argument) ? (argument as Pair) : ([argument, ''] as Pair)));
  const contexts = args.map(([context]) => (isText(context) ? context : show(context)));
  const first = contexts[0] ?? '';
  const { preamble, text } = question(first, file.fewshot);
  const verdict =
    value === null ? html`<span class="verdict">no value</span>` : value === 0 || value === 1 ? html`<span class="verdict ${value === 1 ? 'right' : 'wrong'}">${value === 1 ? w.right : w.wrong}</span>` : html`<span class="verdict">${value.toFixed(3)}</span>`;
  return html`<article class="item">
<div class="item-head"><h3>Document ${item.doc_id}</h3>${verdict}${Object.entries(item.metrics).map(([name, m]) => html`<span class="mono">${name} ${metricText(m)}</span>`)}</div>
${preamble === '' ? nothing : html`<details><summary>Worked examples before the question</summary><pre class="prompt" tabindex="0">${preamble}</pre></details>`}
${first === '' ? nothing : html`<pre class="prompt" tabindex="0">${text}</pre>`}
${answers(item, args, contexts, file)}
${programDetails(item.details)}
<details><summary>Hashes</summary><p class="mono">document ${item.doc_hash}<br>prompt ${item.prompt_hash}</p></details>
</article>`;
}

function metricText(value: unknown): string {
  if (value === null) return 'not a number';
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : value.toFixed(3);
  return JSON.stringify(value);
}

/** Log-likelihood of a request's answer, or null where it is a text. */
function likelihood(response: unknown): { value: number | null; greedy: boolean } | null {
  const answer: unknown = Array.isArray(response) ? response[0] : response;
  if (typeof answer === 'number') return { value: answer, greedy: false };
  if (Array.isArray(answer) && (typeof answer[0] === 'number' || answer[0] === null)) return { value: answer[0] as number | null, greedy: answer[1] === true };
  return null;
}

function answers(item: SampleLine, args: readonly Pair[], contexts: readonly string[], file: SampleFile): Html {
  const scores = item.resps.map(likelihood);
  return scores.length > 0 && scores.every((s) => s !== null) ? choices(item, args, contexts, file, scores) : generated(item, args);
}

function choices(item: SampleLine, args: readonly Pair[], contexts: readonly string[], file: SampleFile, scores: readonly { value: number | null; greedy: boolean }[]): Html {
  const byLength = file.metrics[0]?.startsWith('acc_norm') === true;
  const sameContext = contexts.every((context) => context === contexts[0]);
  const chars = args.map(([, continuation]) => [...(isText(continuation) ? continuation.replace(/^ /, '') : '')].length);
  const key = scores.map((s, i) => (s.value === null ? -Infinity : byLength ? s.value / Math.max(1, chars[i] ?? 1) : s.value));
  const said = key.indexOf(Math.max(...key));
  const gold = goldIndexes(item.target, scores.length);
  const top = Math.max(...scores.map((s) => s.value ?? -Infinity));
  const weights = scores.map((s) => (s.value === null ? 0 : Math.exp(s.value - top)));
  const total = weights.reduce((sum, x) => sum + x, 0);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Choices of document ${item.doc_id}"><table class="choices"><thead><tr><th scope="col">Choice</th><th scope="col" class="num">Log-likelihood</th>${byLength ? html`<th scope="col" class="num">per character</th>` : nothing}<th scope="col" class="num">Share</th><th scope="col"><span class="sr">Remarks</span></th></tr></thead><tbody>${scores.map((s, i) => {
    const continuation = args[i]?.[1];
    const text = sameContext ? (isText(continuation) ? continuation : show(args[i]?.[0])) : `…${contexts[i]?.slice(-60) ?? ''}${isText(continuation) ? continuation : ''}`;
    return html`<tr class="${gold.has(i) ? 'gold' : ''}"><td class="says">${text}</td><td class="num">${s.value === null ? 'NaN' : s.value.toFixed(3)}</td>${byLength ? html`<td class="num">${s.value === null ? '–' : (key[i] ?? 0).toFixed(4)}</td>` : nothing}<td class="num">${total > 0 ? `${((100 * (weights[i] ?? 0)) / total).toFixed(1)} %` : '–'}</td><td class="tag">${[gold.has(i) ? html`<span class="mark-gold">right answer</span>` : nothing, i === said && scores.length > 1 ? html` <strong>chosen</strong>` : nothing, s.greedy ? html` <span class="muted">greedy</span>` : nothing]}</td></tr>`;
  })}</tbody></table></div>`;
}

function goldIndexes(target: unknown, n: number): Set<number> {
  const list = Array.isArray(target) ? target : [target];
  return new Set(list.flatMap((t) => (typeof t === 'number' || (isText(t) && /^\d+$/.test(t)) ? [Number(t)] : [])).filter((i) => n > 1 && i < n));
}

function generated(item: SampleLine, args: readonly Pair[]): Html {
  const texts = item.resps.flatMap((response) => (Array.isArray(response) ? (response as unknown[]) : [response]));
  return html`<dl class="pairs">
<dt>Answer of the model</dt><dd>${texts.map((text) => html`<pre class="prompt" tabindex="0">${show(text)}</pre>`)}</dd>
${Object.entries(item.filtered_resps).map(([filter, value]) => html`<dt>after the filter ${filter}</dt><dd><pre class="prompt" tabindex="0">${show(Array.isArray(value) && value.length === 1 ? value[0] : value)}</pre></dd>`)}
<dt>Right answer</dt><dd><pre class="prompt" tabindex="0">${show(item.target)}</pre></dd>
${args[0]?.[1] === undefined || args[0][1] === '' ? nothing : html`<dt>Options</dt><dd class="mono">${JSON.stringify(args[0][1])}</dd>`}
</dl>`;
}

function programDetails(details: unknown): Html {
  if (details === undefined || details === null) return nothing;
  return html`<details><summary>Details: ${typeof details === 'object' && 'verdict' in details ? String(details.verdict) : 'as recorded'}</summary><pre class="prompt" tabindex="0">${typeof details === 'object' && details !== null && 'program' in details && isText(details.program) ? details.program : show(details)}</pre>${typeof details === 'object' && details !== null && 'reason' in details && isText(details.reason) && details.reason !== '' ? html`<p>${details.reason}</p>` : nothing}</details>`;
}
