// Runs and their answers, loaded on demand. Formats: schemas/run.schema.json, schemas/sample.schema.json.

import workerUrl from './samples.worker.ts?worker&url';
import { sitePath, startWorker } from '../core/html.ts';
import { Problem } from '../core/page.ts';
import type { Run } from './model.ts';
import { Node } from './read.ts';
import type { Opened, SampleLine } from './samples.worker.ts';

export type { Opened, SampleLine };

/** One file of answers. */
export interface SampleFile {
  /** Task or subtask. */
  readonly task: string;
  /** The task of the pillar that it belongs to: `mmlu` for `mmlu_astronomy`. */
  readonly parent: string;
  readonly url: string;
  readonly sha256: string;
  readonly n: number;
  /** Keys of the ranked metric. */
  readonly metrics: readonly string[];
  readonly fewshot: number;
}

export interface RunDocument {
  readonly raw: Node;
  readonly files: readonly SampleFile[];
}

const runs = new Map<string, Promise<RunDocument>>();

/** `run.json` of a run, with its sample files. */
export function loadRun(run: Run): Promise<RunDocument> {
  let loading = runs.get(run.path);
  if (loading === undefined) {
    loading = fetchRun(run);
    runs.set(run.path, loading);
  }
  return loading;
}

async function fetchRun(run: Run): Promise<RunDocument> {
  const path = sitePath(run.path);
  const remedy = 'The site’s operator publishes runs by building the site beside the results folder.';
  if (path === null) throw new Problem(`The run’s path “${run.path}” leads out of the site.`, remedy);
  const answer = await fetch(path).catch(() => null);
  if (answer === null || !answer.ok) throw new Problem(`The run’s artifacts are not on this site (${run.path}).`, remedy);
  const raw = new Node(await answer.json(), 'run.json').object();
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const parents = new Map<string, [string, Node]>();
  for (const [name, task] of raw.at('tasks').entries()) {
    parents.set(name, [name, task]);
    for (const [leaf, record] of task.at('subtasks').entries()) parents.set(leaf, [name, record]);
  }
  const files = raw.at('samples').itemsOrNone().flatMap((sample): SampleFile[] => {
    const task = sample.at('task').text();
    const file = sitePath(sample.at('file').text());
    if (file === null) return [];
    const [parent, record] = parents.get(task) ?? [task, new Node(undefined)];
    const metric = record.at('primary_metric').textOrNull() ?? parents.get(parent)?.[1].at('primary_metric').textOrNull() ?? '';
    return [
      {
        task,
        parent,
        url: new URL(folder + file, location.href).href,
        sha256: sample.at('sha256').textOrNull() ?? '',
        n: sample.at('n').numberOrNull() ?? 0,
        metrics: [metric, 'acc,none', 'exact_match,none'].filter((key) => key !== ''),
        fewshot: record.at('num_fewshot').numberOrNull() ?? 0,
      },
    ];
  });
  return { raw, files };
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

let worker: Worker | null = null;
let next = 0;
const waiting = new Map<number, Waiting>();

function ask<T>(message: object): Promise<T> {
  if (worker === null) {
    worker = startWorker(workerUrl);
    worker.addEventListener('message', (event: MessageEvent<{ id: number; result?: unknown; error?: string }>) => {
      const { id, result, error } = event.data;
      const entry = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) entry?.resolve(result);
      else entry?.reject(new Error(error));
    });
    worker.addEventListener('error', (event) => {
      for (const entry of waiting.values()) entry.reject(new Error(event.message || 'the reader of answers could not start'));
      waiting.clear();
    });
  }
  const id = next++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
    worker?.postMessage({ id, ...message });
  });
}

const opened = new Map<string, Promise<Opened>>();

/** Unpacks a file and tells each document's value. */
export function openSamples(file: SampleFile): Promise<Opened> {
  let opening = opened.get(file.url);
  if (opening === undefined) {
    opening = ask<Opened>({ kind: 'open', url: file.url, sha256: file.sha256, metrics: file.metrics }).catch((error: unknown) => {
      opened.delete(file.url);
      throw new Problem(`The answers of ${file.task} could not be read: ${error instanceof Error ? error.message : String(error)}.`, 'The file may be missing from this site, or damaged; run.json names it and its digest.');
    });
    opened.set(file.url, opening);
  }
  return opening;
}

/** Lines of a file, by their numbers. */
export function readSamples(file: SampleFile, lines: readonly number[]): Promise<SampleLine[]> {
  return ask<SampleLine[]>({ kind: 'read', url: file.url, lines });
}
