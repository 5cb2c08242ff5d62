// The columns of the ranking: what each shows, sorts by and writes to a download.

import { html, hubUrl, nothing } from './html.ts';
import type { Html } from './html.ts';
import { bytes, day, halfWidth, MISSING, quantity, score, size } from './format.ts';
import { badgeMeaning, FIGURE_WORDS, METHOD_LABEL, PILLAR_LABEL, PILLAR_MEANING } from './words.ts';
import { PILLARS } from '../data/model.ts';
import type { Figure, FigureName, Measured, Row } from '../data/model.ts';
import type { Standing } from './ranking.ts';

export type SortValue = number | string | null;

export interface Column {
  readonly key: string;
  readonly label: string;
  /** Second line of the head: the unit. */
  readonly unit?: string;
  readonly meaning: string;
  readonly kind: 'score' | 'number' | 'text';
  readonly byDefault: boolean;
  /** The better end comes first when the head is first clicked. */
  readonly descendingFirst: boolean;
  value(row: Row, standing: Standing): SortValue;
  cell(row: Row, standing: Standing): Html;
  /** A score whose bar stands at the foot of the cell. */
  bar?(row: Row, standing: Standing): Measured;
  /** Further columns of a download: name and value. */
  extra?(row: Row, standing: Standing): [string, SortValue][];
}

/** A missing value with its reason, reachable by pointer, touch and keyboard. */
export function missing(reason: string | null): Html {
  const why = reason ?? 'not reported';
  return html`<button type="button" class="missing" data-tip="${why}" aria-label="missing: ${why}">${MISSING}</button>`;
}

export function scoreCell(m: Measured): Html {
  if (m.value === null) return missing(m.reason);
  return html`${score(m.value)}${m.interval === null ? nothing : html`<small>${halfWidth(m.interval[0], m.interval[1])}</small>`}`;
}

function figureText(name: FigureName, figure: Figure): string {
  return FIGURE_WORDS[name].unit === 'bytes' ? bytes(figure.value) : quantity(figure.value);
}

/** A figure with the way it was obtained: an estimate is marked as one. */
export function figureCell(name: FigureName, figure: Figure | undefined, hardwareClass: string | null): Html {
  if (figure === undefined) return missing('this run has no such measurement');
  if (figure.value === null) return missing(figure.reason ?? METHOD_LABEL[figure.method] ?? figure.method);
  const how = `${METHOD_LABEL[figure.method] ?? figure.method}${hardwareClass === null ? '' : ` on ${hardwareClass}`}`;
  const estimated = figure.method.startsWith('estimated');
  return html`${figureText(name, figure)}${estimated ? html`<abbr class="est" title="${how}">est.</abbr>` : nothing}`;
}

export function badgeTags(badges: readonly string[]): Html {
  return html`${badges.map((name) => html`<button type="button" class="badge" data-tip="${badgeMeaning(name)}">${name}</button>`)}`;
}

/** Badges where there is little room: the first word, the whole name and its meaning on hover, focus and touch. */
export function shortBadgeTags(badges: readonly string[]): Html {
  return html`${badges.map((name) => html`<button type="button" class="badge" data-tip="${name}: ${badgeMeaning(name)}" aria-label="${name}">${name.split('-')[0]}</button>`)}`;
}

function pillarColumns(): Column[] {
  return PILLARS.map((pillar) => ({
    key: pillar,
    label: PILLAR_LABEL[pillar],
    meaning: PILLAR_MEANING[pillar],
    kind: 'score',
    byDefault: true,
    descendingFirst: true,
    value: (row) => row.pillars[pillar].value,
    cell: (row) => scoreCell(row.pillars[pillar]),
    bar: (row) => row.pillars[pillar],
    extra: (row) => [
      [`${pillar}_low`, row.pillars[pillar].interval?.[0] ?? null],
      [`${pillar}_high`, row.pillars[pillar].interval?.[1] ?? null],
      [`${pillar}_reason`, row.pillars[pillar].reason],
    ],
  }));
}

