// Unpacks and reads sample files away from the page: a file may hold 10,000 questions.

import { Decompress } from 'fzstd';

export interface OpenRequest {
  readonly id: number;
  readonly kind: 'open';
  readonly url: string;
  readonly sha256: string;
  /** Keys of `metrics` to try, in order. */
  readonly metrics: readonly string[];
}

export interface ReadRequest {
  readonly id: number;
  readonly kind: 'read';
  readonly url: string;
  readonly lines: readonly number[];
}

export interface Opened {
  readonly docIds: number[];
  readonly values: (number | null)[];
  readonly bytes: number;
  readonly unpacked: number;
  /** Whether the file is the one that run.json names; null where the browser cannot tell. */
  readonly verified: boolean | null;
}

export interface SampleLine {
  readonly doc_id: number;
  readonly doc_hash: string;
  readonly prompt_hash: string;
  readonly target: unknown;
  readonly arguments: unknown[];
  readonly resps: unknown[];
  readonly filtered_resps: Record<string, unknown>;
  readonly metrics: Record<string, unknown>;
  readonly details?: unknown;
}

/** Below this the unpacked lines are kept; above, a page unpacks the file again and keeps what it needs. */
const KEEP = 48 * 1024 * 1024;
const FILES = 6;

interface File {
  readonly packed: Uint8Array;
  lines: Uint8Array[] | null;
}

const files = new Map<string, File>();
const text = new TextDecoder();

/** Calls back with each line, in order; frames that follow each other are one file. */
function scan(packed: Uint8Array, each: (line: Uint8Array, index: number) => void): number {
  let rest: Uint8Array | null = null;
  let index = 0;
  let total = 0;
  const stream = new Decompress((chunk) => {
    total += chunk.length;
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      let line = chunk.subarray(start, end);
      if (rest !== null) {
        const whole: Uint8Array = new Uint8Array(rest.length + line.length);
        whole.set(rest);
        whole.set(line, rest.length);
        line = whole;
        rest = null;
      }
      if (line.length > 0) each(line, index++);
      start = end + 1;
    }
    if (start < chunk.length) {
      const tail = chunk.subarray(start);
      const whole: Uint8Array = new Uint8Array((rest?.length ?? 0) + tail.length);
      if (rest !== null) whole.set(rest);
      whole.set(tail, rest?.length ?? 0);
      rest = whole;
    }
  });
  const step = 1 << 18;
  for (let at = 0; at < packed.length; at += step) stream.push(packed.subarray(at, at + step), at + step >= packed.length);
  if (rest !== null) each(rest, index);
  return total;
}

function parse(line: Uint8Array, index: number): SampleLine {
  try {
    return JSON.parse(text.decode(line)) as SampleLine;
  } catch (error) {
    throw new Error(`line ${index + 1} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A document's value: a number, or the first of the list that the aggregation takes. */
function valueOf(metrics: Record<string, unknown>, keys: readonly string[]): number | null {
  for (const key of keys) {
    let value: unknown = metrics[key];
    if (Array.isArray(value)) value = value[0];
    if (typeof value === 'boolean') return value ? 1 : 0;
    if (typeof value === 'number') return value;
  }
  return null;
}

async function digest(packed: Uint8Array): Promise<string | null> {
  if (globalThis.crypto?.subtle === undefined) return null;
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', packed as Uint8Array<ArrayBuffer>));
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function open(request: OpenRequest): Promise<Opened> {
  const answer = await fetch(request.url);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const packed = new Uint8Array(await answer.arrayBuffer());
  const found = await digest(packed);
  const docIds: number[] = [];
  const values: (number | null)[] = [];
  let kept: Uint8Array[] | null = [];
  let size = 0;
  const unpacked = scan(packed, (line, index) => {
    const sample = parse(line, index);
    docIds.push(sample.doc_id);
    values.push(valueOf(sample.metrics, request.metrics));
    size += line.length;
    if (size > KEEP) kept = null;
    kept?.push(line.slice());
  });
  files.delete(request.url);
  files.set(request.url, { packed, lines: kept });
  const oldest = files.keys().next().value;
  if (files.size > FILES && oldest !== undefined) files.delete(oldest);
  return { docIds, values, bytes: packed.length, unpacked, verified: found === null || request.sha256 === '' ? null : found === request.sha256 };
}

async function read(request: ReadRequest): Promise<SampleLine[]> {
  let file = files.get(request.url);
  if (file === undefined) {
    const answer = await fetch(request.url);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    file = { packed: new Uint8Array(await answer.arrayBuffer()), lines: null };
    files.set(request.url, file);
  }
  const found = new Map<number, SampleLine>();
  if (file.lines !== null) {
    for (const index of request.lines) {
      const line = file.lines[index];
      if (line !== undefined) found.set(index, parse(line, index));
    }
  } else {
    const wanted = new Set(request.lines);
    scan(file.packed, (line, index) => {
      if (wanted.has(index)) found.set(index, parse(line, index));
    });
  }
  return request.lines.flatMap((index) => found.get(index) ?? []);
}

self.addEventListener('message', (event: MessageEvent<OpenRequest | ReadRequest>) => {
  const request = event.data;
  const work: Promise<unknown> = request.kind === 'open' ? open(request) : read(request);
  work.then(
    (result) => self.postMessage({ id: request.id, result }),
    (error: unknown) => self.postMessage({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
