// Reads leaderboard.json (schemas/leaderboard.schema.json). The only module that knows how that file spells things.

import { absent, FIGURES, PILLARS, STATUSES, UNPROBED } from './model.ts';
import type { Figure, FigureName, Grid, Leaderboard, Measured, Model, Pillar, Run, Status, Task, TaskProbes } from './model.ts';
import { Malformed, Node } from './read.ts';

/** Format that this site understands: any 1.x. */
const MAJOR = '1.';

/** Reads the file; an error names the place and what was expected there. */
export function readLeaderboard(json: unknown): Leaderboard {
  const root = new Node(json).object();
  const version = root.at('schema_version').text();
  if (!version.startsWith(MAJOR)) throw new Error(`its format is ${version}; this site reads ${MAJOR}x`);
  const models = root.at('models').items().map(readModel);
  const seen = new Set<string>();
  for (const model of models) {
    if (seen.has(model.slug)) throw new Error(`the model id “${model.slug}” appears twice`);
    seen.add(model.slug);
  }
  const suite = root.at('suite');
  return {
    summary: {
      schemaVersion: version,
      lastUpdated: root.at('last_updated').textOrNull(),
      suite: suite.missing ? null : suiteName(suite),
      total: models.length,
      ranked: models.filter((model) => model.rank !== null).length,
      badges: root.at('badges').itemsOrNone().map((badge) => ({ name: badge.at('name').text(), meaning: badge.at('meaning').text() })),
    },
    models,
  };
}

function readModel(node: Node): Model {
  node.object();
  const declared = node.at('parameters').at('declared').textOrNull() ?? '';
  const measured = node.at('parameters').at('measured').numberOrNull();
  const size = measured ?? parseSize(declared);
  const status = readStatus(node.at('status'));
  const reason = node.at('status_reason').textOrNull();
  const run = node.at('run');
  const shown = run.missing ? null : readRun(run);
  const pillars = node.at('pillars');
  const why = reason ?? 'no score';
  const grid = readGrid(node.at('long_context').value);
  return {
    slug: node.at('id').text(),
    name: node.at('name').text(),
    family: node.at('family').textOrNull() ?? '',
    repo: node.at('hf_repo').textOrNull() ?? '',
    revision: node.at('revision').textOrNull(),
    size,
    sizeIsDeclared: measured === null && size !== null,
    declaredSize: declared,
    measuredSize: measured,
    architecture: node.at('architecture').textOrNull() ?? '',
    licence: node.at('license').textOrNull() ?? '',
    contextLength: node.at('context_length').numberOrNull(),
    submittedBy: node.at('submitted_by').textOrNull() ?? '',
    dateAdded: node.at('date_added').textOrNull(),
    status,
    note: reason ?? node.at('flag').textOrNull(),
    rank: node.at('rank').numberOrNull(),
    rankInterval: node.at('rank_interval').pairOrNull(),
    group: node.at('group').textOrNull(),
    place: node.at('place').numberOrNull(),
    aggregate: readScore(node.at('aggregate'), why),
    weightedSum: node.at('aggregate').at('weighted_sum').numberOrNull(),
    coverage: node.at('aggregate').at('coverage').numberOrNull() ?? 0,
    pillars: eachPillar((pillar) => (pillars.at(pillar).missing ? absent(why) : readScore(pillars.at(pillar), why))),
    pillarTasks: eachPillar((pillar) => pillars.at(pillar).at('tasks').entries().map(([name, task]) => readTask(name, task))),
    otherTasks: node.at('other_tasks').entries().map(([name, task]) => readTask(name, task)),
    longContext: gridMean(grid, node.at('long_context').missing ? 'long context was not measured in this run' : null),
    longContextGrid: grid,
    choiceOrder: readProbe(node.at('probes').at('choice_order')),
    answerOnly: readProbe(node.at('probes').at('answer_only')),
    taskProbes: node.at('probes').at('tasks').entries().map(([name, task]) => readTaskProbes(name, task)),
    hardwareClass: node.at('edge').at('hardware_class').textOrNull() ?? node.at('energy').at('hardware_class').textOrNull(),
    figures: readFigures(node),
    quantizations: [shown, ...node.at('quantizations').itemsOrNone().map(readRun)].flatMap((r) => (r === null ? [] : [r.quantization])),
    badges: node.at('badges').itemsOrNone().map((badge) => badge.text()),
    suite: shown?.suite ?? '',
    date: shown?.date.slice(0, 10) ?? null,
    run: shown,
    quantizationRuns: node.at('quantizations').itemsOrNone().map(readRun),
    revisionRuns: node.at('revisions').itemsOrNone().map(readRun),
    chatRuns: node.at('chat_variants').itemsOrNone().map(readRun),
    otherRuns: node.at('other_runs').itemsOrNone().map(readRun),
    imported: readImported(node.at('imported')),
  };
}

