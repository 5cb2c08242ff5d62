// The ranking as table markup: the same functions write it in the browser and, at build time, into the page.

import { html, nothing, setHtml } from './html.ts';
import type { Html } from './html.ts';
import { barClasses } from '../charts/bar.ts';
import { shortBadgeTags } from './columns.ts';
import type { Column } from './columns.ts';
import { MISSING } from './format.ts';
import { STATUS_LABEL, STATUS_MEANING } from './words.ts';
import { tied } from './ranking.ts';
import type { Standing } from './ranking.ts';
import type { Row } from '../data/model.ts';

export interface TableContext {
  readonly columns: readonly Column[];
  readonly standing: (row: Row) => Standing;
  readonly sort: string;
  readonly descending: boolean;
  readonly selected: ReadonlySet<string>;
  /** The reader's own weights are in force: the published rank is shown beside the new one. */
  readonly ownWeights: boolean;
}

export function headHtml(context: TableContext): Html {
  const head = (key: string, label: string, meaning: string, kind: string, unit?: string): Html => {
    const active = context.sort === key;
    const order = active ? (context.descending ? 'descending' : 'ascending') : 'none';
    return html`<th scope="col" class="c-${key} k-${kind}${active ? ' on' : ''}" aria-sort="${order}"><button type="button" data-sort="${key}" data-tip="${meaning}">${label}<span class="arrow" aria-hidden="true">${active ? (context.descending ? '↓' : '↑') : ''}</span></button>${unit ? html`<span class="unit">${unit}</span>` : nothing}</th>`;
  };
  return html`<tr>
<th scope="col" class="c-select"><span class="sr">Compare</span></th>
${head('rank', 'Rank', 'Place in the ranking, with the places it could have by chance (95 %). It stays with the model whatever the sort.', 'fixed')}
${head('name', 'Model', 'Name, licence and architecture; badges are hints, explained in the methodology.', 'fixed')}
${context.columns.map((column) => head(column.key, column.label, column.meaning, column.kind, column.unit))}</tr>`;
}

function rankCell(row: Row, context: TableContext, up: boolean, down: boolean): Html {
  const standing = context.standing(row);
  const ties = `${up ? ' tie-up' : ''}${down ? ' tie-down' : ''}`;
  if (standing.rank === null) {
    const why = row.status === 'ranked' ? (standing.aggregate.reason ?? 'no score under these weights') : (row.note ?? STATUS_MEANING[row.status]);
    return html`<td class="c-rank"><button type="button" class="missing" data-tip="${why}" aria-label="no rank: ${why}">${MISSING}</button></td>`;
  }
  const [low, high] = standing.rankInterval ?? [standing.rank, standing.rank];
  const range = low === high ? nothing : html`<span class="ri" title="95 % rank interval">${low}–${high}</span>`;
  const before = context.ownWeights && row.rank !== null ? html`<span class="was" title="published rank">(${row.rank})</span>` : nothing;
  return html`<td class="c-rank${ties}"><span class="r">${standing.rank}</span>${before}${range}</td>`;
}

/** One model. `index` counts from 1 among the rows in view (0: the caller writes it); `up` and `down`: a statistical tie with the neighbour. */
export function rowHtml(row: Row, index: number, context: TableContext, up: boolean, down: boolean): Html {
  const picked = context.selected.has(row.slug);
  const status = row.status === 'ranked' ? nothing : html`<button type="button" class="badge status" data-tip="${row.note ?? STATUS_MEANING[row.status]}">${STATUS_LABEL[row.status]}</button>`;
  return html`<tr data-slug="${row.slug}"${index > 0 ? html` aria-rowindex="${index + 1}"` : nothing} class="${picked ? 'picked' : ''}${row.status === 'ranked' ? '' : ' unranked'}">
<td class="c-select"><label class="pick"><input type="checkbox" data-pick="${row.slug}"${picked ? html` checked` : nothing} aria-label="Compare ${row.name}"></label></td>
${rankCell(row, context, up, down)}
<th scope="row" class="c-name"><span class="line"><a class="name" href="${modelAddress(row.slug)}">${row.name}</a>${status}${shortBadgeTags(row.badges)}</span><span class="sub">${row.status === 'ranked' ? nothing : html`<b class="phone">${STATUS_LABEL[row.status]} · </b>`}${[row.licence, row.architecture].filter((part) => part !== '').join(' · ')}</span></th>
${context.columns.map((column) => cellHtml(row, column, context.standing(row)))}</tr>`;
}

