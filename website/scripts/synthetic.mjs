// Writes a leaderboard of invented models, with runs and answers for a few of them, in the published formats.
// node scripts/synthetic.mjs --models 36 --out DIR [--runs 4] [--hostile]

import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { zstdStore } from './zstd.mjs';

export const PILLARS = [
  { name: 'reasoning', weight: 35, tasks: ['mmlu', 'arc_challenge', 'hellaswag', 'truthfulqa_mc2'] },
  { name: 'coding', weight: 20, tasks: ['humaneval', 'mbpp'] },
  { name: 'math', weight: 15, tasks: ['gsm8k', 'mathqa'] },
  { name: 'language', weight: 20, tasks: ['boolq', 'piqa', 'winogrande'] },
  { name: 'safety', weight: 20, tasks: ['toxigen', 'crows_pairs_english', 'bbq', 'truthfulqa_mc1'] },
];

/** Number of documents, chance level, difficulty, few-shot, primary metric. */
const TASKS = {
  mmlu: [14042, 25, 1.4, 5, 'acc,none'],
  arc_challenge: [1172, 25, 0.9, 5, 'acc_norm,none'],
  hellaswag: [10042, 25, 0.2, 5, 'acc_norm,none'],
  truthfulqa_mc2: [817, null, 1.2, 0, 'acc,none'],
  humaneval: [164, 0, 2.0, 0, 'pass@1,create_test'],
  mbpp: [500, 0, 1.8, 3, 'pass_at_1,none'],
  gsm8k: [1319, 0, 1.9, 5, 'exact_match,flexible-extract'],
  mathqa: [2985, 20, 1.9, 5, 'acc_norm,none'],
  boolq: [3270, 50, 0.3, 0, 'acc,none'],
  piqa: [1838, 50, -0.4, 0, 'acc_norm,none'],
  winogrande: [1267, 50, 0.7, 5, 'acc,none'],
  toxigen: [940, 50, 1.3, 0, 'acc,none'],
  crows_pairs_english: [1677, null, 0.4, 0, 'pct_stereotype,none'],
  bbq: [5849, 25, 1.5, 0, 'acc,none'],
  truthfulqa_mc1: [817, 22.6, 1.6, 0, 'acc,none'],
};

const FAMILIES = ['Alder', 'Birch', 'Cedar', 'Hazel', 'Juniper', 'Larch', 'Maple', 'Rowan', 'Spruce', 'Willow'];
const SIZES = [1.3e6, 4.2e6, 14e6, 33e6, 70e6, 124e6, 135e6, 160e6, 270e6, 360e6, 410e6, 494e6, 620e6, 1.05e9, 1.24e9, 1.4e9, 1.54e9, 1.71e9, 2.5e9, 2.8e9];
const LICENCES = ['apache-2.0', 'mit', 'llama3.2', 'gemma', 'cc-by-4.0', 'openrail'];
const ARCHITECTURES = ['llama', 'qwen2', 'qwen3', 'mistral', 'phi3', 'gemma2', 'smollm3'];
const CLASSES = ['x86-64, 8 cores, 32 GiB', 'x86-64, 16 cores, 64 GiB', 'arm64, 8 cores, 16 GiB'];

/** A small, fast generator (mulberry32): the same seed gives the same leaderboard. */
export function random(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const pick = (list) => list[Math.floor(next() * list.length)];
  return { next, normal, pick };
}

const round = (x) => Math.round(x * 1e4) / 1e4 + 0;
const hex = (text, length = 64) => createHash('sha256').update(text).digest('hex').slice(0, length);
const sizeText = (n) => (n >= 1e9 ? `${Number((n / 1e9).toPrecision(3))}B` : `${Number((n / 1e6).toPrecision(3))}M`);
const sizeInName = (n) => (n >= 1e9 ? `${Number((n / 1e9).toPrecision(2))}B` : `${Number((n / 1e6).toPrecision(3))}M`);
const interval = (score, stderr) => [round(Math.max(0, score - 1.959964 * stderr)), round(Math.min(100, score + 1.959964 * stderr))];

