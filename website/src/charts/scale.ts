// Scales and round ticks.

export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
}

/** Linear scale whose ends are the data's, widened a little. */
export function linear(low: number, high: number, from: number, to: number, wanted = 6): Scale {
  const span = Math.max(high - low, 1e-9);
  const step = niceStep(span / wanted);
  const ticks: number[] = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) ticks.push(Number(t.toPrecision(12)));
  return Object.assign((value: number) => from + ((value - low) / span) * (to - from), { ticks });
}

/** Logarithmic scale with ticks at 1, 2 and 5 times the powers of ten. */
export function logarithmic(low: number, high: number, from: number, to: number): Scale {
  const a = Math.log(low);
  const span = Math.max(Math.log(high) - a, 1e-9);
  const decades = span / Math.LN10;
  const steps = decades > 5 ? [1] : decades > 2.5 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const m of steps) {
      const t = m * 10 ** e;
      if (t >= low * 0.999 && t <= high * 1.001) ticks.push(Number(t.toPrecision(6)));
    }
  }
  return Object.assign((value: number) => from + ((Math.log(value) - a) / span) * (to - from), { ticks });
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const share = raw / power;
  return (share > 5 ? 10 : share > 2 ? 5 : share > 1 ? 2 : 1) * power;
}

export const px = (x: number): number => Math.round(x * 10) / 10;
