// Numbers as people read them. A missing number is always a dash with a reason beside it, never 0.

export const MISSING = '–';

/** A score in [0, 100] with one decimal. */
export function score(value: number | null): string {
  return value === null ? MISSING : value.toFixed(1);
}

/** Half the width of an interval, as `±1.2`. */
export function halfWidth(low: number, high: number): string {
  return `±${((high - low) / 2).toFixed(1)}`;
}

/** Signed difference, as `+1.2` or `−0.4` (with a real minus sign). */
export function signed(value: number, digits = 1): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? '−' : '+') + text;
}

/** A number of parameters, as `135M` or `1.7B`. */
export function size(parameters: number | null): string {
  if (parameters === null) return MISSING;
  if (parameters >= 999.5e6) return `${short(parameters / 1e9)}B`;
  if (parameters >= 999.5e3) return `${short(parameters / 1e6)}M`;
  if (parameters >= 1000) return `${short(parameters / 1e3)}K`;
  return String(parameters);
}

function short(value: number): string {
  const text = value >= 100 ? value.toFixed(0) : value.toPrecision(value >= 10 ? 3 : 2);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** Three significant digits, without exponent for ordinary magnitudes. */
export function quantity(value: number | null): string {
  if (value === null) return MISSING;
  const abs = Math.abs(value);
  if (abs === 0) return '0';
  if (abs >= 1000) return Math.round(value).toLocaleString('en-GB');
  if (abs >= 100) return value.toFixed(0);
  if (abs >= 10) return value.toFixed(1);
  if (abs >= 1) return value.toFixed(2);
  if (abs >= 0.001) return String(Number(value.toPrecision(3)));
  return value.toExponential(1).replace('e-', 'e−');
}

/** Bytes in the units that memory is sold in. */
export function bytes(value: number | null): string {
  if (value === null) return MISSING;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${quantity(rest)} ${units[unit] ?? ''}`;
}

/** A p-value as it is printed in papers. */
export function pValue(p: number): string {
  if (p < 0.001) return 'p < 0.001';
  return `p = ${p.toFixed(3)}`;
}

/** Whole numbers with thin grouping. */
export function count(value: number): string {
  return value.toLocaleString('en-GB');
}

/** `2026-11-23` of an RFC 3339 time; anything else comes back as it is. */
export function day(time: string | null): string {
  if (time === null) return MISSING;
  return /^\d{4}-\d{2}-\d{2}/.test(time) ? time.slice(0, 10) : time;
}

/** First letters of a digest or commit. */
export function shortHash(hash: string | null): string {
  return hash === null ? MISSING : hash.slice(0, 10);
}
