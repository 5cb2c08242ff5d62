// The ranking and the plots: one set of filters, one address.

import { announce, csvField, download, showProblem, startPage } from '../core/page.ts';
import { byId, html, nothing, setHtml } from '../core/html.ts';
import { COLUMNS, isSortable, sortRows, startsDescending, visibleColumns } from '../core/columns.ts';
import type { SortValue } from '../core/columns.ts';
import { activeFilters, facet, filterRows, prepareSearch } from '../core/filter.ts';
import { count, size } from '../core/format.ts';
import { isPublished, published, standings, totalWeight } from '../core/ranking.ts';
import type { Standing } from '../core/ranking.ts';
import { defaultView, fromAddress, MAX_COMPARED, toAddress } from '../core/state.ts';
import type { View } from '../core/state.ts';
import { RankTable } from '../core/table.ts';
import type { TableContext } from '../core/table.ts';
import { learnBadges, PILLAR_LABEL, STATUS_LABEL } from '../core/words.ts';
import { loadRows } from '../data/load.ts';
import { PILLARS, STATUSES, WEIGHTS } from '../data/model.ts';
import type { Pillar, Row } from '../data/model.ts';

const SIZE_STOPS = [1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 150e6, 200e6, 300e6, 400e6, 500e6, 700e6, 1e9, 1.5e9, 2e9, 2.5e9, 3e9];

let all: readonly Row[] = [];
let view: View = fromAddress(location.search);
let current: readonly Row[] = [];
let sorted: readonly Row[] = [];
let sortedFor = '';
let own: Map<string, Standing> | null = null;
let ownFor = '';
let columnsDrawn = '';
let weightsDrawn = '';
let selectionDrawn = '';
const table = new RankTable(byId<HTMLTableElement>('ranking'));
let plots: typeof import('./plots.ts') | null = null;

function standing(row: Row): Standing {
  return own?.get(row.slug) ?? published(row);
}

function context(): TableContext {
  return {
    columns: visibleColumns(view.columns),
    standing,
    sort: view.sort,
    descending: view.descending,
    selected: new Set(view.selected),
    ownWeights: own !== null,
  };
}

/** Brings everything in step with `view`. */
function render(): void {
  if (!isSortable(view.sort)) view.sort = 'rank';
  const weightsKey = PILLARS.map((pillar) => view.weights[pillar]).join();
  if (weightsKey !== ownFor) {
    own = isPublished(view.weights) ? null : standings(all, view.weights);
    ownFor = weightsKey;
  }
  const sortKey = `${view.sort} ${view.descending} ${weightsKey}`;
  if (sortKey !== sortedFor) {
    sorted = sortRows(all, view.sort, view.descending, standing);
    sortedFor = sortKey;
  }
  current = filterRows(sorted, view);
  const tableView = view.view === 'table';
  if (byId('table-view').hidden === tableView) for (const name of ['table', 'plots']) byId(`tab-${name}`).setAttribute('aria-pressed', String(view.view === name));
  setHidden('table-view', !tableView);
  setHidden('plots-view', tableView);
  if (tableView) {
    const c = context();
    const headKey = `${c.columns.map((column) => column.key).join()} ${c.sort} ${c.descending}`;
    const headToo = headKey !== columnsDrawn;
    table.update(current, c, headToo);
    columnsDrawn = headKey;
    if (headToo) fitTable();
  } else {
    void drawPlots();
  }
  drawCount();
  drawSelection();
  if (weightsKey !== weightsDrawn) drawWeights();
  weightsDrawn = weightsKey;
}

async function drawPlots(): Promise<void> {
  try {
    plots ??= await import('./plots.ts');
    plots.draw(byId('plots-view'), current, standing, view, (change) => change_(change));
  } catch (error) {
    showProblem(byId('plots-view'), error);
  }
}

/** The head stays at the top of the window where the table fits; where it does not, the table scrolls sideways in its box. */
function fitTable(): void {
  const box = byId('table-box');
  box.classList.remove('wide');
  box.classList.toggle('wide', byId('ranking').scrollWidth > box.clientWidth + 1);
}