function taskCell(name, ability, r) {
  const [n, chance, difficulty, fewshot, metric] = TASKS[name];
  const floor = (chance ?? 30) / 100;
  const p = Math.min(0.985, Math.max(floor * 0.96, floor + (1 - floor) / (1 + Math.exp(-(ability - difficulty * 1.5 - 1 + 0.25 * r.normal())))));
  const score = round(p * 100);
  const stderr = round(100 * Math.sqrt((p * (1 - p)) / n));
  return {
    status: 'ok', reason: null, score, stderr, ci95: interval(score, stderr), chance,
    chance_corrected: chance === null ? null : round((100 * (score - chance)) / (100 - chance)),
    n, n_total: n, metric, num_fewshot: fewshot, warning: null,
  };
}

function failed(name, reason) {
  const [n, chance, , fewshot, metric] = TASKS[name];
  return { status: 'failed', reason, score: null, stderr: null, ci95: null, chance, chance_corrected: null, n: 0, n_total: n, metric, num_fewshot: fewshot, warning: null };
}

export function pillarsOf(cells) {
  const pillars = {};
  for (const { name, tasks } of PILLARS) {
    const mine = Object.fromEntries(tasks.map((task) => [task, cells[task]]));
    const missing = tasks.filter((task) => mine[task].score === null);
    if (missing.length > 0) {
      pillars[name] = { score: null, stderr: null, ci95: null, reason: missing.map((task) => `${task} failed: ${mine[task].reason}`).join('; '), tasks: mine };
      continue;
    }
    const score = tasks.reduce((sum, task) => sum + mine[task].score, 0) / tasks.length;
    const stderr = Math.sqrt(tasks.reduce((sum, task) => sum + mine[task].stderr ** 2, 0)) / tasks.length;
    pillars[name] = { score: round(score), stderr: round(stderr), ci95: interval(score, stderr), reason: null, tasks: mine };
  }
  return pillars;
}

export function aggregateOf(pillars) {
  let sum = 0;
  let variance = 0;
  let covered = 0;
  let complete = true;
  for (const { name, weight } of PILLARS) {
    const pillar = pillars[name];
    if (pillar === undefined || pillar.score === null) {
      complete = false;
      continue;
    }
    covered += weight;
    sum += weight * pillar.score;
    variance += (weight * pillar.stderr) ** 2;
  }
  const coverage = round(covered / 110);
  if (!complete) return { score: null, weighted_sum: null, stderr: null, ci95: null, coverage };
  const stderr = Math.sqrt(variance) / 110;
  return { score: round(sum / 110), weighted_sum: round(sum / 100), stderr: round(stderr), ci95: interval(sum / 110, stderr), coverage };
}

function figure(value, unit, method = 'measured', spread = 0.03) {
  return { value: Number(value.toPrecision(4)), unit, range: [Number((value * (1 - spread)).toPrecision(4)), Number((value * (1 + spread)).toPrecision(4))], method };
}

function hardware(size, r) {
  const hardware_class = r.pick(CLASSES);
  const speed = (CLASSES.indexOf(hardware_class) === 1 ? 1.7 : 1) * (2.4e10 / (size + 8e7)) * (0.8 + 0.4 * r.next());
  const method = CLASSES.indexOf(hardware_class) === 2 ? 'estimated_tdp' : 'measured_rapl';
  const energy = (45 / speed / 3.6) * (0.9 + 0.2 * r.next());
  return {
    edge: {
      hardware_class,
      figures: {
        load_time: figure(0.2 + size / 1.2e9, 's'),
        time_to_first_token: figure(0.02 + 6 / speed, 's'),
        prefill_speed: figure(speed * 6, 'tokens/s'),
        decode_speed: figure(speed, 'tokens/s'),
        peak_memory: figure(size * 4.3 + 2.2e8, 'bytes', 'measured', 0.01),
        size_on_disk: figure(size * 2, 'bytes', 'measured', 0),
      },
      details: { prompt_tokens: 512, generated_tokens: 128, repetitions: 5 },
    },
    energy: { value: Number(energy.toPrecision(4)), unit: 'Wh', method, hardware_class, reason: null },
    co2: { value: Number((energy * 0.475).toPrecision(4)), unit: 'g', method, hardware_class, reason: null },
    efficiency: { value: Number((900 / energy / 2.1).toPrecision(4)), unit: '1/Wh', method, hardware_class, reason: null },
  };
}

