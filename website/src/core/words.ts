// What the names on the site mean. One place, so that the table, the plots and the pages say the same.

import type { BadgeMeaning, FigureName, Pillar, Status } from '../data/model.ts';

export const PILLAR_LABEL: Readonly<Record<Pillar, string>> = {
  reasoning: 'Reasoning',
  coding: 'Coding',
  math: 'Math',
  language: 'Language',
  safety: 'Safety',
};

export const PILLAR_MEANING: Readonly<Record<Pillar, string>> = {
  reasoning: 'Mean of MMLU, ARC-Challenge, HellaSwag and TruthfulQA (mc2). Weight 35 of 110.',
  coding: 'Mean of HumanEval and MBPP, pass@1, programs run in a sandbox. Weight 20 of 110.',
  math: 'Mean of GSM8K and MathQA. Weight 15 of 110.',
  language: 'Mean of BoolQ, PIQA and WinoGrande. Weight 20 of 110.',
  safety: 'Mean of ToxiGen, CrowS-Pairs, BBQ and TruthfulQA (mc1). Weight 20 of 110.',
};

export const STATUS_LABEL: Readonly<Record<Status, string>> = {
  ranked: 'Ranked',
  partial: 'Partial',
  preliminary: 'Preliminary',
  stale: 'Older suite',
  unverified: 'Unverified',
  withdrawn: 'Withdrawn',
};

export const STATUS_MEANING: Readonly<Record<Status, string>> = {
  ranked: 'All five pillars on the full question sets.',
  partial: 'At least one pillar has no score; such a model has no rank.',
  preliminary: 'A quick or limited run; it is never ranked with full runs.',
  stale: 'Complete, but by an older version of the suite; versions are never ranked together.',
  unverified: 'Imported without the answers that would prove it; never ranked.',
  withdrawn: 'Taken out of the ranking by a maintainer; the reason is given.',
};

export interface FigureWords {
  readonly label: string;
  readonly unit: string;
  readonly meaning: string;
  readonly lowerIsBetter: boolean;
}

export const FIGURE_WORDS: Readonly<Record<FigureName, FigureWords>> = {
  decode_speed: { label: 'Decode speed', unit: 'tokens/s', meaning: 'Generated tokens per second on the row’s hardware class. Informational: never part of the score.', lowerIsBetter: false },
  prefill_speed: { label: 'Prefill speed', unit: 'tokens/s', meaning: 'Prompt tokens read per second on the row’s hardware class.', lowerIsBetter: false },
  time_to_first_token: { label: 'First token', unit: 's', meaning: 'Seconds from the request to the first generated token.', lowerIsBetter: true },
  load_time: { label: 'Load time', unit: 's', meaning: 'Seconds to load the model from disk.', lowerIsBetter: true },
  peak_memory: { label: 'Peak memory', unit: 'bytes', meaning: 'Largest resident memory of a fresh process.', lowerIsBetter: true },
  size_on_disk: { label: 'Size on disk', unit: 'bytes', meaning: 'Bytes of the weight files.', lowerIsBetter: true },
  energy_per_1k_tokens: { label: 'Energy', unit: 'Wh per 1,000 tokens', meaning: 'Watt-hours per 1,000 tokens, with its method: measured by counters or estimated.', lowerIsBetter: true },
  energy_per_correct_answer: { label: 'Energy per answer', unit: 'Wh per correct answer', meaning: 'Watt-hours per correct answer.', lowerIsBetter: true },
  co2_per_1k_tokens: { label: 'CO₂', unit: 'g per 1,000 tokens', meaning: 'Grams of CO₂ per 1,000 tokens: energy times a stated grid factor.', lowerIsBetter: true },
  co2_per_correct_answer: { label: 'CO₂ per answer', unit: 'g per correct answer', meaning: 'Grams of CO₂ per correct answer.', lowerIsBetter: true },
  efficiency: { label: 'Efficiency', unit: 'correct answers per Wh', meaning: 'Correct answers per watt-hour, within one hardware class.', lowerIsBetter: false },
};

export const METHOD_LABEL: Readonly<Record<string, string>> = {
  measured: 'measured',
  measured_rapl: 'measured by processor counters (RAPL)',
  measured_nvml: 'measured by GPU counters (NVML)',
  estimated_tdp: 'estimated from the processor’s rated power',
  unavailable: 'not available',
};

const BADGES = new Map<string, string>([
  ['SLM-Optimized', 'Ranked with at most 500 million parameters, counted in the weight files.'],
  ['Eco-Efficient', 'Ranked, and among the best quarter of its hardware class by correct answers per measured watt-hour.'],
  ['Safety-Preferred', 'Ranked, with a safety pillar whose 95 % interval begins at 60 points or more.'],
]);

/** Takes the meanings that the leaderboard itself states. */
export function learnBadges(badges: readonly BadgeMeaning[]): void {
  for (const { name, meaning } of badges) BADGES.set(name, meaning);
}

/** Name and meaning of each badge. */
export function knownBadges(): (readonly [string, string])[] {
  return [...BADGES];
}

/** What a badge means. */
export function badgeMeaning(name: string): string {
  return BADGES.get(name) ?? 'A badge of this leaderboard; see the methodology.';
}

/** Task names as people know them. */
export const TASK_LABEL: Readonly<Record<string, string>> = {
  mmlu: 'MMLU',
  arc_challenge: 'ARC-Challenge',
  arc_easy: 'ARC-Easy',
  hellaswag: 'HellaSwag',
  truthfulqa_mc1: 'TruthfulQA mc1',
  truthfulqa_mc2: 'TruthfulQA mc2',
  humaneval: 'HumanEval',
  mbpp: 'MBPP',
  gsm8k: 'GSM8K',
  mathqa: 'MathQA',
  boolq: 'BoolQ',
  piqa: 'PIQA',
  winogrande: 'WinoGrande',
  toxigen: 'ToxiGen',
  crows_pairs_english: 'CrowS-Pairs',
  bbq: 'BBQ',
  lambada_openai: 'LAMBADA',
  wikitext: 'WikiText',
  asdiv: 'ASDiv',
};

export function taskLabel(name: string): string {
  return TASK_LABEL[name] ?? name;
}