function cellHtml(row: Row, column: Column, standing: Standing): Html {
  const bar = column.bar?.(row, standing);
  return html`<td class="c-${column.key} k-${column.kind}${bar === undefined ? '' : barClasses(bar.value, bar.interval)}">${column.cell(row, standing)}</td>`;
}

export function modelAddress(slug: string): string {
  return `model.html?id=${encodeURIComponent(slug)}`;
}

/** Whether row `i` and the next one are a statistical tie, in an order by rank. */
function joins(rows: readonly Row[], i: number, context: TableContext): boolean {
  if (context.sort !== 'rank' && context.sort !== 'aggregate') return false;
  const a = rows[i];
  const b = rows[i + 1];
  return a !== undefined && b !== undefined && tied(context.standing(a), context.standing(b));
}

/** Rows `from` to `to` of the view. */
export function rowsHtml(rows: readonly Row[], from: number, to: number, context: TableContext): Html {
  return html`${rows.slice(from, to).map((row, k) => rowHtml(row, from + k + 1, context, joins(rows, from + k - 1, context), joins(rows, from + k, context)))}`;
}

/** Up to here every row is in the page; above, only those near the window. */
const ALL_ROWS = 150;
const MARGIN = 12;
/** Rows beyond the window that are drawn at once; the margin follows when the browser is idle. */
const NEAR = 1;

interface Drawn {
  readonly text: string;
  readonly row: HTMLTableRowElement;
}

/** Keeps the table body in step with the rows, drawing only what is near the window when there are many. */
export class RankTable {
  readonly #table: HTMLTableElement;
  readonly #head: HTMLTableSectionElement;
  readonly #body: HTMLTableSectionElement;
  #rows: readonly Row[] = [];
  #context: TableContext | null = null;
  #from = -1;
  #to = -1;
  #rowHeight = 48;
  #scheduled = false;
  #whole = false;
  #timer = 0;
  /** Rows in the page, in their order, with the markup that made them. */
  #drawn = new Map<string, Drawn>();

