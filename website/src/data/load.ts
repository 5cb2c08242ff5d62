// Fetches the data. The build writes short forms of leaderboard.json beside it; where they are missing or older, the file itself is read.

import { Problem } from '../core/page.ts';
import { COMPACT_VERSION, unpackRow } from './compact.ts';
import type { Compact } from './compact.ts';
import type { Model, Row, Summary } from './model.ts';

const SOURCE = 'assets/data/leaderboard.json';
const SHORT = 'assets/data/ranking.json';
const EACH = 'assets/data/models';

export interface Loaded {
  readonly rows: readonly Row[];
  readonly summary: Summary;
}

/** Rows of the ranking in published order. */
export async function loadRows(): Promise<Loaded> {
  const short = await freshShort();
  if (short !== null) return { rows: short.rows.map((row) => unpackRow(row)), summary: short.summary };
  const { models, summary } = await loadSource();
  return { rows: models, summary };
}

/** Models by slug, in the order asked for; unknown ones are null. */
export async function loadModels(slugs: readonly string[]): Promise<(Model | null)[]> {
  const known = await Promise.all([freshShort(), ...slugs.map(loadEach)]);
  const [short, ...each] = known;
  if (short !== null && each.every((model) => model !== null)) return each;
  const { models } = await loadSource();
  return slugs.map((slug) => models.find((model) => model.slug === slug) ?? null);
}

async function loadEach(slug: string): Promise<Model | null> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(slug)) return null;
  try {
    const answer = await fetch(`${EACH}/${slug}.json`);
    return answer.ok ? ((await answer.json()) as Model) : null;
  } catch {
    return null;
  }
}

let shortOnce: Promise<Compact | null> | null = null;

/** The short form, if it is of the leaderboard.json that is served now: not older than it, and of the same size where the server tells it. */
function freshShort(): Promise<Compact | null> {
  shortOnce ??= (async () => {
    try {
      const [answer, source] = await Promise.all([fetch(SHORT), fetch(SOURCE, { method: 'HEAD' }).catch(() => null)]);
      if (!answer.ok) return null;
      const short = (await answer.json()) as Compact;
      if (short.version !== COMPACT_VERSION || !Array.isArray(short.rows)) return null;
      if (source?.ok === true) {
        const made = Date.parse(answer.headers.get('last-modified') ?? '');
        const written = Date.parse(source.headers.get('last-modified') ?? '');
        if (written > made) return null;
        const bytes = source.headers.get('content-length');
        if (bytes !== null && !source.headers.has('content-encoding') && Number(bytes) !== short.sourceBytes) return null;
      }
      return short;
    } catch {
      return null;
    }
  })();
  return shortOnce;
}

async function loadSource(): Promise<{ models: readonly Model[]; summary: Summary }> {
  const remedy = 'The site’s operator can rebuild it: slm-bench website update, then npm run build.';
  let answer: Response;
  try {
    answer = await fetch(SOURCE);
  } catch {
    throw new Problem('The leaderboard could not be loaded: no connection to the server.', 'Check your connection and reload the page.');
  }
  if (!answer.ok) throw new Problem(`The leaderboard could not be loaded: ${SOURCE} answered ${answer.status}.`, remedy);
  let json: unknown;
  try {
    json = await answer.json();
  } catch (error) {
    throw new Problem(`${SOURCE} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`, remedy);
  }
  const { readLeaderboard } = await import('./leaderboard.ts');
  try {
    return readLeaderboard(json);
  } catch (error) {
    throw new Problem(`${SOURCE} is malformed: ${error instanceof Error ? error.message : String(error)}`, remedy);
  }
}