function drawCount(): void {
  const ranked = (): number => current.filter((row) => standing(row).rank !== null).length;
  const filters = activeFilters(view);
  const text =
    all.length === 0
      ? 'No model has been evaluated yet.'
      : filters > 0
        ? `${count(current.length)} of ${count(all.length)} models`
        : `${count(current.length)} ${current.length === 1 ? 'model' : 'models'}, ${count(ranked())} ranked`;
  setText('count', text);
  setHidden('clear', filters === 0);
  setText('filter-count', filters > 0 ? ` (${filters})` : '');
  const empty = byId('empty');
  setHidden('empty', current.length > 0);
  if (current.length === 0) {
    setHtml(
      empty,
      all.length === 0
        ? html`<p><strong>The leaderboard is empty.</strong> No model has been evaluated yet. <a href="submit.html">Submit the first one</a>.</p>`
        : html`<p><strong>No model passes these filters.</strong> <button type="button" class="link" data-action="clear">Clear the filters</button></p>`,
    );
  }
}

/** Writing what is there already would still cost a layout. */
function setText(id: string, text: string): void {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function setHidden(id: string, hidden: boolean): void {
  const element = byId(id);
  if (element.hidden !== hidden) element.hidden = hidden;
}

function drawSelection(): void {
  const key = view.selected.join(' ');
  if (key === selectionDrawn) return;
  selectionDrawn = key;
  const bar = byId('selection');
  bar.hidden = view.selected.length === 0;
  if (view.selected.length === 0) return;
  const names = view.selected.map((slug) => all.find((row) => row.slug === slug)?.name ?? slug);
  const address = `compare.html?${view.selected.map((slug) => `id=${encodeURIComponent(slug)}`).join('&')}`;
  setHtml(
    bar,
    html`<span class="picked-names">${names.join(', ')}</span>
${view.selected.length > 1 ? html`<a class="button primary" href="${address}">Compare ${view.selected.length}</a>` : html`<span class="hint">Choose up to ${MAX_COMPARED - 1} more to compare.</span>`}
<button type="button" class="link" data-action="unselect">Clear selection</button>`,
  );
}

function drawWeights(): void {
  const total = totalWeight(view.weights);
  for (const pillar of PILLARS) {
    const input = byId<HTMLInputElement>(`w-${pillar}`);
    if (document.activeElement !== input || Number(input.value) !== view.weights[pillar]) input.value = String(view.weights[pillar]);
    byId(`wo-${pillar}`).textContent = total > 0 ? `${view.weights[pillar]} (${((100 * view.weights[pillar]) / total).toFixed(1)} %)` : '0';
  }
  const mine = !isPublished(view.weights);
  byId('weights-note').hidden = !mine;
  byId('weights-state').textContent = mine ? ' (yours)' : '';
  if (mine) {
    byId('weights-text').textContent =
      total > 0
        ? 'You are looking at your own weights, not at the published ranking. Published ranks stand in brackets; intervals take the pillars as independent.'
        : 'All weights are zero: nothing can be ranked.';
  }
}

/** Applies a change and writes the address: a new entry for the back button, or in place of the current one while typing. */
function change_(part: Partial<View>, replace = false): void {
  Object.assign(view, part);
  render();
  remember(replace);
}

let pending = 0;
function remember(replace: boolean): void {
  clearTimeout(pending);
  const address = `${location.pathname}${toAddress(view)}`;
  if (replace) {
    // Browsers limit how often the address may be written; typing and dragging write it once they pause.
    pending = window.setTimeout(() => history.replaceState(null, '', address), 120);
  } else if (address !== location.pathname + location.search) {
    history.pushState(null, '', address);
  }
}

/** While typing or dragging the first change is a new entry, later ones replace it. */
function session(): { change: (part: Partial<View>) => void; end: () => void } {
  let open = false;
  return {
    change(part) {
      change_(part, open);
      open = true;
    },
    end() {
      open = false;
    },
  };
}

function drawControls(): void {
  byId<HTMLInputElement>('search').value = view.query;
  drawSizes();
  drawFacet('family', all, (row) => [row.family], view.families);
  drawFacet('license', all, (row) => [row.licence], view.licences);
  drawFacet('arch', all, (row) => [row.architecture], view.architectures);
  drawFacet('quant', all, (row) => row.quantizations, view.quantizations);
  setHtml(
    byId('f-status'),
    html`${STATUSES.map((status) => check('status', status, STATUS_LABEL[status], all.filter((row) => row.status === status).length, view.statuses.includes(status)))}`,
  );
  setHtml(
    byId('f-has'),
    html`${PILLARS.map((pillar) => check('has', pillar, PILLAR_LABEL[pillar], all.filter((row) => row.pillars[pillar].value !== null).length, view.pillars.includes(pillar)))}`,
  );
  const shown = new Set(visibleColumns(view.columns).map((column) => column.key));
  setHtml(byId('f-cols'), html`${COLUMNS.map((column) => check('cols', column.key, column.label, null, shown.has(column.key)))}`);
}

function check(group: string, value: string, label: string, n: number | null, on: boolean): ReturnType<typeof html> {
  return html`<label class="check"><input type="checkbox" name="${group}" value="${value}"${on ? html` checked` : nothing}><span>${label === '' ? 'not stated' : label}</span>${n === null ? nothing : html`<span class="n">${count(n)}</span>`}</label>`;
}

function drawFacet(group: string, rows: readonly Row[], values: (row: Row) => readonly string[], on: readonly string[]): void {
  const counts = facet(rows, values);
  for (const value of on) if (!counts.some(([name]) => name === value)) counts.push([value, 0]);
  setHtml(byId(`f-${group}`), html`${counts.map(([value, n]) => check(group, value, value, n, on.includes(value)))}`);
}

function drawSizes(): void {
  const low = byId<HTMLInputElement>('size-min');
  const high = byId<HTMLInputElement>('size-max');
  const last = SIZE_STOPS.length - 1;
  low.value = String(view.minSize === null ? 0 : nearest(view.minSize) + 1);
  high.value = String(view.maxSize === null ? last + 1 : nearest(view.maxSize));
  sizeText();
}

function nearest(value: number): number {
  let best = 0;
  SIZE_STOPS.forEach((stop, i) => {
    if (Math.abs(Math.log(stop / value)) < Math.abs(Math.log((SIZE_STOPS[best] ?? 1) / value))) best = i;
  });
  return best;
}

function sizeText(): void {
  const low = view.minSize === null ? 'any' : size(view.minSize);
  const high = view.maxSize === null ? 'any' : size(view.maxSize);
  byId('size-text').textContent = view.minSize === null && view.maxSize === null ? 'any size' : `${low} to ${high}`;
  byId<HTMLInputElement>('size-min').setAttribute('aria-valuetext', `at least ${low}`);
  byId<HTMLInputElement>('size-max').setAttribute('aria-valuetext', `at most ${high}`);
}

function checkedValues(group: string): string[] {
  return [...document.querySelectorAll<HTMLInputElement>(`input[name="${group}"]:checked`)].map((input) => input.value);
}

function listen(): void {
  const search = byId<HTMLInputElement>('search');
  const typing = session();
  search.addEventListener('input', () => typing.change({ query: search.value.trim() === '' ? '' : search.value }));
  search.addEventListener('blur', typing.end);
  search.addEventListener('change', typing.end);

  const sizing = session();
  for (const id of ['size-min', 'size-max']) {
    const input = byId<HTMLInputElement>(id);
    input.addEventListener('input', () => {
      const low = Number(byId<HTMLInputElement>('size-min').value);
      const high = Number(byId<HTMLInputElement>('size-max').value);
      sizing.change({ minSize: low === 0 ? null : (SIZE_STOPS[low - 1] ?? null), maxSize: high >= SIZE_STOPS.length ? null : (SIZE_STOPS[high] ?? null) });
      sizeText();
    });
    input.addEventListener('change', sizing.end);
  }

  const sliding = session();
  for (const pillar of PILLARS) {
    const input = byId<HTMLInputElement>(`w-${pillar}`);
    input.addEventListener('input', () => sliding.change({ weights: { ...view.weights, [pillar]: Number(input.value) } }));
    input.addEventListener('change', sliding.end);
  }

  document.addEventListener('change', (event) => {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.type !== 'checkbox') return;
    const slug = input.dataset['pick'];
    if (slug !== undefined) pick(slug, input);
    else if (input.name === 'family') change_({ families: checkedValues('family') });
    else if (input.name === 'license') change_({ licences: checkedValues('license') });
    else if (input.name === 'arch') change_({ architectures: checkedValues('arch') });
    else if (input.name === 'quant') change_({ quantizations: checkedValues('quant') });
    else if (input.name === 'status') change_({ statuses: STATUSES.filter((status) => checkedValues('status').includes(status)) });
    else if (input.name === 'has') change_({ pillars: PILLARS.filter((pillar) => checkedValues('has').includes(pillar)) });
    else if (input.name === 'cols') chooseColumns();
  });

  document.addEventListener('click', (event) => {
    const target = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-sort],[data-action]') : null;
    if (target === null) return;
    const key = target.dataset['sort'];
    if (key !== undefined) {
      const descending = view.sort === key ? !view.descending : startsDescending(key);
      change_({ sort: key, descending });
      announce(`Sorted by ${target.textContent ?? key}, ${descending ? 'descending' : 'ascending'}.`);
      return;
    }
    act(target.dataset['action'] ?? '');
  });

  // Only one panel is open at a time, and Escape closes it.
  const panels = [...document.querySelectorAll<HTMLDetailsElement>('details.panel')];
  for (const panel of panels) {
    panel.addEventListener('toggle', () => {
      if (panel.open) for (const other of panels) if (other !== panel) other.open = false;
    });
  }
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    const open = panels.find((panel) => panel.open && panel.contains(document.activeElement));
    if (open !== undefined) {
      open.open = false;
      open.querySelector<HTMLElement>('summary')?.focus();
    }
  });
  addEventListener('popstate', () => {
    clearTimeout(pending);
    view = fromAddress(location.search);
    drawControls();
    render();
  });
  addEventListener('resize', fitTable, { passive: true });
  // The layout of the page's first picture may still change when the font arrives.
  void document.fonts.ready.then(fitTable);
}

