// The reader's own weights, with the arithmetic of the published ranking (src/leaderboard/pillars.rs): the sum of weight times
// pillar, in the order of the pillars, over the sum of the weights. A missing pillar leaves the model without rank.

import { PILLARS, WEIGHTS } from '../data/model.ts';
import type { Interval, Measured, Pillar, Row, Weights } from '../data/model.ts';

export interface Standing {
  readonly rank: number | null;
  readonly rankInterval: Interval | null;
  readonly aggregate: Measured;
}

export function isPublished(weights: Weights): boolean {
  return PILLARS.every((pillar) => weights[pillar] === WEIGHTS[pillar]);
}

export function totalWeight(weights: Weights): number {
  let total = 0;
  for (const pillar of PILLARS) total += weights[pillar];
  return total;
}

/** The weighted mean of the pillars, or null where one is missing or all weights are zero. */
export function aggregate(pillars: Readonly<Record<Pillar, { readonly value: number | null }>>, weights: Weights): number | null {
  const total = totalWeight(weights);
  if (!(total > 0)) return null;
  let sum = 0;
  for (const pillar of PILLARS) {
    const value = pillars[pillar].value;
    if (value === null) return null;
    sum += weights[pillar] * value;
  }
  return sum / total;
}

/** Interval of a weighted mean from the pillars' intervals, with pillars taken as independent. */
export function aggregateInterval(row: Row, weights: Weights, value: number): Interval | null {
  let sum = 0;
  for (const pillar of PILLARS) {
    const interval = row.pillars[pillar].interval;
    if (interval === null) return null;
    const half = (weights[pillar] * (interval[1] - interval[0])) / 2;
    sum += half * half;
  }
  const half = Math.sqrt(sum) / totalWeight(weights);
  return [Math.max(0, value - half), Math.min(100, value + half)];
}

/**
 * Ranks under any weights. Only rows that the published ranking ranks compete; equal scores share a rank. The rank interval is
 * the published one's (src/leaderboard/ranking.rs): 1 + the models whose whole interval lies above, up to the number of models
 * whose interval does not lie wholly below; a model without interval could stand anywhere.
 */
export function standings(rows: readonly Row[], weights: Weights): Map<string, Standing> {
  const out = new Map<string, Standing>();
  const competing: { row: Row; value: number; interval: Interval | null }[] = [];
  for (const row of rows) {
    const value = aggregate(row.pillars, weights);
    if (value === null) {
      const missing = PILLARS.filter((pillar) => row.pillars[pillar].value === null);
      const reason = missing.length > 0 ? `no score for ${missing.join(', ')}` : 'all weights are zero';
      out.set(row.slug, { rank: null, rankInterval: null, aggregate: { value: null, interval: null, reason } });
      continue;
    }
    const interval = aggregateInterval(row, weights, value);
    if (row.status === 'ranked') competing.push({ row, value, interval });
    else out.set(row.slug, { rank: null, rankInterval: null, aggregate: { value, interval, reason: null } });
  }
  competing.sort((a, b) => b.value - a.value || compareText(a.row.slug, b.row.slug));
  const known = competing.flatMap((c) => (c.interval === null ? [] : [c.interval]));
  const lows = known.map((interval) => interval[0]).sort((a, b) => a - b);
  const highs = known.map((interval) => interval[1]).sort((a, b) => a - b);
  let rank = 0;
  competing.forEach((c, i) => {
    if (i === 0 || competing[i - 1]?.value !== c.value) rank = i + 1;
    const rankInterval: Interval =
      c.interval === null
        ? [1, competing.length]
        : [1 + lows.length - upperBound(lows, c.interval[1]), competing.length - lowerBound(highs, c.interval[0])];
    out.set(c.row.slug, { rank, rankInterval, aggregate: { value: c.value, interval: c.interval, reason: null } });
  });
  return out;
}

/** Number of values ≤ x in an ascending list. */
function upperBound(sorted: readonly number[], x: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Number of values < x in an ascending list. */
function lowerBound(sorted: readonly number[], x: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Order of code points, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const publishedOnce = new WeakMap<Row, Standing>();

/** The standing that the leaderboard publishes. */
export function published(row: Row): Standing {
  let standing = publishedOnce.get(row);
  if (standing === undefined) {
    standing = { rank: row.rank, rankInterval: row.rankInterval, aggregate: row.aggregate };
    publishedOnce.set(row, standing);
  }
  return standing;
}

/** Two ranked models are a statistical tie when each one's rank interval holds the other's rank. */
export function tied(a: Standing, b: Standing): boolean {
  if (a.rank === null || b.rank === null || a.rankInterval === null || b.rankInterval === null) return false;
  return a.rankInterval[0] <= b.rank && b.rank <= a.rankInterval[1] && b.rankInterval[0] <= a.rank && a.rank <= b.rankInterval[1];
}
