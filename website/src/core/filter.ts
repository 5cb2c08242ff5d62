// Search and filters. Each narrows what the others leave, whatever the sort.

import type { Row } from '../data/model.ts';
import type { View } from './state.ts';

const haystacks = new WeakMap<Row, string>();

function haystack(row: Row): string {
  let text = haystacks.get(row);
  if (text === undefined) {
    text = [row.name, row.family, row.repo, row.architecture, row.licence].join('\n').toLowerCase();
    haystacks.set(row, text);
  }
  return text;
}

/** Prepares the search, so that the first keystroke need not. */
export function prepareSearch(rows: readonly Row[]): void {
  for (const row of rows) haystack(row);
}

/** Rows that the search and all filters let through, in their given order. Words of the search are all required. */
export function filterRows(rows: readonly Row[], view: View): Row[] {
  const words = view.query.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const families = new Set(view.families);
  const licences = new Set(view.licences);
  const architectures = new Set(view.architectures);
  const quantizations = new Set(view.quantizations);
  const statuses = new Set<string>(view.statuses);
  return rows.filter((row) => {
    if (statuses.size > 0 ? !statuses.has(row.status) : row.status === 'withdrawn') return false;
    if (view.minSize !== null && (row.size === null || row.size < view.minSize)) return false;
    if (view.maxSize !== null && (row.size === null || row.size > view.maxSize)) return false;
    if (families.size > 0 && !families.has(row.family)) return false;
    if (licences.size > 0 && !licences.has(row.licence)) return false;
    if (architectures.size > 0 && !architectures.has(row.architecture)) return false;
    if (quantizations.size > 0 && !row.quantizations.some((name) => quantizations.has(name))) return false;
    if (view.pillars.some((pillar) => row.pillars[pillar].value === null)) return false;
    if (words.length === 0) return true;
    const text = haystack(row);
    return words.every((word) => text.includes(word));
  });
}

/** Number of filters in force, the search included. */
export function activeFilters(view: View): number {
  return (
    Number(view.query !== '') +
    Number(view.minSize !== null || view.maxSize !== null) +
    [view.families, view.licences, view.architectures, view.quantizations, view.pillars, view.statuses].filter((l) => l.length > 0).length
  );
}

/** How many rows each value of a property has, most frequent first. */
export function facet(rows: readonly Row[], values: (row: Row) => readonly string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) for (const value of new Set(values(row))) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