function pick(slug: string, input: HTMLInputElement): void {
  if (!input.checked) {
    change_({ selected: view.selected.filter((other) => other !== slug) });
  } else if (view.selected.length >= MAX_COMPARED) {
    input.checked = false;
    announce(`Up to ${MAX_COMPARED} models can be compared; remove one first.`);
    byId('selection-full').hidden = false;
    setTimeout(() => (byId('selection-full').hidden = true), 4000);
  } else {
    change_({ selected: [...view.selected, slug] });
  }
}

function chooseColumns(): void {
  const keys = checkedValues('cols');
  const plain = visibleColumns(null).map((column) => column.key);
  change_({ columns: keys.length === plain.length && keys.every((key) => plain.includes(key)) ? null : keys });
}

function act(action: string): void {
  if (action === 'clear') {
    const plain = defaultView();
    const { query, minSize, maxSize, families, licences, architectures, quantizations, pillars, statuses } = plain;
    change_({ query, minSize, maxSize, families, licences, architectures, quantizations, pillars, statuses });
    drawControls();
    byId('search').focus();
  } else if (action === 'unselect') change_({ selected: [] });
  else if (action === 'columns-default') {
    change_({ columns: null });
    drawControls();
  } else if (action === 'published') change_({ weights: WEIGHTS });
  else if (action === 'equal') change_({ weights: Object.fromEntries(PILLARS.map((pillar) => [pillar, 20])) as Record<Pillar, number> });
  else if (action === 'table' || action === 'plots') change_({ view: action });
  else if (action === 'csv') download('slm-benchmark.csv', 'text/csv;charset=utf-8', csv());
  else if (action === 'json') download('slm-benchmark.json', 'application/json', JSON.stringify(records(), null, 2) + '\n');
}

