// The pillar profile: one line per pillar on a common axis from 0 to 100, a dot with its interval for each model.

import { html, nothing } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { score } from '../core/format.ts';
import type { Interval, Measured } from '../data/model.ts';
import { px } from './scale.ts';

export interface Series {
  readonly name: string;
  readonly values: readonly Measured[];
}

export interface ProfileRow {
  readonly label: string;
  readonly strong?: boolean;
  /** Level of blind guessing. */
  readonly chance?: number | null;
}

const SHAPES = ['circle', 'square', 'triangle', 'diamond'] as const;

/** The mark of the series `i`, told apart by shape and colour. */
export function mark(i: number, x: number, y: number, r: number): Html {
  const shape = SHAPES[i % SHAPES.length];
  if (shape === 'square') return html`<rect class="s-dot" x="${px(x - r)}" y="${px(y - r)}" width="${2 * r}" height="${2 * r}"/>`;
  if (shape === 'triangle') return html`<path class="s-dot" d="M${px(x)} ${px(y - r * 1.15)}L${px(x + r * 1.15)} ${px(y + r)}H${px(x - r * 1.15)}Z"/>`;
  if (shape === 'diamond') return html`<path class="s-dot" d="M${px(x)} ${px(y - r * 1.3)}L${px(x + r * 1.3)} ${px(y)}L${px(x)} ${px(y + r * 1.3)}L${px(x - r * 1.3)} ${px(y)}Z"/>`;
  return html`<circle class="s-dot" cx="${px(x)}" cy="${px(y)}" r="${r}"/>`;
}

export function swatch(i: number): Html {
  return html`<svg class="swatch s${i + 1}" viewBox="0 0 14 14" aria-hidden="true">${mark(i, 7, 7, 4.5)}</svg>`;
}

/** A chart `width` wide; its `label` says in words what it shows, since the table beside it holds the numbers. */
export function profile(rows: readonly ProfileRow[], series: readonly Series[], label: string, width = 640): Html {
  const left = Math.min(110, width * 0.28);
  const right = 46;
  const step = 15;
  const gap = 15;
  const each = series.length * step + gap;
  const top = 20;
  const height = top + rows.length * each + 6;
  const at = (value: number): number => left + (value / 100) * (width - left - right);
  const bottom = height - 6;
  const whisker = (interval: Interval | null, y: number): Html => (interval === null ? nothing : html`<path class="s-line" d="M${px(at(interval[0]))} ${px(y)}H${px(at(interval[1]))}M${px(at(interval[0]))} ${px(y - 4)}v8M${px(at(interval[1]))} ${px(y - 4)}v8"/>`);
  return html`<svg class="chart" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${label}">
${[0, 25, 50, 75, 100].map((t) => html`<path class="grid" d="M${px(at(t))} ${top}V${bottom}"/><text x="${px(at(t))}" y="13" text-anchor="middle">${t}</text>`)}
${rows.map((row, i) => {
    const y0 = top + i * each;
    const chance = row.chance === null || row.chance === undefined ? nothing : html`<path d="M${px(at(row.chance))} ${y0 + 4}V${y0 + each - 3}" class="whisker" stroke-dasharray="2 2"/>`;
    return html`<text class="name" x="0" y="${px(y0 + each / 2 + 4)}"${row.strong === true ? html` font-weight="650"` : nothing}>${row.label}</text>${chance}${series.map((s, j) => {
      const m = s.values[i];
      const y = y0 + gap / 2 + step * (j + 0.5);
      if (m === undefined || m.value === null) return html`<g class="s${j + 1}"><text x="${px(at(0)) + 4}" y="${px(y + 4)}">no score</text></g>`;
      return html`<g class="s${j + 1}">${whisker(m.interval, y)}${mark(j, at(m.value), y, 4.5)}<text x="${px(at(m.interval?.[1] ?? m.value)) + 9}" y="${px(y + 4)}">${score(m.value)}</text></g>`;
    })}`;
  })}
</svg>`;
}