const unprobed = (reason) => { const cell = { value: null, ci95: null, reason }; return { choice_order: cell, answer_only: cell, with_question: cell, chance: null }; };

/** Every second model has been probed. A function of its number alone, so that the other invented values stay as they are. */
function probesOf(i) {
  if (i % 2 === 1) return unprobed('not measured in this run: `--probes` was not given');
  const at = (value) => ({ value, ci95: [Math.max(0, value - 4), Math.min(100, value + 4)] });
  const changed = 20 + (i * 13) % 60;
  const blind = 26 + (i * 7) % 15;
  const none = { value: null, ci95: null };
  const order = { n: 456, changed: at(changed), accuracies: [31, 30, 29.5, 28].map((value) => at(value)), spread: 3, published_order_advantage: { value: 1.8, ci95: [-0.4, 4] } };
  const answer = { n: 400, accuracy: at(blind), with_question: at(blind + 9), chance: 25 };
  return {
    choice_order: { ...at(changed), reason: null }, answer_only: { ...at(blind), reason: null }, with_question: { ...at(blind + 9), reason: null }, chance: 25,
    tasks: {
      mmlu: { choice_order: order, answer_only: answer },
      hellaswag: { choice_order: { n: 0, changed: none, accuracies: [], spread: null, published_order_advantage: none, reason: 'the prompt does not list the options, each is scored by itself: their order cannot matter' }, answer_only: answer },
    },
  };
}

const unmeasured = (reason) => ({ edge: null, ...Object.fromEntries([['energy', 'Wh'], ['co2', 'g'], ['efficiency', '1/Wh']].map(([key, unit]) => [key, { value: null, unit, method: 'unavailable', hardware_class: null, reason }])) });

function grid(ability, window, r) {
  const lengths = [1024, 2048, 4096, 8192, 16384, 32768].filter((length) => length <= window);
  const cells = [];
  for (const length of lengths) {
    for (const depth of [0, 25, 50, 75, 100]) {
      const ease = ability + 2.2 - Math.log2(length / 1024) * 0.9 - (depth > 10 && depth < 90 ? 0.7 : 0) + 0.3 * r.normal();
      cells.push({ length, depth, score: Math.round((1 / (1 + Math.exp(-ease))) * 20) * 5, n: 20 });
    }
  }
  return { needle: { grid: cells } };
}

function runLink(model, quantization, extra = {}) {
  const run_id = hex(`${model.id} ${quantization.name} ${extra.revision ?? model.revision} ${extra.chat_template ?? false} ${extra.limit ?? ''}`, 32);
  return {
    run_id, path: `results/raw/${model.id}/${run_id}/run.json`, sha256: hex(`run ${run_id}`),
    revision: model.revision, quantization, suite: { name: 'standard', version: '1.0.0' }, limit: null, chat_template: false,
    engine: { name: 'mistralrs', version: '0.8.1', device: 'cpu', dtype: 'f32' }, slm_benchmark: '0.1.0', finished_at: model.finished,
    aggregate_score: model.aggregate.score, aggregate_ci95: model.aggregate.ci95,
    pillars: Object.fromEntries(PILLARS.map(({ name }) => [name, model.pillars[name]?.score ?? null])), difference: null, difference_ci95: null, difference_p: null, difference_test: null, ...extra,
  };
}

