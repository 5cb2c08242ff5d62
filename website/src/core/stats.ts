// Tests between two models on the same questions, as in the paired tests of src/statistics.

/** Two-sided p-value of a standard normal z: erf by its Taylor series near 0, erfc by its continued fraction farther out. */
export function twoSided(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  if (x > 6) return 0;
  if (x < 2.5) {
    // erf by its Taylor series.
    let term = x;
    let sum = x;
    for (let n = 1; n < 200; n++) {
      term *= (-x * x) / n;
      const add = term / (2 * n + 1);
      sum += add;
      if (Math.abs(add) < 1e-17) break;
    }
    return Math.max(0, 1 - (2 / Math.sqrt(Math.PI)) * sum);
  }
  // erfc by its continued fraction, from the far end.
  let f = 0;
  for (let n = 60; n >= 1; n--) f = n / 2 / (x + f);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + f);
}

/** Exact McNemar test: two-sided binomial p-value of `b` against `c` discordant pairs. */
export function mcnemar(b: number, c: number): number {
  const n = b + c;
  if (n === 0) return 1;
  const k = Math.min(b, c);
  // Sum of binomial(n, i) / 2^n for i up to k, in logarithms so that large n does not underflow.
  let log = -n * Math.LN2;
  let sum = Math.exp(log);
  for (let i = 1; i <= k; i++) {
    log += Math.log((n - i + 1) / i);
    sum += Math.exp(log);
  }
  return Math.min(1, 2 * sum);
}

/** Holm's correction: adjusted p-values in the order given. */
export function holm(ps: readonly number[]): number[] {
  const order = ps.map((p, i) => [p, i] as const).sort((a, b) => a[0] - b[0]);
  const out = new Array<number>(ps.length).fill(1);
  let highest = 0;
  order.forEach(([p, i], rank) => {
    highest = Math.max(highest, Math.min(1, p * (ps.length - rank)));
    out[i] = highest;
  });
  return out;
}

export const Z95 = 1.959963984540054;

export interface Difference {
  /** In points. */
  readonly value: number;
  readonly stderr: number;
  readonly p: number;
}

/** Difference of two scores whose questions are not matched: cautious, since matched questions vary together. */
export function unpaired(a: { value: number; interval: readonly [number, number] }, b: { value: number; interval: readonly [number, number] }): Difference {
  const half = (i: readonly [number, number]): number => (i[1] - i[0]) / 2 / Z95;
  const stderr = Math.hypot(half(a.interval), half(b.interval));
  const value = a.value - b.value;
  return { value, stderr, p: stderr > 0 ? twoSided(value / stderr) : value === 0 ? 1 : 0 };
}

export interface Paired extends Difference {
  readonly n: number;
  readonly bothRight: number;
  readonly onlyA: number;
  readonly onlyB: number;
  readonly bothWrong: number;
  /** McNemar for answers that are right or wrong, else the normal approximation of the mean difference. */
  readonly test: 'McNemar' | 'normal';
}

/**
 * Paired difference of 100 times the means, over questions that both answered. With `bias`, the score is
 * 100·(1 − 2·|mean − 0.5|), linearised at each mean.
 */
export function paired(a: readonly number[], b: readonly number[], bias = false): Paired {
  const n = Math.min(a.length, b.length);
  const mean = (values: readonly number[]): number => values.slice(0, n).reduce((sum, x) => sum + x, 0) / Math.max(n, 1);
  const meanA = mean(a);
  const meanB = mean(b);
  const slope = (m: number): number => (bias ? -200 * Math.sign(m - 0.5) : 100);
  const points = (m: number): number => (bias ? 100 * (1 - 2 * Math.abs(m - 0.5)) : 100 * m);
  const sa = slope(meanA);
  const sb = slope(meanB);
  let squares = 0;
  let bothRight = 0;
  let onlyA = 0;
  let onlyB = 0;
  let bothWrong = 0;
  let binary = true;
  for (let i = 0; i < n; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    const d = sa * (x - meanA) - sb * (y - meanB);
    squares += d * d;
    if ((x !== 0 && x !== 1) || (y !== 0 && y !== 1)) binary = false;
    if (x >= 0.5 && y >= 0.5) bothRight++;
    else if (x >= 0.5) onlyA++;
    else if (y >= 0.5) onlyB++;
    else bothWrong++;
  }
  const value = points(meanA) - points(meanB);
  const stderr = n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0;
  const exact = binary && !bias;
  const p = exact ? mcnemar(onlyA, onlyB) : stderr > 0 ? twoSided(value / stderr) : 1;
  return { value, stderr, p, n, bothRight, onlyA, onlyB, bothWrong, test: exact ? 'McNemar' : 'normal' };
}
