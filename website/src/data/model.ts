// What the pages work with. `leaderboard.ts` is the only module that knows how the published file spells it.

export const PILLARS = ['reasoning', 'coding', 'math', 'language', 'safety'] as const;
export type Pillar = (typeof PILLARS)[number];

/** The published weights. They add up to 110 and are divided by their sum. */
export const WEIGHTS: Readonly<Record<Pillar, number>> = { reasoning: 35, coding: 20, math: 15, language: 20, safety: 20 };

export type Weights = Readonly<Record<Pillar, number>>;

/** A 95 % interval. */
export type Interval = readonly [low: number, high: number];

/** A value that may be missing; then the reason says why. */
export interface Measured {
  readonly value: number | null;
  readonly interval: Interval | null;
  readonly reason: string | null;
}

/** A figure of one machine. */
export interface Figure extends Measured {
  readonly unit: string;
  /** `measured`, `measured_rapl`, `measured_nvml`, `estimated_tdp`, `unavailable`. */
  readonly method: string;
}

export const FIGURES = [
  'decode_speed',
  'prefill_speed',
  'time_to_first_token',
  'load_time',
  'peak_memory',
  'size_on_disk',
  'energy_per_1k_tokens',
  'energy_per_correct_answer',
  'co2_per_1k_tokens',
  'co2_per_correct_answer',
  'efficiency',
] as const;
export type FigureName = (typeof FIGURES)[number];

export const STATUSES = ['ranked', 'partial', 'preliminary', 'stale', 'unverified', 'withdrawn'] as const;
export type Status = (typeof STATUSES)[number];

/** One row of the ranking: what the index needs of a model. */
export interface Row {
  readonly slug: string;
  readonly name: string;
  readonly family: string;
  readonly repo: string;
  readonly revision: string | null;
  /** Number of parameters: counted in the files, else as declared. */
  readonly size: number | null;
  readonly sizeIsDeclared: boolean;
  readonly architecture: string;
  readonly licence: string;
  readonly status: Status;
  /** Why the row is not ranked, or what else a reader has to know. */
  readonly note: string | null;
  readonly rank: number | null;
  readonly rankInterval: Interval | null;
  readonly aggregate: Measured;
  readonly weightedSum: number | null;
  /** Share of the weights that has scores, 0 to 1. */
  readonly coverage: number;
  readonly pillars: Readonly<Record<Pillar, Measured>>;
  readonly longContext: Measured;
  /** Share of questions whose answer depends on the order of the options. Never part of a score. */
  readonly choiceOrder: Measured;
  /** Accuracy without the questions. Never part of a score. */
  readonly answerOnly: Measured;
  readonly hardwareClass: string | null;
  readonly figures: Readonly<Partial<Record<FigureName, Figure>>>;
  /** Quantization of the ranked run first. */
  readonly quantizations: readonly string[];
  readonly badges: readonly string[];
  /** `standard 1`, … */
  readonly suite: string;
  /** Day of the last run, `YYYY-MM-DD`. */
  readonly date: string | null;
}

/** What probes found about one task. */
export interface TaskProbes {
  readonly name: string;
  readonly order: { readonly n: number; readonly changed: Measured; readonly accuracies: readonly (number | null)[] };
  readonly answer: { readonly n: number; readonly accuracy: Measured; readonly withQuestion: number | null; readonly chance: number | null };
}

export interface Task {
  readonly name: string;
  readonly status: string;
  readonly reason: string | null;
  readonly score: Measured;
  readonly chance: number | null;
  readonly corrected: number | null;
  readonly n: number | null;
  readonly total: number | null;
  readonly fewshot: number | null;
  readonly metric: string | null;
  readonly warning: string | null;
}

/** A run of a model, and where its artifacts are. */
export interface Run {
  readonly id: string;
  /** Path of `run.json`, relative to the site, such as `results/raw/slug/id/run.json`. */
  readonly path: string;
  readonly sha256: string;
  readonly revision: string;
  readonly quantization: string;
  readonly format: string;
  readonly suite: string;
  readonly limit: number | null;
  readonly chatTemplate: boolean;
  readonly engine: string;
  readonly device: string;
  readonly dtype: string;
  readonly program: string;
  readonly date: string;
  readonly aggregate: Measured;
  readonly pillars: Readonly<Partial<Record<Pillar, number | null>>>;
  /** Aggregate less that of the run that the row shows, where both answered the same questions. */
  readonly difference: number | null;
  readonly differenceInterval: Interval | null;
  readonly differenceP: number | null;
  /** The difference was tested question by question. */
  readonly differencePaired: boolean;
}

/** Everything the leaderboard knows of one model. */
export interface Model extends Row {
  readonly declaredSize: string;
  readonly measuredSize: number | null;
  readonly contextLength: number | null;
  readonly submittedBy: string;
  readonly dateAdded: string | null;
  /** Which questions were answered; only rows of one group can be compared. */
  readonly group: string | null;
  /** Place among the rows of the same group and status. */
  readonly place: number | null;
  readonly pillarTasks: Readonly<Record<Pillar, readonly Task[]>>;
  readonly otherTasks: readonly Task[];
  readonly run: Run | null;
  readonly quantizationRuns: readonly Run[];
  readonly revisionRuns: readonly Run[];
  readonly chatRuns: readonly Run[];
  readonly otherRuns: readonly Run[];
  readonly longContextGrid: Grid | null;
  /** By task; none without probes. */
  readonly taskProbes: readonly TaskProbes[];
  /** Figures of an imported row, as text for people. */
  readonly imported: string | null;
}

/** Needles found, by length of the context and depth in it. */
export interface Grid {
  readonly lengths: readonly number[];
  readonly depths: readonly number[];
  readonly cells: readonly { readonly length: number; readonly depth: number; readonly value: number | null; readonly n: number | null }[];
}

export interface BadgeMeaning {
  readonly name: string;
  readonly meaning: string;
}

/** Facts about the whole leaderboard. */
export interface Summary {
  readonly schemaVersion: string;
  readonly lastUpdated: string | null;
  readonly suite: string | null;
  readonly total: number;
  readonly ranked: number;
  readonly badges: readonly BadgeMeaning[];
}

export interface Leaderboard {
  readonly summary: Summary;
  readonly models: readonly Model[];
}

/** Why a row has no probes, where it says nothing else. */
export const UNPROBED = 'not measured in this run';

export const absent = (reason: string | null = null): Measured => ({ value: null, interval: null, reason });