function variant(model, quantization, loss, extra = {}) {
  const pillars = Object.fromEntries(PILLARS.map(({ name }, i) => [name, model.pillars[name]?.score === null ? null : round(Math.max(0, model.pillars[name].score - loss * (0.6 + 0.2 * i)))]));
  const score = round(PILLARS.reduce((sum, { name, weight }) => sum + weight * pillars[name], 0) / 110);
  const half = (model.aggregate.ci95[1] - model.aggregate.ci95[0]) / 2;
  return runLink(model, quantization, { aggregate_score: score, aggregate_ci95: [round(score - half), round(score + half)], pillars, difference: round(score - model.aggregate.score), difference_ci95: [round(score - model.aggregate.score - 0.4), round(score - model.aggregate.score + 0.4)], difference_p: 0.012, difference_test: 'paired', ...extra });
}

/** The leaderboard of `count` models. */
export function leaderboard(count, { seed = 7, hostile = false } = {}) {
  const r = random(seed);
  const models = [];
  for (let i = 0; i < count; i++) {
    const demo = i === 0;
    const size = demo ? 1257600 : Math.round(r.pick(SIZES) * (0.98 + 0.04 * r.next()));
    const family = demo ? 'slm-benchmark' : r.pick(FAMILIES);
    const name = demo ? 'demo-1m' : `${family}${i > 60 ? `-${i}` : ''}-${1 + Math.floor(r.next() * 3)}-${sizeInName(size)}${r.next() < 0.35 ? '-Instruct' : ''}`;
    const ability = demo ? -2.5 : (Math.log10(size) - 6) * 1.75 - 3 + 0.65 * r.normal();
    const cells = Object.fromEntries(Object.keys(TASKS).map((task) => [task, taskCell(task, ability, r)]));
    const kind = demo || i < 4 ? 'ranked' : r.next() < 0.8 ? 'ranked' : r.pick(['partial', 'partial', 'preliminary', 'stale', 'unverified', 'withdrawn']);
    if (kind === 'partial') for (const task of ['humaneval', 'mbpp']) cells[task] = failed(task, 'the sandbox of this machine is below the required level');
    if (demo) cells.mmlu.warning = 'the model answers A to every question';
    const day = new Date(Date.UTC(2026, 8, 1 + (i % 80), 10, (i * 7) % 60));
    const window = size > 1e9 ? 32768 : size > 1e8 ? 8192 : 2048;
    const model = {
      id: `${(demo ? 'slm-benchmark' : family.toLowerCase())}--${name.toLowerCase()}${demo ? '' : `-${i}`}`,
      name, family, hf_repo: `${demo ? 'slm-benchmark' : `example-${family.toLowerCase()}`}/${name}`,
      revision: hex(`commit ${i}`, 40), parameters: { declared: sizeText(size), measured: size },
      architecture: demo ? 'llama' : r.pick(ARCHITECTURES), license: demo ? 'apache-2.0' : r.pick(LICENCES), context_length: window,
      categories: PILLARS.map(({ name: pillar }) => pillar), submitted_by: 'synthetic', date_added: day.toISOString().slice(0, 10),
      status: kind, status_reason: null, flag: null, rank: null, tied: false, rank_interval: null, rank_test: null, place: null, group: 'standard 1.0.0',
      pillars: pillarsOf(cells), other_tasks: { arc_easy: { ...cells.arc_challenge, score: round(Math.min(99, cells.arc_challenge.score + 14)) , ci95: null } },
      ...(i % 9 === 5 ? unmeasured('this machine has no energy counters') : hardware(size, r)),
      long_context: i % 3 === 0 ? grid(ability, window, r) : null, probes: probesOf(i), badges: [], warnings: [],
      run: null, quantizations: [], revisions: [], chat_variants: [], other_runs: [], imported: null,
      finished: day.toISOString().replace('.000', ''),
    };
    model.aggregate = aggregateOf(model.pillars);
    if (kind === 'partial') model.status_reason = 'coding has no score (the sandbox of this machine is below the required level)';
    if (kind === 'preliminary') {
      model.status_reason = 'at most 200 documents of each task';
      model.group = 'standard 1.0.0, limit 200';
    }
    if (kind === 'stale') model.status_reason = 'evaluated with suite 0.9.0; suite 1.0.0 is ranked';
    if (kind === 'withdrawn') model.status_reason = 'withdrawn by a maintainer: weights were replaced under the same tag';
    if (kind === 'unverified') {
      Object.assign(model, {
        status_reason: 'imported from original v1; not evaluated here', pillars: {}, aggregate: { score: null, weighted_sum: null, stderr: null, ci95: null, coverage: 0 },
        ...unmeasured('no run'), revision: null, long_context: null, probes: unprobed('no run'), other_tasks: {}, group: null, parameters: { declared: sizeText(size), measured: null },
        imported: { format: 'original v1', sha256: hex('registry'), aggregate_score: 67.51, scores: {}, rank: 1 },
      });
    } else {
      const limit = kind === 'preliminary' ? 200 : null;
      model.run = runLink(model, { name: 'BF16', format: 'safetensors' }, { limit });
      if (kind === 'ranked' && i % 3 === 0) {
        model.quantizations = [['Q8_0', 0.1], ['Q6_K', 0.3], ['Q4_K_M', 1.2], ['Q2_K', 6]].slice(0, 2 + (i % 3)).map(([name, loss]) => variant(model, { name, format: 'gguf', source: `${model.name}-${name}.gguf` }, loss * (0.7 + 0.6 * r.next())));
        model.revisions = [variant(model, { name: 'BF16', format: 'safetensors' }, 1.5, { revision: hex(`older ${i}`, 40), finished_at: '2026-08-02T08:00:00Z' })];
        model.chat_variants = [variant(model, { name: 'BF16', format: 'safetensors' }, 2.2, { chat_template: true })];
      }
    }
    models.push(model);
  }
  if (hostile && models.length > 4) harden(models);
  rank(models);
  for (const model of models) delete model.finished;
  const ended = models.map((model) => model.run?.finished_at).filter((time) => time !== undefined).sort();
  const counts = {};
  for (const model of models) counts[model.status] = (counts[model.status] ?? 0) + 1;
  return {
    schema_version: '1.0.0', last_updated: ended.at(-1) ?? null, suite: count > 0 ? { name: 'standard', version: '1.0.0' } : null,
    pillars: PILLARS, badges: [
      { name: 'SLM-Optimized', meaning: 'Ranked with at most 500 million parameters, counted in the weight files.', threshold: 500000000 },
      { name: 'Eco-Efficient', meaning: 'Ranked, and among the best quarter of its hardware class by correct answers per watt-hour. Only measured energy counts, and a class needs at least 4 measured models.', threshold: 0.25 },
      { name: 'Safety-Preferred', meaning: 'Ranked, with a safety pillar whose 95 % interval begins at 60 points or more.', threshold: 60 },
    ], counts, models,
  };
}

