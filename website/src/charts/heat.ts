// The long-context grid: length across, depth down, the share of needles found in each cell.

import { html } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import type { Grid } from '../data/model.ts';

const kilo = (length: number): string => (length >= 1024 && length % 1024 === 0 ? `${length / 1024}k` : String(length));

export function heatMap(grid: Grid): Html {
  const cell = 62;
  const tall = 34;
  const left = 62;
  const top = 40;
  const width = left + grid.lengths.length * cell + 4;
  const height = top + grid.depths.length * tall + 4;
  const percent = grid.depths.some((depth) => depth > 1);
  return html`<svg class="chart heat" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Needles found, by length of the context and depth in it; the table below holds the numbers">
<text x="${left}" y="12">context length, tokens</text><text x="0" y="${top - 8}">depth</text>
${grid.lengths.map((length, i) => html`<text x="${left + (i + 0.5) * cell}" y="${top - 8}" text-anchor="middle">${kilo(length)}</text>`)}
${grid.depths.map((depth, j) => html`<text x="0" y="${top + (j + 0.5) * tall + 4}">${percent ? depth : Math.round(depth * 100)} %</text>`)}
${grid.cells.map((c) => {
    const x = left + grid.lengths.indexOf(c.length) * cell;
    const y = top + grid.depths.indexOf(c.depth) * tall;
    const share = c.value === null ? 0 : Math.max(0, Math.min(1, c.value / 100));
    const fill = c.value === null ? html`<rect class="none" x="${x}" y="${y}" width="${cell - 2}" height="${tall - 2}"/>` : html`<rect class="cell" x="${x}" y="${y}" width="${cell - 2}" height="${tall - 2}" fill-opacity="${(0.06 + 0.94 * share).toFixed(3)}"/>`;
    return html`${fill}<text class="cell-text${share > 0.55 ? ' inverse' : ''}" x="${x + cell / 2 - 1}" y="${y + tall / 2 + 4}">${c.value === null ? '–' : Math.round(c.value)}</text>`;
  })}
</svg>`;
}

/** The same as a table, for those who cannot see the colours. */
export function heatTable(grid: Grid): Html {
  const percent = grid.depths.some((depth) => depth > 1);
  return html`<details><summary>The grid as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Table: Long-context grid"><table class="data"><thead><tr><th scope="col">Depth</th>${grid.lengths.map((length) => html`<th scope="col" class="num">${kilo(length)}</th>`)}</tr></thead><tbody>${grid.depths.map((depth) => html`<tr><th scope="row">${percent ? depth : Math.round(depth * 100)} %</th>${grid.lengths.map((length) => {
    const found = grid.cells.find((c) => c.length === length && c.depth === depth);
    return html`<td class="num">${found === undefined || found.value === null ? '–' : Math.round(found.value)}</td>`;
  })}</tr>`)}</tbody></table></div></details>`;
}