function figureColumn(name: FigureName, byDefault: boolean, label?: string): Column {
  const words = FIGURE_WORDS[name];
  return {
    key: name,
    label: label ?? words.label,
    unit: words.unit === 'bytes' ? '' : words.unit.replace('correct answers', 'answers').replace(' per 1,000 tokens', '/1k tokens').replace(' per ', '/'),
    meaning: words.meaning,
    kind: 'number',
    byDefault,
    descendingFirst: !words.lowerIsBetter,
    value: (row) => row.figures[name]?.value ?? null,
    cell: (row) => figureCell(name, row.figures[name], row.hardwareClass),
    extra: (row) => [
      [`${name}_unit`, row.figures[name]?.unit ?? null],
      [`${name}_method`, row.figures[name]?.method ?? null],
      [`${name}_reason`, row.figures[name]?.reason ?? null],
    ],
  };
}

/** No bar and no better end: a probe is no score. */
function probeColumn(key: string, label: string, meaning: string, of: (row: Row) => Measured): Column {
  return {
    key,
    label,
    unit: '%',
    meaning,
    kind: 'number',
    byDefault: false,
    descendingFirst: false,
    value: (row) => of(row).value,
    cell: (row) => scoreCell(of(row)),
    extra: (row) => [
      [`${key}_low`, of(row).interval?.[0] ?? null],
      [`${key}_high`, of(row).interval?.[1] ?? null],
      [`${key}_reason`, of(row).reason],
    ],
  };
}

function textColumn(key: string, label: string, meaning: string, value: (row: Row) => string | null, byDefault = false): Column {
  return {
    key,
    label,
    meaning,
    kind: 'text',
    byDefault,
    descendingFirst: false,
    value,
    cell: (row) => {
      const text = value(row);
      return text === null || text === '' ? missing('not stated') : html`${text}`;
    },
  };
}