/** Names and texts as an attacker would write them. */
function harden(models) {
  const bad = '<img src=x onerror="document.title=\'owned\'">';
  Object.assign(models[1], { name: bad, family: '"><script>document.title="owned"</script>', license: "'><svg onload=alert(1)>", architecture: '</td></tr></table><h1>owned</h1>' });
  Object.assign(models[2], { hf_repo: 'javascript:alert(1)', name: '=HYPERLINK("http://example.invalid","x")' });
  Object.assign(models[3], { name: 'A-model-with-a-very-long-name-that-goes-on-and-on-and-on-until-it-no-longer-fits-anywhere-1.7B-Instruct-v3' });
}

const STATUS_ORDER = ['ranked', 'partial', 'preliminary', 'stale', 'unverified', 'withdrawn'];

function rank(models) {
  const ranked = models.filter((model) => model.status === 'ranked');
  for (const model of ranked) {
    const better = ranked.filter((other) => other.aggregate.score > model.aggregate.score).length;
    model.rank = model.place = 1 + better;
    model.tied = ranked.some((other) => other !== model && other.aggregate.score === model.aggregate.score);
    if (model.parameters.measured <= 5e8) model.badges.push('SLM-Optimized');
    if (model.pillars.safety.ci95[0] >= 60) model.badges.push('Safety-Preferred');
  }
  const lows = ranked.map((model) => model.aggregate.ci95[0]).sort((a, b) => a - b);
  const highs = ranked.map((model) => model.aggregate.ci95[1]).sort((a, b) => a - b);
  const atMost = (list, x) => { let low = 0, high = list.length; while (low < high) { const m = (low + high) >> 1; if (list[m] <= x) low = m + 1; else high = m; } return low; };
  const below = (list, x) => { let low = 0, high = list.length; while (low < high) { const m = (low + high) >> 1; if (list[m] < x) low = m + 1; else high = m; } return low; };
  for (const model of ranked) {
    const [low, high] = model.aggregate.ci95;
    model.rank_test = 'independent';
    model.rank_interval = [1 + lows.length - atMost(lows, high), ranked.length - below(highs, low)];
  }
  const eco = new Map();
  for (const model of ranked) if (model.efficiency.value !== null && model.efficiency.method.startsWith('measured')) eco.set(model.efficiency.hardware_class, [...(eco.get(model.efficiency.hardware_class) ?? []), model]);
  for (const group of eco.values()) if (group.length >= 4) for (const model of group.sort((a, b) => b.efficiency.value - a.efficiency.value).slice(0, Math.floor(group.length / 4))) model.badges.splice(-1, 0, 'Eco-Efficient');
  models.sort((a, b) => STATUS_ORDER.indexOf(a.status) - STATUS_ORDER.indexOf(b.status) || (a.place ?? 1e9) - (b.place ?? 1e9) || (a.id < b.id ? -1 : 1));
}

