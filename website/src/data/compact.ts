// What the index needs of each model, as short lists: 5,000 models are parsed in a blink. The build writes it from leaderboard.json.

import { absent, FIGURES, PILLARS, STATUSES, UNPROBED } from './model.ts';
import type { Figure, FigureName, Interval, Measured, Model, Pillar, Row, Summary } from './model.ts';

export const COMPACT_VERSION = 1;

export interface Compact {
  readonly version: number;
  readonly summary: Summary;
  /** Size in bytes of the leaderboard.json that this was made from. */
  readonly sourceBytes: number;
  readonly fields: string;
  readonly rows: readonly unknown[][];
}

type PackedMeasured = readonly [number | null, number?, number?] | string | 0;

const places = (x: number, digits: number): number => Number(x.toFixed(digits));

/** Values stay exact, so that ranks under the reader's weights are; intervals are rounded outside of what is shown. */
function pack(m: Measured): PackedMeasured {
  if (m.value === null) return m.reason ?? 0;
  return m.interval === null ? [m.value] : [m.value, places(m.interval[0], 6), places(m.interval[1], 6)];
}

function unpack(p: unknown): Measured {
  if (Array.isArray(p)) {
    const [value, low, high] = p as (number | undefined)[];
    const interval: Interval | null = low === undefined || high === undefined ? null : [low, high];
    return { value: value ?? null, interval, reason: null };
  }
  return { value: null, interval: null, reason: typeof p === 'string' ? p : null };
}

function packFigures(figures: Row['figures']): unknown[] {
  return FIGURES.map((name) => {
    const f = figures[name];
    if (f === undefined) return 0;
    return f.value === null ? [null, f.unit, f.method, f.reason] : [Number(f.value.toPrecision(6)), f.unit, f.method];
  });
}

function unpackFigures(packed: unknown): Row['figures'] {
  const out: Partial<Record<FigureName, Figure>> = {};
  if (!Array.isArray(packed)) return out;
  FIGURES.forEach((name, i) => {
    const f: unknown = packed[i];
    if (!Array.isArray(f)) return;
    const [value, unit, method, reason] = f as [number | null, string, string, string?];
    out[name] = { value, interval: null, unit, method, reason: reason ?? null };
  });
  return out;
}

export function packRow(row: Row): unknown[] {
  return [
    row.slug,
    row.name,
    row.family,
    row.repo,
    row.revision,
    row.size,
    row.sizeIsDeclared ? 1 : 0,
    row.architecture,
    row.licence,
    STATUSES.indexOf(row.status),
    row.note,
    row.rank,
    row.rankInterval,
    pack(row.aggregate),
    row.weightedSum === null ? null : places(row.weightedSum, 6),
    places(row.coverage, 6),
    PILLARS.map((pillar) => pack(row.pillars[pillar])),
    pack(row.longContext),
    row.hardwareClass,
    Object.keys(row.figures).length === 0 ? 0 : packFigures(row.figures),
    row.quantizations,
    row.badges,
    row.suite,
    row.date,
    row.choiceOrder.value === null && row.answerOnly.value === null ? 0 : [pack(row.choiceOrder), pack(row.answerOnly)],
  ];
}

export function unpackRow(packed: readonly unknown[]): Row {
  const [slug, name, family, repo, revision, size, declared, architecture, licence, status, note, rank, rankInterval, aggregate, weightedSum, coverage, pillars, longContext, hardwareClass, figures, quantizations, badges, suite, date, probes] =
    packed as [string, string, string, string, string | null, number | null, number, string, string, number, string | null, number | null, Interval | null, unknown, number | null, number, unknown[], unknown, string | null, unknown, string[], string[], string, string | null, unknown];
  const [choiceOrder, answerOnly] = Array.isArray(probes) ? probes.map(unpack) : [absent(UNPROBED), absent(UNPROBED)];
  return {
    slug,
    name,
    family,
    repo,
    revision,
    size,
    sizeIsDeclared: declared === 1,
    architecture,
    licence,
    status: STATUSES[status] ?? 'unverified',
    note,
    rank,
    rankInterval,
    aggregate: unpack(aggregate),
    weightedSum,
    coverage,
    pillars: Object.fromEntries(PILLARS.map((pillar, i) => [pillar, unpack(pillars[i])])) as Record<Pillar, Measured>,
    longContext: unpack(longContext),
    hardwareClass,
    figures: unpackFigures(figures),
    quantizations,
    badges,
    suite,
    date,
    choiceOrder: choiceOrder ?? absent(UNPROBED),
    answerOnly: answerOnly ?? absent(UNPROBED),
  };
}

export function compact(models: readonly Model[], summary: Summary, sourceBytes: number): Compact {
  return { version: COMPACT_VERSION, summary, sourceBytes, fields: 'see website/src/data/compact.ts', rows: models.map(packRow) };
}