function readStatus(node: Node): Status {
  const text = node.text();
  const status = STATUSES.find((known) => known === text);
  if (status === undefined) throw new Malformed(node.where, `one of ${STATUSES.join(', ')}`, text);
  return status;
}

function eachPillar<T>(value: (pillar: Pillar) => T): Record<Pillar, T> {
  return Object.fromEntries(PILLARS.map((pillar) => [pillar, value(pillar)])) as Record<Pillar, T>;
}

function readScore(node: Node, why: string): Measured {
  const value = node.at('score').numberOrNull();
  if (value === null) return absent(node.at('reason').textOrNull() ?? why);
  return { value, interval: node.at('ci95').pairOrNull(), reason: null };
}

function readTask(name: string, node: Node): Task {
  const status = node.at('status').textOrNull() ?? 'ok';
  const reason = node.at('reason').textOrNull();
  return {
    name,
    status,
    reason,
    score: readScore(node, status === 'ok' ? 'no score' : status),
    chance: node.at('chance').numberOrNull(),
    corrected: node.at('chance_corrected').numberOrNull(),
    n: node.at('n').numberOrNull(),
    total: node.at('n_total').numberOrNull(),
    fewshot: node.at('num_fewshot').numberOrNull(),
    metric: node.at('metric').textOrNull(),
    warning: node.at('warning').textOrNull(),
  };
}

/** Leaderboards of before the probes say nothing about them. */
function readProbe(node: Node, reason: string | null = node.at('reason').textOrNull()): Measured {
  const value = node.at('value').numberOrNull();
  return value === null ? absent(reason ?? UNPROBED) : { value, interval: node.at('ci95').pairOrNull(), reason: null };
}

function readTaskProbes(name: string, node: Node): TaskProbes {
  const order = node.at('choice_order');
  const answer = node.at('answer_only');
  return {
    name,
    order: {
      n: order.at('n').numberOrNull() ?? 0,
      changed: readProbe(order.at('changed'), order.at('reason').textOrNull()),
      accuracies: order.at('accuracies').itemsOrNone().map((accuracy) => accuracy.at('value').numberOrNull()),
    },
    answer: {
      n: answer.at('n').numberOrNull() ?? 0,
      accuracy: readProbe(answer.at('accuracy'), answer.at('reason').textOrNull()),
      withQuestion: answer.at('with_question').at('value').numberOrNull(),
      chance: answer.at('chance').numberOrNull(),
    },
  };
}

function readRun(node: Node): Run {
  const quantization = node.at('quantization');
  const engine = node.at('engine');
  const score = node.at('aggregate_score').numberOrNull();
  return {
    id: node.at('run_id').text(),
    path: node.at('path').text(),
    sha256: node.at('sha256').textOrNull() ?? '',
    revision: node.at('revision').textOrNull() ?? '',
    quantization: quantization.at('name').textOrNull() ?? '',
    format: quantization.at('format').textOrNull() ?? '',
    suite: suiteName(node.at('suite')),
    limit: node.at('limit').numberOrNull(),
    chatTemplate: node.at('chat_template').value === true,
    engine: [engine.at('name').textOrNull(), engine.at('version').textOrNull()].filter((part) => part !== null).join(' '),
    device: engine.at('device').textOrNull() ?? '',
    dtype: engine.at('dtype').textOrNull() ?? '',
    program: node.at('slm_benchmark').textOrNull() ?? '',
    date: node.at('finished_at').textOrNull() ?? '',
    aggregate: score === null ? absent('some pillar has no score') : { value: score, interval: node.at('aggregate_ci95').pairOrNull(), reason: null },
    pillars: Object.fromEntries(PILLARS.map((pillar) => [pillar, node.at('pillars').at(pillar).numberOrNull()])),
    difference: node.at('difference').numberOrNull(),
    differenceInterval: node.at('difference_ci95').pairOrNull(),
    differenceP: node.at('difference_p').numberOrNull(),
    differencePaired: node.at('difference_test').textOrNull() === 'paired',
  };
}

function suiteName(node: Node): string {
  const overrides = node.at('overrides').itemsOrNone().map((option) => option.text());
  return [node.at('name').textOrNull() ?? '', node.at('version').textOrNull() ?? '', ...overrides].filter((part) => part !== '').join(' ');
}