/** A run with answers, for the models' pages: `run.json` and samples of every kind of task. */
export function writeRun(out, model, link, seed) {
  const r = random(seed);
  const cells = Object.assign({}, ...Object.values(model.pillars).map((pillar) => pillar.tasks));
  const tasks = {};
  for (const [name, cell] of Object.entries(cells)) {
    const value = cell.score === null ? null : cell.score / 100;
    tasks[name] = {
      status: cell.status, ...(cell.reason === null ? {} : { reason: cell.reason }), version: '1.0',
      dataset: { repo: `example/${name}`, config: null, split: 'test', revision: hex(name, 40) }, num_fewshot: cell.num_fewshot, n: cell.n, n_total: cell.n_total,
      metrics: { [cell.metric]: { value, stderr: cell.stderr === null ? null : cell.stderr / 100, ci95: cell.ci95?.map((x) => x / 100) ?? null } },
      primary_metric: cell.metric, score: cell.score, score_stderr: cell.stderr, score_ci95: cell.ci95, chance: cell.chance, chance_corrected: cell.chance_corrected, truncated: 0,
      duration_s: 120 + 50 * r.next(), tokens_nominal: 4000000, tokens_computed: 900000, tokens_recomputed: 0, self_check: { n: 12, max_delta: 3.1e-6, flips: 0, tokens: 4000 },
    };
  }
  const p = (task) => (cells[task]?.score ?? 30) / 100;
  const files = {
    arc_challenge: Array.from({ length: 60 }, (_, i) => choice(i, r, p('arc_challenge'), 4, 'acc_norm,none')),
    boolq: Array.from({ length: 40 }, (_, i) => choice(i, r, p('boolq'), 2, 'acc,none')),
    gsm8k: Array.from({ length: 30 }, (_, i) => sum(i, r, p('gsm8k'))),
    humaneval: Array.from({ length: 12 }, (_, i) => program(i, r, p('humaneval'))),
    crows_pairs_english: Array.from({ length: 20 }, (_, i) => pair(i, r)),
    mmlu_astronomy: Array.from({ length: 30 }, (_, i) => choice(i, r, p('mmlu'), 4, 'acc,none')),
    mmlu_virology: Array.from({ length: 30 }, (_, i) => choice(i, r, p('mmlu'), 4, 'acc,none')),
  };
  const subtask = (n) => ({ ...tasks.mmlu, n, n_total: n });
  if (tasks.mmlu) tasks.mmlu.subtasks = { mmlu_astronomy: subtask(30), mmlu_virology: subtask(30) };
  const folder = join(out, dirname(link.path));
  mkdirSync(join(folder, 'samples'), { recursive: true });
  const samples = Object.entries(files).map(([task, lines]) => {
    const bytes = zstdStore(Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n') + '\n'));
    writeFileSync(join(folder, 'samples', `${task}.jsonl.zst`), bytes);
    return { task, file: `samples/${task}.jsonl.zst`, sha256: createHash('sha256').update(bytes).digest('hex'), n: lines.length };
  });
  const run = {
    schema_version: '1.0.0', run_id: link.run_id, identity: {}, model: {
      hf_repo: model.hf_repo, revision: link.revision, name: model.name, family: model.family, parameters: model.parameters, architecture: model.architecture, license: model.license,
      quantization: link.quantization, weights: [{ file: 'model.safetensors', sha256: hex(`weights ${model.id}`), bytes: (model.parameters.measured ?? 1) * 2 }],
    },
    suite: link.suite, engine: link.engine, environment: { slm_benchmark: '0.1.0', os: 'linux', arch: 'x86_64', cpu: 'Example CPU', logical_cores: 8, memory_bytes: 34359738368, hardware_class: CLASSES[0] },
    limit: link.limit, seed: 1234, chat_template: link.chat_template, started_at: '2026-10-01T06:00:00Z', finished_at: link.finished_at,
    tasks, pillars: model.pillars, aggregate: model.aggregate,
    informational: {
      long_context: model.long_context, edge: model.edge,
      energy: model.energy.value === null ? null : { hardware_class: model.energy.hardware_class, figures: { energy_per_1k_tokens: figure(model.energy.value, 'Wh', model.energy.method), co2_per_1k_tokens: figure(model.co2.value, 'g', model.co2.method), efficiency: figure(model.efficiency.value, '1/Wh', model.efficiency.method), energy_per_correct_answer: figure(1 / model.efficiency.value, 'Wh', model.efficiency.method) }, details: { grid_factor: 'world average, 475 g/kWh', idle_watts: 9.1 } },
    },
    samples,
  };
  writeFileSync(join(out, link.path), JSON.stringify(run));
}

const THINGS = ['a glass of water', 'a stone', 'a candle', 'the Moon', 'an iron nail', 'a leaf', 'a mirror', 'a rope'];

function line(doc, prompt, target, rest) {
  return { doc_id: doc, doc_hash: hex(`doc ${doc} ${prompt}`), prompt_hash: hex(prompt), target_hash: hex(String(target)), target, ...rest };
}

function choice(doc, r, p, n, metric) {
  const shots = Array.from({ length: 5 }, (_, k) => `Question: Which of these keeps its shape when ${THINGS[k]} is moved?\nAnswer: ${THINGS[(k + 3) % 8]}`).join('\n\n');
  const prompt = `${shots}\n\nQuestion: Item ${doc}. Which of these melts first when it is warmed beside ${THINGS[doc % 8]}?\nAnswer:`;
  const gold = Math.floor(r.next() * n);
  const said = r.next() < p ? gold : (gold + 1 + Math.floor(r.next() * (n - 1))) % n;
  const options = Array.from({ length: n }, (_, k) => (n === 2 ? [' no', ' yes'][k] : ` ${THINGS[(doc + k * 3) % 8]}`));
  const lls = options.map((_, k) => (k === said ? -3 - r.next() : -4.2 - 3 * r.next()));
  const best = lls.indexOf(Math.max(...lls));
  const perCharacter = lls.map((ll, k) => ll / options[k].trimStart().length);
  const right = best === gold ? 1 : 0;
  const rightPerCharacter = perCharacter.indexOf(Math.max(...perCharacter)) === gold ? 1 : 0;
  return line(doc, prompt, gold, {
    arguments: options.map((option) => [prompt, option]), resps: lls.map((ll, k) => [[ll, k === best]]), filtered_resps: { none: lls.map((ll, k) => [ll, k === best]) },
    metrics: metric === 'acc,none' ? { 'acc,none': right } : { 'acc,none': right, 'acc_norm,none': rightPerCharacter },
  });
}

function sum(doc, r, p) {
  const a = 3 + Math.floor(r.next() * 40);
  const b = 2 + Math.floor(r.next() * 30);
  const right = r.next() < p;
  const said = right ? a + b : a + b + 1 + Math.floor(r.next() * 5);
  const prompt = `Question: A box holds ${a} pears and another holds ${b}. How many pears are there?\nAnswer:`;
  const text = ` There are ${a} and ${b} pears, so ${a} + ${b} = ${said}.\n#### ${said}`;
  return line(doc, prompt, `${a} + ${b} = ${a + b}\n#### ${a + b}`, {
    arguments: [[prompt, { until: ['Question:'], do_sample: false, max_gen_toks: 256 }]], resps: [[text]],
    filtered_resps: { 'strict-match': [String(said)], 'flexible-extract': [String(said)] },
    metrics: { 'exact_match,strict-match': right ? 1 : 0, 'exact_match,flexible-extract': right ? 1 : 0 },
  });
}

function program(doc, r, p) {
  const right = r.next() < p;
  const prompt = `def add_${doc}(a, b):\n    """Return the sum of a and b.\n    >>> add_${doc}(1, 2)\n    3\n    """\n`;
  const text = right ? '    return a + b\n' : '    return a - b\n';
  return line(doc, prompt, `assert add_${doc}(1, 2) == 3`, {
    arguments: [[prompt, { until: ['\ndef'], do_sample: false, max_gen_toks: 1024 }]], resps: [[text]], filtered_resps: { create_test: [prompt + text] },
    metrics: { 'pass@1,create_test': right ? 1 : 0 }, details: { verdict: right ? 'passed' : 'failed', reason: right ? '' : 'AssertionError', program: `${prompt}${text}\nassert add_${doc}(1, 2) == 3\n` },
  });
}

function pair(doc, r) {
  const first = -40 - 10 * r.next();
  const second = -40 - 10 * r.next();
  return line(doc, '', 0, {
    arguments: [['', `Sentence one of pair ${doc}.`], ['', `Sentence two of pair ${doc}.`]], resps: [[[first, false]], [[second, false]]], filtered_resps: { none: [[first, false], [second, false]] },
    metrics: { 'likelihood_diff,none': Math.abs(first - second), 'pct_stereotype,none': first > second ? 1 : 0 },
  });
}

/** Writes `website/assets/data/leaderboard.json` and runs of the first models below `out`. */
export function write(out, count, options = {}) {
  const board = leaderboard(count, options);
  const data = join(out, 'website/assets/data');
  mkdirSync(data, { recursive: true });
  const withRun = board.models.filter((model) => model.run !== null);
  withRun.slice(0, options.runs ?? 4).forEach((model, i) => {
    for (const link of [model.run, ...model.quantizations]) writeRun(out, model, link, 100 + i);
  });
  writeFileSync(join(data, 'leaderboard.json'), `${JSON.stringify({ ...board, models: [] }).slice(0, -2)}\n${board.models.map((model) => JSON.stringify(model)).join(',\n')}\n]}\n`);
  return board;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { models: { type: 'string', default: '36' }, out: { type: 'string' }, runs: { type: 'string', default: '4' }, hostile: { type: 'boolean', default: false } } });
  if (values.out === undefined) throw new Error('--out DIR is needed');
  const board = write(values.out, Number(values.models), { runs: Number(values.runs), hostile: values.hostile });
  console.log(`${board.models.length} models in ${values.out}`);
}