/** The rows in view with the columns in view, intervals and reasons beside them. */
function records(): Record<string, SortValue>[] {
  const columns = visibleColumns(view.columns);
  return current.map((row) => {
    const s = standing(row);
    const record: Record<string, SortValue> = {
      rank: s.rank,
      rank_low: s.rankInterval?.[0] ?? null,
      rank_high: s.rankInterval?.[1] ?? null,
    };
    if (own !== null) record['published_rank'] = row.rank;
    Object.assign(record, { id: row.slug, name: row.name, hf_repo: row.repo, revision: row.revision, status: row.status, badges: row.badges.join(' ') });
    for (const column of columns) {
      if (column.key !== 'hub') record[column.key] = column.value(row, s);
      for (const [name, value] of column.extra?.(row, s) ?? []) record[name] = value;
    }
    return record;
  });
}

function csv(): string {
  const rows = records();
  const names = Object.keys(rows[0] ?? { rank: null, name: null });
  return [names, ...rows.map((record) => names.map((name) => record[name] ?? null))].map((fields) => fields.map(csvField).join(',') + '\r\n').join('');
}

async function main(): Promise<void> {
  startPage();
  listen();
  try {
    const loaded = await loadRows();
    all = loaded.rows;
    learnBadges(loaded.summary.badges);
    view = fromAddress(location.search);
    const updated = loaded.summary.lastUpdated;
    byId('updated').textContent = updated === null ? '' : `Updated ${updated.slice(0, 10)}. `;
    drawControls();
    render();
    document.documentElement.dataset['ready'] = 'yes';
    performance.mark('interactive');
    setTimeout(() => prepareSearch(all), 50);
  } catch (error) {
    showProblem(byId('problem'), error);
    document.documentElement.dataset['ready'] = 'failed';
  }
}

void main();
