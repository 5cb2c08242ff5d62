// The interval bar: where a score lies on 0 to 100 and how sure it is. Geometry is in attributes, since the policy allows no inline style.

import { html, nothing } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import type { Interval } from '../data/model.ts';

const round = (x: number): number => Math.round(x * 100) / 100;

/** A bar on an axis from 0 to `max`. `chance` draws the level of blind guessing. Decorative: the numbers stand beside it as text. */
export function intervalBar(value: number | null, interval: Interval | null, options: { max?: number; chance?: number | null } = {}): Html {
  const max = options.max ?? 100;
  const at = (x: number): number => round((Math.min(Math.max(x, 0), max) / max) * 100);
  if (value === null) return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="axis" y="3.5" width="100" height="1"/></svg>`;
  const x = at(value);
  const band = interval === null ? nothing : html`<rect class="ci" x="${at(interval[0])}" y="1" width="${Math.max(round(at(interval[1]) - at(interval[0])), 0.4)}" height="6"/>`;
  const chance = options.chance === null || options.chance === undefined ? nothing : html`<rect class="chance" x="${at(options.chance) - 0.4}" y="0" width="0.8" height="8"/>`;
  return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="axis" y="3.5" width="100" height="1"/><rect class="len" y="3" width="${x}" height="2"/>${band}${chance}<rect class="pt" x="${Math.max(0, x - 0.7)}" y="0" width="1.4" height="8"/></svg>`;
}

/**
 * Classes that draw a bar at the foot of a table cell, placed in steps of half a point (`build/site.ts` writes their rules). The
 * cell needs no further element: thousands of rows are drawn while somebody types.
 */
export function barClasses(value: number | null, interval: Interval | null): string {
  if (value === null) return '';
  const step = (x: number): number => Math.round(Math.min(Math.max(x, 0), 100) * 2);
  return interval === null ? ` b x${step(value)}` : ` b x${step(value)} l${step(interval[0])} u${step(interval[1])}`;
}