/** Rank and model are always shown; these can be chosen. */
export const COLUMNS: readonly Column[] = [
  {
    key: 'aggregate',
    label: 'Aggregate',
    meaning: 'Weighted mean of the five pillars, 0 to 100, with its 95 % interval.',
    kind: 'score',
    byDefault: true,
    descendingFirst: true,
    value: (_row, standing) => standing.aggregate.value,
    cell: (_row, standing) => scoreCell(standing.aggregate),
    bar: (_row, standing) => standing.aggregate,
    extra: (_row, standing) => [
      ['aggregate_low', standing.aggregate.interval?.[0] ?? null],
      ['aggregate_high', standing.aggregate.interval?.[1] ?? null],
      ['aggregate_reason', standing.aggregate.reason],
    ],
  },
  ...pillarColumns(),
  textColumn('family', 'Family', 'Model family, as its author names it.', (row) => row.family, true),
  {
    key: 'size',
    label: 'Params',
    meaning: 'Number of parameters, counted in the headers of the weight files; tied tensors once. A declared number is marked.',
    kind: 'number',
    byDefault: true,
    descendingFirst: false,
    value: (row) => row.size,
    cell: (row) =>
      row.size === null
        ? missing('the number of parameters is not known')
        : html`${size(row.size)}${row.sizeIsDeclared ? html`<abbr class="est" title="as declared by the author; not counted in the files">decl.</abbr>` : nothing}`,
  },
  figureColumn('decode_speed', true, 'Edge'),
  figureColumn('efficiency', true),
  figureColumn('co2_per_1k_tokens', true),
  figureColumn('energy_per_1k_tokens', false),
  figureColumn('peak_memory', false),
  figureColumn('prefill_speed', false),
  figureColumn('time_to_first_token', false),
  figureColumn('size_on_disk', false),
  {
    key: 'hub',
    label: 'Hub',
    meaning: 'The model’s repository on Hugging Face.',
    kind: 'text',
    byDefault: true,
    descendingFirst: false,
    value: (row) => row.repo,
    cell: (row) => {
      const url = hubUrl(row.repo, row.revision);
      return url === null
        ? missing(`“${row.repo}” is not a repository name of the hub`)
        : html`<a class="hub" href="${url}" rel="noopener nofollow" title="${row.repo}" aria-label="HF: ${row.repo} on Hugging Face">HF</a>`;
    },
  },
  {
    key: 'long_context',
    label: 'Long context',
    meaning: 'Share of needles found over all lengths and depths of the grid. Informational.',
    kind: 'score',
    byDefault: false,
    descendingFirst: true,
    value: (row) => row.longContext.value,
    cell: (row) => scoreCell(row.longContext),
    bar: (row) => row.longContext,
  },
  probeColumn('choice_order', 'Order sensitivity', 'Share of MMLU questions whose answer changes with the order of the options. Informational: never part of a score.', (row) => row.choiceOrder),
  probeColumn('answer_only', 'Answer only', 'Accuracy when the questions are left out, mean of the probed tasks. Informational: never part of a score.', (row) => row.answerOnly),
  textColumn('architecture', 'Architecture', '`model_type` of the model’s configuration.', (row) => row.architecture),
  textColumn('license', 'Licence', 'Licence id on the hub.', (row) => row.licence),
  textColumn('quantization', 'Quantizations', 'Evaluated weights, the ranked one first.', (row) => row.quantizations.join(', ')),
  {
    key: 'coverage',
    label: 'Coverage',
    unit: '%',
    meaning: 'Share of the weights that has scores. Only 100 % is ranked.',
    kind: 'number',
    byDefault: false,
    descendingFirst: true,
    value: (row) => row.coverage,
    cell: (row) => html`${(row.coverage * 100).toFixed(0)}`,
  },
  {
    key: 'weighted_sum',
    label: 'Weighted sum',
    meaning: 'Sum of published weight times pillar, not divided: 0 to 110.',
    kind: 'number',
    byDefault: false,
    descendingFirst: true,
    value: (row) => row.weightedSum,
    cell: (row) => (row.weightedSum === null ? missing(row.aggregate.reason) : html`${score(row.weightedSum)}`),
  },
  textColumn('hardware', 'Hardware class', 'Speed and energy are compared within one hardware class only.', (row) => row.hardwareClass),
  textColumn('suite', 'Suite', 'Suite and version of the run; versions are never ranked together.', (row) => row.suite),
  textColumn('date', 'Evaluated', 'Day on which the newest run ended.', (row) => (row.date === null ? null : day(row.date))),
];

const BY_KEY = new Map(COLUMNS.map((column) => [column.key, column]));

export function visibleColumns(chosen: readonly string[] | null): Column[] {
  if (chosen === null) return COLUMNS.filter((column) => column.byDefault);
  const keys = new Set(chosen);
  return COLUMNS.filter((column) => keys.has(column.key));
}

export function isSortable(key: string): boolean {
  return key === 'rank' || key === 'name' || BY_KEY.has(key);
}

export function startsDescending(key: string): boolean {
  return BY_KEY.get(key)?.descendingFirst ?? false;
}

/** Sorts; missing values come last in both directions, equals keep the published order. */
export function sortRows(rows: readonly Row[], key: string, descending: boolean, standing: (row: Row) => Standing): Row[] {
  const column = BY_KEY.get(key);
  const value = (row: Row): SortValue => {
    if (key === 'rank') return standing(row).rank;
    if (key === 'name') return row.name.toLowerCase();
    return column === undefined ? standing(row).rank : column.value(row, standing(row));
  };
  const sign = descending ? -1 : 1;
  const keyed = rows.map((row, index) => ({ row, index, value: value(row) }));
  keyed.sort((a, b) => {
    if (a.value !== b.value) {
      if (a.value === null || a.value === '') return 1;
      if (b.value === null || b.value === '') return -1;
      return (a.value < b.value ? -1 : 1) * sign;
    }
    return a.index - b.index;
  });
  return keyed.map((entry) => entry.row);
}
