// What the reader has chosen on the index, and its form in the address. Defaults are left out, so that a plain address is the
// published ranking, and every view has a permalink.

import { PILLARS, WEIGHTS, STATUSES } from '../data/model.ts';
import type { Pillar, Status, Weights } from '../data/model.ts';

export interface View {
  view: 'table' | 'plots';
  query: string;
  /** Column key. */
  sort: string;
  descending: boolean;
  minSize: number | null;
  maxSize: number | null;
  families: string[];
  licences: string[];
  architectures: string[];
  quantizations: string[];
  /** Pillars that must have a score. */
  pillars: Pillar[];
  /** Empty: every status but withdrawn. */
  statuses: Status[];
  /** Column keys; null: the default ones. */
  columns: string[] | null;
  weights: Weights;
  selected: string[];
  x: string;
  y: string;
  hardware: string;
}

export const MAX_COMPARED = 4;

export function defaultView(): View {
  return {
    view: 'table',
    query: '',
    sort: 'rank',
    descending: false,
    minSize: null,
    maxSize: null,
    families: [],
    licences: [],
    architectures: [],
    quantizations: [],
    pillars: [],
    statuses: [],
    columns: null,
    weights: WEIGHTS,
    selected: [],
    x: 'size',
    y: 'aggregate',
    hardware: '',
  };
}

const LISTS = [
  ['family', 'families'],
  ['license', 'licences'],
  ['arch', 'architectures'],
  ['quant', 'quantizations'],
] as const;

export function toAddress(view: View): string {
  const plain = defaultView();
  const p = new URLSearchParams();
  if (view.view !== plain.view) p.set('view', view.view);
  if (view.query !== '') p.set('q', view.query);
  if (view.sort !== plain.sort || view.descending !== plain.descending) p.set('sort', (view.descending ? '-' : '') + view.sort);
  if (view.minSize !== null || view.maxSize !== null) p.set('size', `${view.minSize ?? ''}..${view.maxSize ?? ''}`);
  for (const [key, field] of LISTS) for (const value of view[field]) p.append(key, value);
  if (view.pillars.length > 0) p.set('has', view.pillars.join(','));
  if (view.statuses.length > 0) p.set('status', view.statuses.join(','));
  if (view.columns !== null) p.set('cols', view.columns.join(','));
  if (PILLARS.some((pillar) => view.weights[pillar] !== WEIGHTS[pillar])) {
    p.set('w', PILLARS.map((pillar) => view.weights[pillar]).join(','));
  }
  for (const slug of view.selected) p.append('sel', slug);
  if (view.x !== plain.x) p.set('x', view.x);
  if (view.y !== plain.y) p.set('y', view.y);
  if (view.hardware !== '') p.set('hw', view.hardware);
  const text = p.toString().replaceAll('%2C', ',').replaceAll('%2F', '/');
  return text === '' ? '' : `?${text}`;
}

/** Reads an address; what it does not understand is ignored, so an old or broken link still shows the ranking. */
export function fromAddress(search: string): View {
  const p = new URLSearchParams(search);
  const view = defaultView();
  if (p.get('view') === 'plots') view.view = 'plots';
  view.query = p.get('q') ?? '';
  const sort = p.get('sort');
  if (sort !== null && /^-?[a-z0-9_]+$/.test(sort)) {
    view.descending = sort.startsWith('-');
    view.sort = sort.replace(/^-/, '');
  }
  const size = /^(\d{0,12})\.\.(\d{0,12})$/.exec(p.get('size') ?? '');
  if (size !== null) {
    view.minSize = size[1] ? Number(size[1]) : null;
    view.maxSize = size[2] ? Number(size[2]) : null;
  }
  for (const [key, field] of LISTS) view[field] = unique(p.getAll(key));
  view.pillars = PILLARS.filter((pillar) => list(p.get('has')).includes(pillar));
  view.statuses = STATUSES.filter((status) => list(p.get('status')).includes(status));
  if (p.has('cols')) view.columns = unique(list(p.get('cols')));
  const weights = list(p.get('w')).map(Number);
  if (weights.length === PILLARS.length && weights.every((w) => Number.isFinite(w) && w >= 0 && w <= 100)) {
    view.weights = Object.fromEntries(PILLARS.map((pillar, i) => [pillar, weights[i]])) as Record<Pillar, number>;
  }
  view.selected = unique(p.getAll('sel')).slice(0, MAX_COMPARED);
  view.x = p.get('x') ?? view.x;
  view.y = p.get('y') ?? view.y;
  view.hardware = p.get('hw') ?? '';
  return view;
}

function list(text: string | null): string[] {
  return text === null ? [] : text.split(',').filter((part) => part !== '');
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values.filter((value) => value !== ''))];
}
