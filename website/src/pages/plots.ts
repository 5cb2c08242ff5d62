// Score against size, energy, memory or speed, with intervals and the Pareto front. The table holds the same numbers.

import { linear, logarithmic, px } from '../charts/scale.ts';
import { html, nothing, setHtml } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { bytes, count, quantity, score, size } from '../core/format.ts';
import { modelAddress } from '../core/table.ts';
import type { Standing } from '../core/ranking.ts';
import type { View } from '../core/state.ts';
import { FIGURE_WORDS, METHOD_LABEL, PILLAR_LABEL } from '../core/words.ts';
import { PILLARS } from '../data/model.ts';
import type { FigureName, Interval, Pillar, Row } from '../data/model.ts';

const X_FIGURES: readonly FigureName[] = ['energy_per_1k_tokens', 'peak_memory', 'decode_speed', 'co2_per_1k_tokens', 'time_to_first_token'];

interface Point {
  readonly row: Row;
  readonly x: number;
  readonly y: number;
  readonly interval: Interval | null;
  readonly range: Interval | null;
  readonly competes: boolean;
  best: boolean;
}

interface Axis {
  readonly label: string;
  readonly lowerIsBetter: boolean;
  text(value: number): string;
}

function xAxis(key: string): Axis {
  if (key === 'size') return { label: 'Parameters', lowerIsBetter: true, text: size };
  const words = FIGURE_WORDS[key as FigureName];
  const inBytes = words.unit === 'bytes';
  return { label: inBytes ? words.label : `${words.label}, ${words.unit}`, lowerIsBetter: words.lowerIsBetter, text: inBytes ? bytes : quantity };
}

/** The points that no other beats on both axes. */
export function paretoFront(points: readonly { x: number; y: number }[], lowerIsBetter: boolean): Set<number> {
  const order = points.map((_, i) => i).sort((a, b) => {
    const p = points[a] as { x: number; y: number };
    const q = points[b] as { x: number; y: number };
    return (lowerIsBetter ? p.x - q.x : q.x - p.x) || q.y - p.y;
  });
  const front = new Set<number>();
  let best = -Infinity;
  for (const i of order) {
    const y = points[i]?.y ?? -Infinity;
    if (y > best) {
      front.add(i);
      best = y;
    }
  }
  return front;
}

let redraw: (() => void) | null = null;

/** Draws the plot of the rows in view. */
export function draw(box: HTMLElement, rows: readonly Row[], standing: (row: Row) => Standing, view: View, change: (part: Partial<View>) => void): void {
  const x = view.x === 'size' || X_FIGURES.includes(view.x as FigureName) ? view.x : 'size';
  const y = view.y === 'aggregate' || PILLARS.includes(view.y as Pillar) ? view.y : 'aggregate';
  const classes = hardwareClasses(rows, x);
  const hardware = x === 'size' ? '' : classes.some(([name]) => name === view.hardware) ? view.hardware : (classes[0]?.[0] ?? '');
  const { points, without } = collect(rows, standing, x, y, hardware);
  const focusedId = document.activeElement instanceof HTMLElement && box.contains(document.activeElement) ? document.activeElement.id : '';
  setHtml(box, html`<div class="plot-controls">
<label>Score <select id="plot-y">${[['aggregate', 'Aggregate'] as const, ...PILLARS.map((p) => [p, PILLAR_LABEL[p]] as const)].map(([key, label]) => option(key, label, y))}</select></label>
<label>against <select id="plot-x">${option('size', 'Parameters (log)', x)}${X_FIGURES.map((key) => option(key, FIGURE_WORDS[key].label, x))}</select></label>
${x === 'size' ? nothing : html`<label>on <select id="plot-hw">${classes.map(([name, n]) => option(name, `${name} (${n})`, hardware))}${classes.length === 0 ? html`<option>no hardware class</option>` : nothing}</select></label>`}
</div>
<div class="plot" id="plot"></div>
<p class="plot-note">${note(points, without, x)}</p>`);
  for (const [id, key] of [['plot-y', 'y'], ['plot-x', 'x'], ['plot-hw', 'hardware']] as const) {
    document.getElementById(id)?.addEventListener('change', (event) => change({ [key]: (event.target as HTMLSelectElement).value }));
  }
  if (focusedId !== '') document.getElementById(focusedId)?.focus();
  const plot = box.querySelector<HTMLElement>('#plot');
  if (plot === null) return;
  const paint = (): void => drawPoints(plot, points, x, y);
  paint();
  if (redraw === null) addEventListener('resize', () => redraw?.(), { passive: true });
  redraw = () => {
    if (box.isConnected && !box.hidden) paint();
  };
}

function option(key: string, label: string, current: string): Html {
  return html`<option value="${key}"${key === current ? html` selected` : nothing}>${label}</option>`;
}

