// The queue, where a server runs: jobs as `slm-bench serve` tells them. A static copy of the site says where else to look.

import { byId, html, nothing, setHtml } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { startPage } from '../core/page.ts';
import { Node } from '../data/read.ts';
import { issuesUrl, repository } from '../core/repository.ts';

const EVERY_MS = 20_000;

const MEANING: Readonly<Record<string, string>> = {
  received: 'Received; it will be checked within seconds.',
  validated: 'Valid; waiting for a maintainer’s approval or a free place.',
  queued: 'Waiting for the evaluator.',
  evaluating: 'Being evaluated now.',
  evaluated: 'Evaluated; the results are about to be published.',
  published: 'Published; the issue is about to be answered.',
  reported: 'Done.',
  rejected: 'The submission is not valid; the issue says why.',
  failed: 'The evaluation failed; the issue says why.',
  cancelled: 'Cancelled.',
};

interface Job {
  readonly model: string;
  readonly issue: number | null;
  readonly state: string;
  readonly submitted: string | null;
  readonly updated: string | null;
  readonly position: number | null;
  readonly progress: number | null;
  readonly task: string | null;
  readonly eta: number | null;
}

function readJobs(json: unknown): { jobs: Job[]; generated: string | null } {
  const root = new Node(json).object();
  const jobs = root.at('jobs').items().map((job) => ({
    model: job.first('model', 'name').textOrNull() ?? '(no name yet)',
    issue: job.at('issue').numberOrNull(),
    state: job.at('state').text(),
    submitted: job.first('submitted_at', 'created_at').textOrNull(),
    updated: job.at('updated_at').textOrNull(),
    position: job.at('position').numberOrNull(),
    progress: job.at('progress').numberOrNull(),
    task: job.at('task').textOrNull(),
    eta: job.at('eta_s').numberOrNull(),
  }));
  return { jobs, generated: root.at('generated_at').textOrNull() };
}

function time(text: string | null): Html {
  return text === null ? html`–` : html`<time datetime="${text}">${text.replace('T', ' ').replace(/(:\d\d)(\.\d+)?(Z|\+00:00)$/, '$1 UTC')}</time>`;
}

function issue(job: Job): Html {
  if (job.issue === null) return html`–`;
  const base = issuesUrl(repository());
  return base === null ? html`#${job.issue}` : html`<a href="${base}/${job.issue}">#${job.issue}</a>`;
}

function doing(job: Job): Html {
  const share = job.progress === null ? nothing : html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="axis" y="3.5" width="100" height="1"/><rect class="pt" y="2" width="${Math.round(100 * Math.min(1, Math.max(0, job.progress)))}" height="4"/></svg>`;
  const words = [
    job.task,
    job.progress === null ? null : `${Math.round(job.progress * 100)} %`,
    job.eta === null ? null : `about ${job.eta < 5400 ? `${Math.max(1, Math.round(job.eta / 60))} min` : `${(job.eta / 3600).toFixed(1)} h`} left`,
    job.position === null ? null : `place ${job.position}`,
  ].filter((word) => word !== null);
  return html`${words.join(', ')}${share}`;
}

function draw(content: HTMLElement, jobs: readonly Job[], generated: string | null): void {
  const now = jobs.filter((job) => job.state === 'evaluating');
  const waiting = jobs.filter((job) => ['received', 'validated', 'queued'].includes(job.state));
  const done = jobs.filter((job) => !now.includes(job) && !waiting.includes(job));
  const table = (title: string, list: readonly Job[], empty: string): Html => html`<h2>${title}</h2>${list.length === 0 ? html`<p class="hint">${empty}</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Table: ${title}"><table class="data"><thead><tr><th scope="col">Model</th><th scope="col">Issue</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col">Submitted</th></tr></thead><tbody>${list.map((job) => html`<tr><th scope="row">${job.model}</th><td>${issue(job)}</td><td><button type="button" class="badge" data-tip="${MEANING[job.state] ?? job.state}">${job.state}</button></td><td>${doing(job)}</td><td>${time(job.submitted)}</td></tr>`)}</tbody></table></div>`}`;
  setHtml(
    content,
    html`<h1>Queue</h1><p class="hint" role="status">${generated === null ? nothing : html`As of ${time(generated)}. `}Refreshed every ${EVERY_MS / 1000} seconds.</p>
${table('Being evaluated', now, 'Nothing is being evaluated.')}${table('Waiting', waiting, 'Nothing is waiting.')}${table('Lately', done, 'Nothing has been finished lately.')}`,
  );
}

function withoutServer(content: HTMLElement, why: string): void {
  const base = issuesUrl(repository());
  setHtml(
    content,
    html`<h1>Queue</h1><p>${why}</p><p>Every submission is an issue, and its state is in the comment on it${base === null ? nothing : html`: <a href="${base}?q=is%3Aissue+is%3Aopen+label%3Asubmission">open submissions on GitHub</a>`}. <a href="submit.html">Submit a model</a>.</p>`,
  );
}

async function refresh(content: HTMLElement): Promise<boolean> {
  try {
    const answer = await fetch('api/queue', { headers: { accept: 'application/json' } });
    if (!answer.ok || !(answer.headers.get('content-type') ?? '').includes('json')) {
      withoutServer(content, answer.status === 404 ? 'This copy of the site is static: no evaluation server stands behind it.' : `The server could not tell its queue (status ${answer.status}).`);
      return answer.status >= 500;
    }
    const { jobs, generated } = readJobs(await answer.json());
    draw(content, jobs, generated);
    return true;
  } catch (error) {
    withoutServer(content, `The queue could not be read: ${error instanceof Error ? error.message : String(error)}.`);
    return true;
  }
}

async function main(): Promise<void> {
  startPage();
  const content = byId('content');
  const again = await refresh(content);
  document.documentElement.dataset['ready'] = 'yes';
  if (again) setInterval(() => document.visibilityState === 'visible' && void refresh(content), EVERY_MS);
}

void main();