function readFigures(node: Node): Model['figures'] {
  const out: Partial<Record<FigureName, Figure>> = {};
  for (const name of FIGURES) {
    const figure = node.at('edge').at('figures').at(name);
    if (!figure.missing) out[name] = readFigure(figure);
  }
  // Rows without a run have nothing to say about energy.
  if (node.at('run').missing) return out;
  const cells: [FigureName, string][] = [
    ['energy_per_1k_tokens', 'energy'],
    ['co2_per_1k_tokens', 'co2'],
    ['efficiency', 'efficiency'],
  ];
  for (const [name, key] of cells) if (!node.at(key).missing) out[name] = readFigure(node.at(key));
  return out;
}

function readFigure(node: Node): Figure {
  return {
    value: node.at('value').numberOrNull(),
    interval: node.at('range').pairOrNull(),
    unit: node.at('unit').textOrNull() ?? '',
    method: node.at('method').textOrNull() ?? 'unavailable',
    reason: node.at('reason').textOrNull(),
  };
}

/** `135M`, `1.7B` or a whole number. */
export function parseSize(text: string): number | null {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s?([KMB]?)$/i.exec(text.trim());
  if (match === null) return null;
  const unit = { K: 1e3, M: 1e6, B: 1e9 }[(match[2] ?? '').toUpperCase()] ?? 1;
  return Number(match[1]) * unit;
}

/** The grid of needles, wherever the measurement put it: a list of cells with a length, a depth and a share or score. */
export function readGrid(json: unknown): Grid | null {
  const list = needleCells(json) ?? findCells(json, 3);
  if (list === null) return null;
  const cells = list.flatMap((cell) => {
    const { length, depth } = cell;
    if (typeof length !== 'number' || typeof depth !== 'number') return [];
    const raw = cell['score'] ?? cell['value'] ?? cell['accuracy'] ?? null;
    const value = typeof raw === 'number' && Number.isFinite(raw) ? raw : null;
    const n = typeof cell['n'] === 'number' ? cell['n'] : null;
    return [{ length, depth, value, n }];
  });
  if (cells.length === 0) return null;
  // Shares and points are told apart by their range: a grid in points has a cell above 1 unless every needle was lost.
  const share = cells.every((cell) => cell.value === null || cell.value <= 1);
  const scaled = cells.map((cell) => ({ ...cell, value: cell.value === null ? null : share ? cell.value * 100 : cell.value }));
  const sorted = (values: number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  return { lengths: sorted(cells.map((cell) => cell.length)), depths: sorted(cells.map((cell) => cell.depth)), cells: scaled };
}

/** Cells of the needle grid (else of the first one) in the form that runs have: a row for each length, with its cells by depth. */
function needleCells(json: unknown): Record<string, unknown>[] | null {
  const entry = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined);
  const grids = entry(json, 'grids');
  if (typeof grids !== 'object' || grids === null) return null;
  const rows = entry(entry(grids, 'needle') ?? Object.values(grids)[0], 'lengths');
  if (!Array.isArray(rows)) return null;
  const cells = rows.flatMap((row: unknown) => {
    const [length, list] = [entry(row, 'length'), entry(row, 'cells')];
    return Array.isArray(list) ? list.map((cell: unknown) => ({ length, depth: entry(cell, 'depth'), n: entry(cell, 'n'), score: share(entry(cell, 'correct'), entry(cell, 'n')) })) : [];
  });
  return cells.length > 0 ? cells : null;
}

function share(correct: unknown, n: unknown): number | null {
  return typeof correct === 'number' && typeof n === 'number' && n > 0 ? correct / n : null;
}

function findCells(json: unknown, levels: number): Record<string, unknown>[] | null {
  if (Array.isArray(json)) {
    return json.length > 0 && json.every((cell) => typeof cell === 'object' && cell !== null && 'length' in cell && 'depth' in cell) ? (json as Record<string, unknown>[]) : null;
  }
  if (typeof json !== 'object' || json === null || levels === 0) return null;
  for (const value of Object.values(json)) {
    const found = findCells(value, levels - 1);
    if (found !== null) return found;
  }
  return null;
}

function gridMean(grid: Grid | null, reason: string | null): Measured {
  const values = grid?.cells.flatMap((cell) => (cell.value === null ? [] : [cell.value])) ?? [];
  if (values.length === 0) return absent(reason ?? 'the run has no long-context grid');
  return { value: values.reduce((sum, value) => sum + value, 0) / values.length, interval: null, reason: null };
}

function readImported(node: Node): string | null {
  if (node.missing) return null;
  const score = node.at('aggregate_score').numberOrNull();
  return `Imported from ${node.at('format').textOrNull() ?? 'elsewhere'}${score === null ? '' : `, where its aggregate is given as ${score}`}.`;
}