function hardwareClasses(rows: readonly Row[], x: string): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const figure = row.figures[x as FigureName];
    if (row.hardwareClass !== null && figure !== undefined && figure.value !== null) counts.set(row.hardwareClass, (counts.get(row.hardwareClass) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function collect(rows: readonly Row[], standing: (row: Row) => Standing, x: string, y: string, hardware: string): { points: Point[]; without: number } {
  const points: Point[] = [];
  let without = 0;
  for (const row of rows) {
    const measured = y === 'aggregate' ? standing(row).aggregate : row.pillars[y as Pillar];
    const figure = row.figures[x as FigureName];
    const at = x === 'size' ? row.size : row.hardwareClass === hardware ? (figure?.value ?? null) : null;
    if (measured.value === null || at === null || !(at > 0)) {
      without++;
      continue;
    }
    points.push({ row, x: at, y: measured.value, interval: measured.interval, range: figure?.interval ?? null, competes: row.status === 'ranked', best: false });
  }
  const competing = points.filter((point) => point.competes);
  const front = paretoFront(competing, xAxis(x).lowerIsBetter);
  competing.forEach((point, i) => (point.best = front.has(i)));
  points.sort((a, b) => a.x - b.x || b.y - a.y);
  return { points, without };
}

function note(points: readonly Point[], without: number, x: string): string {
  const best = points.filter((point) => point.best).length;
  const hollow = points.some((point) => !point.competes) ? ' Hollow points are not ranked (partial or preliminary).' : '';
  const method = x === 'size' ? '' : ' Figures are compared within one hardware class only; energy is measured or estimated as each model’s page says.';
  const left = without > 0 ? ` ${count(without)} ${without === 1 ? 'model lacks' : 'models lack'} one of the two values${x === 'size' ? '' : ' on this hardware class'} and cannot be drawn.` : '';
  return `${count(points.length)} models with 95 % intervals; the line joins the ${best} that no ranked model beats on both axes.${hollow}${method}${left}`;
}

function drawPoints(plot: HTMLElement, points: readonly Point[], x: string, y: string): void {
  if (points.length === 0) {
    setHtml(plot, html`<p class="empty">No model in view has both values.</p>`);
    return;
  }
  const width = Math.max(300, plot.clientWidth);
  const height = Math.round(Math.min(560, Math.max(320, width * 0.5)));
  const narrow = width < 560;
  const margin = { top: 26, right: narrow ? 10 : 20, bottom: 44, left: 38 };
  const axis = xAxis(x);
  const xs = points.map((point) => point.x);
  const lowX = Math.min(...xs) / 1.15;
  const highX = Math.max(...xs) * 1.15;
  const lowY = Math.max(0, Math.floor((Math.min(...points.map((p) => p.interval?.[0] ?? p.y)) - 1) / 5) * 5);
  const highY = Math.min(100, Math.ceil((Math.max(...points.map((p) => p.interval?.[1] ?? p.y)) + 1) / 5) * 5);
  const sx = logarithmic(lowX, highX, margin.left, width - margin.right);
  const sy = linear(lowY, highY, height - margin.bottom, margin.top);
  const every = narrow ? Math.ceil(sx.ticks.length / 5) : 1;
  const gridX = sx.ticks.filter((_, i) => i % every === 0);
  const whiskers = points.map((p) => `${p.interval === null ? '' : `M${px(sx(p.x))} ${px(sy(p.interval[0]))}V${px(sy(p.interval[1]))}`}${p.range === null || !(p.range[0] > 0) ? '' : `M${px(sx(p.range[0]))} ${px(sy(p.y))}H${px(sx(p.range[1]))}`}`).join('');
  const best = points.filter((p) => p.best);
  const front = best.map((p, i) => (i === 0 ? `M${px(sx(p.x))} ${px(sy(p.y))}` : axis.lowerIsBetter ? `H${px(sx(p.x))}V${px(sy(p.y))}` : `V${px(sy(p.y))}H${px(sx(p.x))}`)).join('');
  const radius = points.length > 400 ? 2.6 : narrow ? 3.6 : 4.5;
  setHtml(plot, html`<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="group" aria-label="${y === 'aggregate' ? 'Aggregate' : PILLAR_LABEL[y as Pillar]} against ${axis.label}: ${points.length} models. Arrow keys move between models, Enter opens one.">
<g aria-hidden="true">${gridX.map((t) => html`<path class="grid" d="M${px(sx(t))} ${margin.top}V${height - margin.bottom}"/><text x="${px(sx(t))}" y="${height - margin.bottom + 17}" text-anchor="middle">${axis.text(t)}</text>`)}
${sy.ticks.map((t) => html`<path class="grid" d="M${margin.left} ${px(sy(t))}H${width - margin.right}"/><text x="${margin.left - 6}" y="${px(sy(t)) + 4}" text-anchor="end">${t}</text>`)}
<text class="title" x="0" y="13">${y === 'aggregate' ? 'Aggregate score' : `${PILLAR_LABEL[y as Pillar]} score`}</text>
<text class="title" x="${width - margin.right}" y="${height - 6}" text-anchor="end">${axis.label}${axis.lowerIsBetter ? ' (less is better)' : ' (more is better)'}</text>
<path class="whisker" d="${whiskers}"/><path class="front" d="${front}"/></g>
<g class="points">${points.map((p, i) => html`<a href="${modelAddress(p.row.slug)}" data-i="${i}" tabindex="${i === 0 ? '0' : '-1'}" aria-label="${describe(p, axis)}"><circle class="dot${p.best ? ' best' : ''}${p.competes ? '' : ' pale'}" cx="${px(sx(p.x))}" cy="${px(sy(p.y))}" r="${p.best ? radius + 0.8 : radius}"/></a>`)}</g>
<g aria-hidden="true">${labels(best, sx, sy, width, narrow)}</g>
</svg><div class="plot-tip" hidden></div>`);
  listen(plot, points, axis, (p) => [sx(p.x), sy(p.y)], width);
}

/** Names of the models on the front, left out where they would run into each other. */
function labels(best: readonly Point[], sx: (v: number) => number, sy: (v: number) => number, width: number, narrow: boolean): Html {
  const taken: [number, number, number, number][] = [];
  const out: Html[] = [];
  for (const p of [...best].reverse()) {
    const text = p.row.name.length > 26 ? `${p.row.name.slice(0, 25)}…` : p.row.name;
    const wide = text.length * (narrow ? 6 : 6.4);
    const right = sx(p.x) - wide - 9 < 40;
    const left = right ? sx(p.x) + 9 : sx(p.x) - 9 - wide;
    const top = sy(p.y) - 14;
    const box: [number, number, number, number] = [left, top, left + wide, top + 14];
    if (box[2] > width || taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])) continue;
    taken.push(box);
    out.push(html`<text class="label" x="${px(right ? left : left + wide)}" y="${px(top + 9)}" text-anchor="${right ? 'start' : 'end'}">${text}</text>`);
  }
  return html`${out}`;
}