  constructor(table: HTMLTableElement) {
    this.#table = table;
    this.#head = table.tHead ?? table.createTHead();
    this.#body = table.tBodies[0] ?? table.createTBody();
    addEventListener('scroll', () => this.#schedule(), { passive: true });
    addEventListener('resize', () => this.#schedule(), { passive: true });
    // On paper every row is wanted.
    addEventListener('beforeprint', () => this.#all(true));
    addEventListener('afterprint', () => this.#all(false));
  }

  update(rows: readonly Row[], context: TableContext, headToo: boolean): void {
    this.#rows = rows;
    this.#context = context;
    this.#from = -1;
    if (headToo) this.#redrawHead(context);
    this.#table.setAttribute('aria-rowcount', String(rows.length + 1));
    this.#draw(NEAR);
  }

  /** Redraws the rows in view, after a selection changed. */
  refresh(context: TableContext): void {
    this.#context = context;
    this.#from = -1;
    this.#draw();
  }

  #redrawHead(context: TableContext): void {
    const focused = document.activeElement?.getAttribute('data-sort') ?? null;
    setHtml(this.#head, headHtml(context));
    if (focused !== null) this.#head.querySelector<HTMLElement>(`[data-sort="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #all(on: boolean): void {
    this.#whole = on;
    this.#from = -1;
    this.#draw();
  }

  #schedule(): void {
    if (this.#scheduled || this.#rows.length <= ALL_ROWS) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #window(margin: number): [number, number] {
    const total = this.#rows.length;
    if (this.#whole || total <= ALL_ROWS) return [0, total];
    const top = this.#body.getBoundingClientRect().top;
    const first = Math.min(Math.floor(Math.max(0, -top) / this.#rowHeight), total - 1);
    const seen = Math.max(1, Math.ceil((innerHeight - Math.max(top, 0)) / this.#rowHeight) + 1);
    const from = Math.max(0, Math.min(first, total - seen) - margin);
    return [from, Math.min(total, first + seen + margin)];
  }

  #draw(margin = MARGIN): void {
    const context = this.#context;
    if (context === null) return;
    const [from, to] = this.#window(margin);
    if (from === this.#from && to === this.#to) return;
    // Small scrolls stay within the margin that is drawn already.
    if (this.#from >= 0 && !this.#whole && margin === MARGIN) {
      const slack = MARGIN / 2;
      if (Math.abs(from - this.#from) < slack && Math.abs(to - this.#to) < slack && to < this.#rows.length && from > 0) return;
    }
    this.#from = from;
    this.#to = to;
    this.#replace(from, to, context);
    this.#stretch(from, to);
    if (margin < MARGIN && to - from < this.#rows.length) this.#later();
    else this.#measure();
  }

  /**
   * Brings the rows of the body to `from`..`to`. Rows that stay as they are keep their elements, which spares the browser most of
   * the work while a search narrows.
   */
  #replace(from: number, to: number, context: TableContext): void {
    const wanted = this.#rows.slice(from, to).map((row, k) => {
      const i = from + k;
      return { slug: row.slug, markup: rowHtml(row, 0, context, joins(this.#rows, i - 1, context), joins(this.#rows, i, context)) };
    });
    const stays = new Set(wanted.filter(({ slug, markup }) => this.#drawn.get(slug)?.text === markup.text).map(({ slug }) => slug));
    const before = [...this.#drawn.keys()].filter((slug) => stays.has(slug));
    const after = wanted.filter(({ slug }) => stays.has(slug)).map(({ slug }) => slug);
    const sameOrder = before.length === after.length && before.every((slug, i) => slug === after[i]);
    const focused = this.#focused();
    if (!sameOrder || stays.size === 0) {
      stays.clear();
      setHtml(this.#body, html`${spacer('top')}${wanted.map(({ markup }) => markup)}${spacer('bottom')}`);
      const rows = this.#body.rows;
      this.#drawn = new Map(wanted.map(({ slug, markup }, k) => [slug, { text: markup.text, row: rows[k + 1] as HTMLTableRowElement }]));
    } else {
      const fresh = document.createElement('tbody');
      setHtml(fresh, html`${wanted.flatMap(({ slug, markup }) => (stays.has(slug) ? [] : [markup]))}`);
      const made = [...fresh.rows];
      for (const [slug, { row }] of this.#drawn) if (!stays.has(slug)) row.remove();
      const drawn = new Map<string, Drawn>();
      let next = this.#body.rows[1] ?? null;
      for (const { slug, markup } of wanted) {
        const kept = stays.has(slug) ? this.#drawn.get(slug) : undefined;
        const row = kept?.row ?? made.shift();
        if (row === undefined) continue;
        if (kept === undefined) this.#body.insertBefore(row, next);
        else next = row.nextElementSibling as HTMLTableRowElement | null;
        drawn.set(slug, { text: markup.text, row });
      }
      this.#drawn = drawn;
    }
    let index = from + 2;
    for (const { row } of this.#drawn.values()) row.setAttribute('aria-rowindex', String(index++));
    if (focused !== null && !this.#body.contains(document.activeElement)) this.#body.querySelector<HTMLElement>(focused)?.focus({ preventScroll: true });
  }

  /** Draws the margin once nothing more urgent is to be done. */
  #later(): void {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#draw(), 250);
  }

  /** Rows are as high as the style sheet says, unless the reader's font makes them higher. */
  #measure(): void {
    const height = this.#body.querySelector<HTMLElement>('tr[data-slug]')?.getBoundingClientRect().height ?? 0;
    if (height === 0 || Math.abs(height - this.#rowHeight) < 0.01) return;
    this.#rowHeight = height;
    this.#stretch(this.#from, this.#to);
  }

  /** Gives the rows that are not drawn their height. */
  #stretch(from: number, to: number): void {
    const above = this.#body.querySelector<HTMLElement>('tr.spacer.top');
    const below = this.#body.querySelector<HTMLElement>('tr.spacer.bottom');
    for (const [row, rows] of [[above, from], [below, this.#rows.length - to]] as const) {
      if (row === null) continue;
      if (row.hidden !== (rows === 0)) row.hidden = rows === 0;
      row.style.height = `${rows * this.#rowHeight}px`;
    }
  }

  /** Selector of what has the focus inside the body, so that redrawing does not lose it. */
  #focused(): string | null {
    const active = document.activeElement;
    if (active === null || !this.#body.contains(active)) return null;
    const slug = active.closest('tr')?.getAttribute('data-slug');
    if (slug === null || slug === undefined) return null;
    const row = `tr[data-slug="${CSS.escape(slug)}"]`;
    if (active.matches('input')) return `${row} input`;
    if (active.matches('a.name')) return `${row} a.name`;
    const cell = active.closest('td, th')?.classList[0];
    return cell === undefined ? null : `${row} .${CSS.escape(cell)} ${active.tagName.toLowerCase()}`;
  }
}

function spacer(place: string): Html {
  return html`<tr class="spacer ${place}" aria-hidden="true" hidden><td colspan="99"></td></tr>`;
}
