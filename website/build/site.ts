// The build's own part: shared markup, the table written into the page, the data beside it.

import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync, createReadStream } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { Plugin } from 'vite';
import { halfWidth, MISSING, score, size } from '../src/core/format.ts';
import { html, hubUrl } from '../src/core/html.ts';
import type { Html } from '../src/core/html.ts';
import { visibleColumns } from '../src/core/columns.ts';
import { published } from '../src/core/ranking.ts';
import { headHtml, rowsHtml } from '../src/core/table.ts';
import type { TableContext } from '../src/core/table.ts';
import { knownBadges, learnBadges, PILLAR_LABEL, STATUS_LABEL } from '../src/core/words.ts';
import { compact } from '../src/data/compact.ts';
import { readLeaderboard } from '../src/data/leaderboard.ts';
import { PILLARS } from '../src/data/model.ts';
import type { Leaderboard, Measured, Model, Run } from '../src/data/model.ts';

/** Rows written into the index; all of them are in all.html. */
const ROWS_IN_INDEX = 50;

const CONTEXT: TableContext = {
  columns: visibleColumns(null),
  standing: published,
  sort: 'rank',
  descending: false,
  selected: new Set(),
  ownWeights: false,
};

interface Source {
  readonly board: Leaderboard;
  readonly text: string | null;
}