function describe(p: Point, axis: Axis): string {
  const spread = p.interval === null ? '' : ` (${score(p.interval[0])} to ${score(p.interval[1])})`;
  return `${p.row.name}: ${score(p.y)}${spread}, ${axis.text(p.x)}${p.best ? ', on the Pareto front' : ''}`;
}

function listen(plot: HTMLElement, points: readonly Point[], axis: Axis, place: (p: Point) => [number, number], width: number): void {
  const svg = plot.querySelector('svg');
  const tip = plot.querySelector<HTMLElement>('.plot-tip');
  if (svg === null || tip === null) return;
  const links = [...svg.querySelectorAll<SVGAElement>('a')];
  let near: SVGAElement | null = null;
  const show = (i: number): void => {
    const p = points[i];
    const link = links[i];
    if (p === undefined || link === undefined) return;
    near?.classList.remove('near');
    near = link;
    near.classList.add('near');
    const [cx, cy] = place(p);
    setHtml(tip, html`<strong>${p.row.name}</strong><br>${score(p.y)}${p.interval === null ? nothing : html` <span class="muted">(${score(p.interval[0])}–${score(p.interval[1])})</span>`} · ${axis.text(p.x)}${p.row.rank === null ? nothing : html` · rank ${p.row.rank}`}${methodText(p, axis)}`);
    tip.hidden = false;
    tip.style.left = `${Math.max(0, Math.min(cx + 12, width - tip.offsetWidth))}px`;
    tip.style.top = `${cy + 14}px`;
  };
  const hide = (): void => {
    near?.classList.remove('near');
    near = null;
    tip.hidden = true;
  };
  const nearest = (event: PointerEvent | MouseEvent): number => {
    const at = svg.getBoundingClientRect();
    let found = -1;
    let best = 28 * 28;
    points.forEach((p, i) => {
      const [cx, cy] = place(p);
      const d = (cx - (event.clientX - at.left)) ** 2 + (cy - (event.clientY - at.top)) ** 2;
      if (d < best) {
        best = d;
        found = i;
      }
    });
    return found;
  };
  svg.addEventListener('pointermove', (event) => {
    const i = nearest(event);
    if (i >= 0) show(i);
    else hide();
  });
  svg.addEventListener('pointerleave', hide);
  // A click near a point means that point: small circles are hard to hit.
  svg.addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('a') !== null) return;
    const link = links[nearest(event)];
    if (link !== undefined) location.href = link.href.baseVal;
  });
  svg.addEventListener('focusin', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link !== null) show(Number(link.getAttribute('data-i')));
  });
  svg.addEventListener('focusout', hide);
  svg.addEventListener('keydown', (event) => {
    const from = links.findIndex((link) => link === document.activeElement);
    if (from < 0) return;
    const to = { ArrowRight: from + 1, ArrowUp: from + 1, ArrowLeft: from - 1, ArrowDown: from - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const link = links[Math.max(0, Math.min(links.length - 1, to))];
    links[from]?.setAttribute('tabindex', '-1');
    link?.setAttribute('tabindex', '0');
    link?.focus();
  });
}

function methodText(p: Point, axis: Axis): Html {
  const name = X_FIGURES.find((key) => axis.label.startsWith(FIGURE_WORDS[key].label));
  const method = name === undefined ? undefined : p.row.figures[name]?.method;
  return method === undefined ? nothing : html`<br><span class="muted">${METHOD_LABEL[method] ?? method}</span>`;
}
