// Two runs on the same questions: per task the paired difference, from the stored answers.

import { paired } from '../core/stats.ts';
import type { Difference, Paired } from '../core/stats.ts';
import type { Model, Pillar, Run } from './model.ts';
import { PILLARS, WEIGHTS } from './model.ts';
import { loadRun, openSamples } from './samples.ts';
import type { SampleFile } from './samples.ts';

export interface Disagreement {
  readonly file: SampleFile;
  readonly docId: number;
  /** Line in the file of each run. */
  readonly lineA: number;
  readonly lineB: number;
  readonly aIsRight: boolean;
}

export interface TaskComparison {
  readonly task: string;
  readonly result: Paired;
  readonly disagreements: readonly Disagreement[];
}

/** Compares the tasks that both runs have answers for. `progress` is told how many files of how many are read. */
export async function compareRuns(a: Run, b: Run, progress: (done: number, of: number) => void): Promise<TaskComparison[]> {
  const [runA, runB] = await Promise.all([loadRun(a), loadRun(b)]);
  const pairs = runA.files.flatMap((file) => {
    const other = runB.files.find((candidate) => candidate.task === file.task);
    return other === undefined ? [] : [[file, other] as const];
  });
  const byTask = new Map<string, { a: number[]; b: number[]; bias: boolean; disagreements: Disagreement[] }>();
  let done = 0;
  for (const [fileA, fileB] of pairs) {
    progress(done++, pairs.length);
    const [left, right] = await Promise.all([openSamples(fileA), openSamples(fileB)]);
    const lines = new Map(right.docIds.map((docId, line) => [docId, line]));
    const entry = byTask.get(fileA.parent) ?? { a: [], b: [], bias: fileA.metrics[0]?.startsWith('pct_stereotype') === true, disagreements: [] };
    byTask.set(fileA.parent, entry);
    left.docIds.forEach((docId, lineA) => {
      const lineB = lines.get(docId);
      const x = left.values[lineA];
      const y = lineB === undefined ? null : right.values[lineB];
      if (lineB === undefined || x === null || x === undefined || y === null || y === undefined) return;
      entry.a.push(x);
      entry.b.push(y);
      if (x >= 0.5 !== y >= 0.5) entry.disagreements.push({ file: fileA, docId, lineA, lineB, aIsRight: x >= 0.5 });
    });
  }
  progress(pairs.length, pairs.length);
  return [...byTask].map(([task, { a: x, b: y, bias, disagreements }]) => ({ task, result: paired(x, y, bias), disagreements }));
}

/** The paired difference of a pillar: the mean over its tasks, with tasks taken as independent. Null where a task was not compared. */
export function pillarDifference(model: Model, pillar: Pillar, tasks: readonly TaskComparison[]): Difference | null {
  const mine = model.pillarTasks[pillar].map((task) => tasks.find((found) => found.task === task.name)?.result);
  if (mine.length === 0 || mine.some((result) => result === undefined)) return null;
  const k = mine.length;
  const value = mine.reduce((sum, result) => sum + (result?.value ?? 0), 0) / k;
  const stderr = Math.sqrt(mine.reduce((sum, result) => sum + (result?.stderr ?? 0) ** 2, 0)) / k;
  return { value, stderr, p: Number.NaN };
}

/** The paired difference of the aggregate, where every pillar was compared. */
export function aggregateDifference(model: Model, tasks: readonly TaskComparison[]): Difference | null {
  let value = 0;
  let variance = 0;
  let total = 0;
  for (const pillar of PILLARS) {
    const d = pillarDifference(model, pillar, tasks);
    if (d === null) return null;
    value += WEIGHTS[pillar] * d.value;
    variance += (WEIGHTS[pillar] * d.stderr) ** 2;
    total += WEIGHTS[pillar];
  }
  return { value: value / total, stderr: Math.sqrt(variance) / total, p: Number.NaN };
}