/** Reads and checks the leaderboard: a malformed one stops the build, a missing one gives an empty site. */
function readSource(root: string): Source {
  const path = join(root, 'website/assets/data/leaderboard.json');
  if (!existsSync(path)) {
    return { board: { summary: { schemaVersion: '1.0.0', lastUpdated: null, suite: null, total: 0, ranked: 0, badges: [] }, models: [] }, text: null };
  }
  const text = readFileSync(path, 'utf8');
  try {
    return { board: readLeaderboard(JSON.parse(text)), text };
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}. Write it anew with: slm-bench website update`);
  }
}

export function site(here: string, root: string): Plugin {
  let outDir = resolve(here, 'dist');
  const include = (page: string): string =>
    page.replace(/<!-- include (\w+) -->/g, (_all, name: string) => readFileSync(join(here, 'partials', `${name}.html`), 'utf8').trimEnd());
  return {
    name: 'slm-benchmark-site',
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir);
    },
    transformIndexHtml: {
      order: 'pre',
      handler(page, context) {
        const name = context.filename.split(sep).at(-1) ?? '';
        // Where the reader is, for the eye and for screen readers.
        return include(page).replace(`<a href="${name}">`, `<a href="${name}" aria-current="page">`);
      },
    },
    transform: {
      order: 'pre',
      handler(code, id) {
        return /[/\\]site\.css(\?|$)/.test(id) ? code.replace('/* rules of table bars */', barRules()) : null;
      },
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '');
        const file = path === '/assets/data/leaderboard.json' ? join(root, 'website', path) : path.startsWith('/results/') ? join(root, path) : null;
        if (file === null || !resolve(file).startsWith(root + sep)) return next();
        if (!existsSync(file)) {
          response.statusCode = 404;
          response.end();
        } else createReadStream(file).pipe(response);
      });
    },
    writeBundle() {
      const { board, text } = readSource(root);
      learnBadges(board.summary.badges);
      writeData(board, text, outDir);
      const copied = copyRuns(board.models, root, outDir);
      prerender(board, here, outDir);
      console.log(`${board.models.length} models, ${copied} files of runs`);
    },
  };
}

/** Where a table's bar stands: value, lower and upper end of the interval, in steps of half a point. */
function barRules(): string {
  const steps = Array.from({ length: 201 }, (_, i) => i);
  return steps.map((i) => `.x${i}{--x:${i / 2}%}.l${i}{--l:${i / 2}%}.u${i}{--u:${i / 2}%}`).join('');
}

function writeData(board: Leaderboard, text: string | null, outDir: string): void {
  const data = join(outDir, 'assets/data');
  mkdirSync(join(data, 'models'), { recursive: true });
  const source = text ?? JSON.stringify({ schema_version: '1.0.0', last_updated: null, suite: null, pillars: [], badges: [], counts: {}, models: [] }) + '\n';
  const path = join(data, 'leaderboard.json');
  writeFileSync(path, source);
  // The browser takes the short forms only while they are not older than this file.
  const before = new Date(Date.now() - 2000);
  utimesSync(path, before, before);
  writeFileSync(join(data, 'ranking.json'), JSON.stringify(compact(board.models, board.summary, Buffer.byteLength(source))));
  for (const model of board.models) {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(model.slug)) writeFileSync(join(data, 'models', `${model.slug}.json`), JSON.stringify(model));
  }
}

function runsOf(model: Model): Run[] {
  return [...(model.run === null ? [] : [model.run]), ...model.quantizationRuns, ...model.revisionRuns, ...model.chatRuns, ...model.otherRuns];
}

/** Copies what the item browser reads: each linked run.json and the samples that it lists. */
function copyRuns(models: readonly Model[], root: string, outDir: string): number {
  let copied = 0;
  const copy = (path: string): boolean => {
    const from = resolve(root, path);
    const to = resolve(outDir, path);
    if (!from.startsWith(root + sep) || !to.startsWith(outDir + sep) || !existsSync(from) || !statSync(from).isFile()) return false;
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
    copied++;
    return true;
  };
  for (const run of models.flatMap(runsOf)) {
    if (!copy(run.path)) continue;
    const json = JSON.parse(readFileSync(resolve(root, run.path), 'utf8')) as { samples?: { file?: unknown }[] };
    for (const { file } of json.samples ?? []) if (typeof file === 'string') copy(join(dirname(run.path), file));
  }
  return copied;
}

function prerender(board: Leaderboard, here: string, outDir: string): void {
  const rows = board.models;
  const { lastUpdated } = board.summary;
  const rest =
    rows.length > ROWS_IN_INDEX
      ? html`<noscript><p class="notice"><a href="all.html">All ${rows.length} models as a plain table</a></p></noscript>`
      : rows.length === 0
        ? html`<noscript><p class="empty"><strong>The leaderboard is empty.</strong> No model has been evaluated yet.</p></noscript>`
        : html``;
  const pieces: Record<string, () => string> = {
    '<!-- prerender head -->': () => headHtml(CONTEXT).text,
    '<!-- prerender rows -->': () => rowsHtml(rows, 0, ROWS_IN_INDEX, CONTEXT).text,
    '<!-- prerender all head -->': () => plainHead().text,
    '<!-- prerender all -->': () => rows.map((row) => plainRow(row).text).join('\n'),
    '<!-- prerender rest -->': () => rest.text,
    '<!-- prerender badges -->': () => badgeRows(board).text,
    '<!-- prerender fields -->': () => fieldTable(here).text,
    '<!-- updated -->': () => (lastUpdated === null ? '' : `Updated ${lastUpdated.slice(0, 10)}.`),
  };
  for (const page of ['index.html', 'all.html', 'methodology.html', 'submit.html']) {
    const path = join(outDir, page);
    if (!existsSync(path)) continue;
    let text = readFileSync(path, 'utf8');
    for (const [mark, piece] of Object.entries(pieces)) if (text.includes(mark)) text = text.replace(mark, piece);
    writeFileSync(path, text);
  }
}

/** The badges with their thresholds, as the leaderboard states them. */
function badgeRows(board: Leaderboard): Html {
  const stated = board.summary.badges.map(({ name, meaning }): readonly [string, string] => [name, meaning]);
  return html`${(stated.length > 0 ? stated : knownBadges()).map(([name, meaning]) => html`<tr><th scope="row">${name}</th><td>${meaning}</td></tr>`)}`;
}

interface Field {
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly deprecated?: boolean;
  readonly 'x-expected'?: string;
}

/** The submission's fields from the schema itself, so that this page cannot say something else than the bot checks. */
function fieldTable(here: string): Html {
  const schema = JSON.parse(readFileSync(join(here, '../schemas/submission.schema.json'), 'utf8')) as { properties: { model: { required: string[]; properties: Record<string, Field & { items?: { properties?: Record<string, Field>; required?: string[] } }> } } };
  const model = schema.properties.model;
  const row = (name: string, field: Field, needed: boolean): Html => html`<dt><code>${name}</code> <span class="muted">${needed ? 'required' : 'optional'}</span></dt><dd>${field.description ?? ''}${field['x-expected'] === undefined ? html`` : html` <span class="muted">Form: ${field['x-expected']}.</span>`}${field.examples?.[0] === undefined ? html`` : html` <span class="muted">Example:</span> <code>${typeof field.examples[0] === 'string' ? field.examples[0] : JSON.stringify(field.examples[0])}</code>`}</dd>`;
  const rows = Object.entries(model.properties)
    .filter(([, field]) => field.deprecated !== true)
    .flatMap(([name, field]) => [row(name, field, model.required.includes(name)), ...Object.entries(field.items?.properties ?? {}).map(([inner, f]) => row(`${name}[].${inner}`, f, field.items?.required?.includes(inner) === true))]);
  return html`<dl class="fields">${rows}</dl>`;
}

function plainHead(): Html {
  const heads = ['Rank', 'Model', 'Status', 'Parameters', 'Licence', 'Aggregate', ...PILLARS.map((pillar) => PILLAR_LABEL[pillar])];
  return html`<tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr>`;
}

/** A row in words and numbers only: 5,000 of them are still a small page. */
function plainRow(row: Model): Html {
  const url = hubUrl(row.repo, row.revision);
  const cell = (m: Measured): Html => html`<td>${m.value === null ? html`<abbr title="${m.reason ?? 'not reported'}">${MISSING}</abbr>` : html`${score(m.value)}${m.interval === null ? '' : ` ${halfWidth(...m.interval)}`}`}</td>`;
  const rank = row.rank === null ? MISSING : row.rankInterval === null || row.rankInterval[0] === row.rankInterval[1] ? String(row.rank) : `${row.rank} (${row.rankInterval[0]}–${row.rankInterval[1]})`;
  return html`<tr><td>${rank}</td><th scope="row">${url === null ? row.name : html`<a href="${url}" rel="noopener nofollow">${row.name}</a>`}</th><td>${STATUS_LABEL[row.status]}${row.note === null ? '' : `: ${row.note}`}</td><td>${size(row.size)}</td><td>${row.licence}</td>${cell(row.aggregate)}${PILLARS.map((pillar) => cell(row.pillars[pillar]))}</tr>`;
}
