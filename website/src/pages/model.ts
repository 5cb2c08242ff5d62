// All about one model.

import { heatMap, heatTable } from '../charts/heat.ts';
import { intervalBar } from '../charts/bar.ts';
import { profile } from '../charts/profile.ts';
import { byId, html, hubUrl, nothing, setHtml, sitePath } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { badgeTags, missing } from '../core/columns.ts';
import { bytes, count, day, halfWidth, MISSING, pValue, quantity, score, shortHash, signed, size } from '../core/format.ts';
import { problemHtml, showProblem, startPage } from '../core/page.ts';
import { Z95 } from '../core/stats.ts';
import { FIGURE_WORDS, learnBadges, METHOD_LABEL, PILLAR_LABEL, STATUS_LABEL, taskLabel } from '../core/words.ts';
import { loadModels, loadRows } from '../data/load.ts';
import { FIGURES, PILLARS, UNPROBED } from '../data/model.ts';
import type { Figure, FigureName, Measured, Model, Pillar, Run, Summary, Task, TaskProbes } from '../data/model.ts';
import type { Node } from '../data/read.ts';
import type { ItemBrowser } from './items.ts';

async function main(): Promise<void> {
  startPage();
  const content = byId('content');
  const slug = new URLSearchParams(location.search).get('id') ?? '';
  try {
    if (slug === '') {
      setHtml(content, html`<h1>No model chosen</h1><p>Choose one in the <a href="index.html">ranking</a>.</p>`);
      return;
    }
    const [[model], { summary }] = await Promise.all([loadModels([slug]), loadRows()]);
    if (model === null || model === undefined) {
      setHtml(content, html`<h1>Model not found</h1><p>The leaderboard has no model with the id <code>${slug}</code>. It may have been renamed: look for it in the <a href="index.html">ranking</a>.</p>`);
      return;
    }
    learnBadges(summary.badges);
    draw(content, model, summary);
  } catch (error) {
    showProblem(content, error);
  } finally {
    document.documentElement.dataset['ready'] = 'yes';
  }
}

function draw(content: HTMLElement, model: Model, summary: Summary): void {
  document.title = `${model.name}: slm-benchmark`;
  setHtml(
    content,
    html`${headHtml(model, summary)}
<div class="two">
<section aria-labelledby="h-profile"><h2 id="h-profile">Pillars</h2>${profileHtml(model)}</section>
<section aria-labelledby="h-long"><h2 id="h-long">Long context</h2>${longContextHtml(model)}</section>
</div>
<section aria-labelledby="h-tasks"><h2 id="h-tasks">Tasks</h2>${tasksHtml(model)}</section>
<section aria-labelledby="h-probes"><h2 id="h-probes">Probes</h2>${probesHtml(model)}</section>
<section aria-labelledby="h-quant"><h2 id="h-quant">Quantizations</h2>${quantizationsHtml(model)}</section>
<div class="two">
<section aria-labelledby="h-edge"><h2 id="h-edge">Speed, memory, energy</h2><div id="figures">${figuresHtml(model.figures, model.hardwareClass)}</div></section>
<section aria-labelledby="h-from"><h2 id="h-from">Provenance</h2><div id="provenance">${provenanceHtml(model, null)}</div></section>
</div>
<section aria-labelledby="h-history"><h2 id="h-history">History</h2>${historyHtml(model)}</section>
<section aria-labelledby="answers"><h2 id="answers">Questions and answers</h2><div id="items">${model.run === null ? html`<p class="hint">There is no run, so there are no answers.</p>` : html`<p>Every question, answer and log-likelihood behind the scores above. They are loaded when you ask for them. <button type="button" class="button" id="load-items">Show the answers</button></p>`}</div></section>`,
  );
  const run = model.run;
  if (run === null) return;
  let browser: ItemBrowser | null = null;
  const items = async (): Promise<ItemBrowser | null> => {
    try {
      const module = await import('./items.ts');
      browser ??= new module.ItemBrowser(byId('items'), run);
      return browser;
    } catch (error) {
      showProblem(byId('items'), error);
      return null;
    }
  };
  byId('load-items').addEventListener('click', () => void items().then((b) => b?.show()));
  content.addEventListener('click', (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const link = target?.closest<HTMLElement>('[data-task]');
    if (link !== null && link !== undefined) {
      event.preventDefault();
      void items().then(async (b) => {
        byId('answers').scrollIntoView();
        await b?.open(link.dataset['task'] ?? '');
        byId('answers').scrollIntoView();
      });
    }
    if (target?.closest('[data-paired]')) void pairQuantizations(model);
  });
  if (new URLSearchParams(location.search).has('task')) void items().then((b) => b?.show());
  // What only run.json knows comes after the page stands.
  const later = (): void => void fillFromRun(model, run);
  if ('requestIdleCallback' in window) requestIdleCallback(later, { timeout: 2000 });
  else setTimeout(later, 300);
}

function headHtml(model: Model, summary: Summary): Html {
  const url = hubUrl(model.repo, model.revision);
  const [low, high] = model.rankInterval ?? [null, null];
  const place = model.rank === null ? (model.place === null ? null : `place ${model.place} among ${STATUS_LABEL[model.status].toLowerCase()} rows`) : null;
  return html`<div class="title-line"><h1>${model.name}</h1>${model.status === 'ranked' ? nothing : html`<span class="badge status">${STATUS_LABEL[model.status]}</span>`}${badgeTags(model.badges)}</div>
<ul class="facts">
<li>Family <b>${model.family || MISSING}</b></li>
<li>Parameters <b>${size(model.size)}</b>${model.measuredSize === null ? ' (declared)' : html` (${count(model.measuredSize)} counted${model.declaredSize === '' ? '' : `, ${model.declaredSize} declared`})`}</li>
<li>Architecture <b>${model.architecture || MISSING}</b></li>
<li>Licence <b>${model.licence || MISSING}</b></li>
${model.contextLength === null ? nothing : html`<li>Context <b>${count(model.contextLength)}</b> tokens (declared)</li>`}
<li>${url === null ? html`Repository <b>${model.repo}</b>` : html`<a href="${url}" rel="noopener nofollow">${model.repo} on Hugging Face</a>`}</li>
<li><a href="compare.html?id=${encodeURIComponent(model.slug)}">Compare with others</a></li>
</ul>
${model.note === null ? nothing : html`<p class="notice">${model.status === 'ranked' ? 'Remark: ' : `${STATUS_LABEL[model.status]}: `}${model.note}</p>`}
${model.imported === null ? nothing : html`<p class="notice">${model.imported}</p>`}
<div class="headline">
<div><div class="big">${model.rank ?? MISSING}</div><div class="what">${model.rank === null ? (place ?? 'no rank') : html`rank of ${summary.ranked}${low === high ? '' : `, ${low} to ${high} by chance`}`}</div></div>
<div><div class="big">${score(model.aggregate.value)}${model.aggregate.interval === null ? nothing : html` <span class="pm">${halfWidth(...model.aggregate.interval)}</span>`}</div><div class="what">aggregate, 0 to 100${model.weightedSum === null ? nothing : `; weighted sum ${score(model.weightedSum)}`}</div></div>
<div><div class="big">${(100 * model.coverage).toFixed(0)} %</div><div class="what">of the weights have scores</div></div>
${headFigure(model, 'decode_speed')}${headFigure(model, 'efficiency')}
</div>`;
}

function headFigure(model: Model, name: FigureName): Html {
  const figure = model.figures[name];
  if (figure === undefined || figure.value === null) return nothing;
  return html`<div><div class="big">${quantity(figure.value)}</div><div class="what">${FIGURE_WORDS[name].unit}${figure.method.startsWith('estimated') ? ', estimated' : ''}</div></div>`;
}

/** Chance level of a pillar: the mean over its tasks, where each has one. */
function pillarChance(model: Model, pillar: Pillar): number | null {
  const tasks = model.pillarTasks[pillar];
  if (tasks.length === 0 || tasks.some((task) => task.chance === null)) return null;
  return tasks.reduce((sum, task) => sum + (task.chance ?? 0), 0) / tasks.length;
}

function profileHtml(model: Model): Html {
  if (model.run === null) return html`<p class="hint">No run of this leaderboard has measured this model.</p>`;
  const rows = [{ label: 'Aggregate', strong: true }, ...PILLARS.map((pillar) => ({ label: PILLAR_LABEL[pillar], chance: pillarChance(model, pillar) }))];
  const values = [model.aggregate, ...PILLARS.map((pillar) => model.pillars[pillar])];
  const words = rows.map((row, i) => `${row.label} ${score(values[i]?.value ?? null)}`).join(', ');
  const without = PILLARS.filter((pillar) => model.pillars[pillar].value === null);
  return html`${profile(rows, [{ name: model.name, values }], `Pillar profile: ${words}`, Math.max(300, Math.min(640, innerWidth - 40)))}
<p class="hint">Score with 95 % interval; dashed: blind guessing, where every task of the pillar has a chance level.</p>
${without.map((pillar) => html`<p class="notice"><strong>${PILLAR_LABEL[pillar]} has no score:</strong> ${model.pillars[pillar].reason ?? 'no reason is given'}</p>`)}`;
}

function longContextHtml(model: Model): Html {
  if (model.longContextGrid === null) return html`<p class="hint">${model.longContext.reason ?? 'not measured in this run'}. Informational: never part of the score.</p>`;
  return html`<p class="hint">Needles found, in percent; mean ${score(model.longContext.value)}. Informational: never part of the score.</p><div class="scroll" tabindex="0" role="region" aria-label="Long-context heat map">${heatMap(model.longContextGrid)}</div>${heatTable(model.longContextGrid)}`;
}

function tasksHtml(model: Model): Html {
  if (model.run === null) return html`<p class="hint">There is no run.</p>`;
  const rows = (label: string, meaning: string, tasks: readonly Task[]): Html =>
    tasks.length === 0 ? nothing : html`<tbody><tr class="group"><th scope="colgroup" colspan="7">${label} <span class="muted">${meaning}</span></th></tr>${tasks.map((task) => taskRow(task))}</tbody>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Tasks"><table class="data"><caption class="sr">Scores of all tasks</caption><thead><tr><th scope="col">Task</th><th scope="col" class="num">Score</th><th scope="col" class="barcell"><span class="sr">On 0 to 100, with chance level</span></th><th scope="col" class="num">Above chance</th><th scope="col" class="num">Questions</th><th scope="col">Metric</th><th scope="col">Answers</th></tr></thead>
${PILLARS.map((pillar) => rows(PILLAR_LABEL[pillar], model.pillars[pillar].value === null ? '' : `${score(model.pillars[pillar].value)}`, model.pillarTasks[pillar]))}
${rows('Outside of the pillars', '', model.otherTasks)}
</table></div><p class="hint">The grey line in a bar is blind guessing. Above chance: 0 for guessing, 100 for a perfect model.</p>`;
}

function taskRow(task: Task): Html {
  const m = task.score;
  const shots = task.fewshot === null ? '' : `${task.fewshot}-shot`;
  const n = task.n === null ? MISSING : task.total !== null && task.total !== task.n ? `${count(task.n)} of ${count(task.total)}` : count(task.n);
  return html`<tr class="part"><th scope="row">${taskLabel(task.name)}${task.status === 'ok' ? nothing : html` <span class="badge status">${task.status}</span>`}${task.warning === null ? nothing : html`<span class="note">${task.warning}</span>`}${m.value === null && task.reason !== null ? html`<span class="note">${task.reason}</span>` : nothing}</th>
<td class="num">${m.value === null ? missing(m.reason) : html`${score(m.value)}${m.interval === null ? nothing : html` <span class="pm">${halfWidth(...m.interval)}</span>`}`}</td>
<td class="barcell">${intervalBar(m.value, m.interval, { chance: task.chance })}</td>
<td class="num">${task.corrected === null ? MISSING : score(task.corrected)}</td>
<td class="num">${n}</td>
<td class="muted">${[task.metric, shots].filter((part) => part !== null && part !== '').join(', ')}</td>
<td>${task.n === null || task.n === 0 ? nothing : html`<button type="button" class="link" data-task="${task.name}">read<span class="sr"> the answers of ${taskLabel(task.name)}</span></button>`}</td></tr>`;
}

/** The same questions in another form: what it says of the model, never a score. */
function probesHtml(model: Model): Html {
  const note = html`<p class="hint">Informational: never part of the score. <a href="methodology.html#probes">What they say</a></p>`;
  if (model.taskProbes.length === 0) return html`<p class="hint">Probes: ${model.choiceOrder.reason ?? UNPROBED}.</p>${note}`;
  const cell = (m: Measured): Html => html`<td class="num">${m.value === null ? missing(m.reason) : html`${score(m.value)}${m.interval === null ? nothing : html` <span class="pm">${halfWidth(...m.interval)}</span>`}`}</td>`;
  const row = ({ name, order, answer }: TaskProbes): Html => html`<tr><th scope="row">${taskLabel(name)}</th>${cell(order.changed)}<td class="num">${order.accuracies.length === 0 ? MISSING : order.accuracies.map((value) => score(value)).join(' / ')}</td>${cell(answer.accuracy)}<td class="num">${score(answer.withQuestion)}</td><td class="num">${score(answer.chance)}</td><td class="num">${count(Math.max(order.n, answer.n))}</td></tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Probes"><table class="data"><thead><tr><th scope="col">Task</th><th scope="col" class="num">Answer changes with the order, %</th><th scope="col" class="num">Accuracy by order</th><th scope="col" class="num">Right without the question, %</th><th scope="col" class="num">With it</th><th scope="col" class="num">By chance</th><th scope="col" class="num">Questions</th></tr></thead><tbody>${model.taskProbes.map(row)}</tbody></table></div>${note}`;
}

/** A run's difference to the ranked run, with its interval. */
function runDifference(run: Run): Html {
  if (run.difference === null || run.differenceInterval === null) return difference(run.difference);
  const tested = `${run.differenceP === null ? '' : `p = ${pValue(run.differenceP)}, `}${run.differencePaired ? 'tested on the same questions' : 'from both intervals'}`;
  return html`${difference(run.difference)} <span class="pm" title="95 % interval; ${tested}">${halfWidth(...run.differenceInterval)}</span>`;
}

function difference(value: number | null): Html {
  if (value === null) return html`<span class="muted">${MISSING}</span>`;
  return html`${signed(value)}`;
}

function quantizationsHtml(model: Model): Html {
  const run = model.run;
  if (run === null) return html`<p class="hint">There is no run.</p>`;
  if (model.quantizationRuns.length === 0) return html`<p class="hint">Only ${run.quantization || 'one quantization'} was evaluated at this revision.</p>`;
  const cell = (r: Run, pillar: Pillar): Html => {
    const value = r.pillars[pillar] ?? null;
    const base = run.pillars[pillar] ?? null;
    return html`<td class="num">${score(value)}${r === run || value === null || base === null ? nothing : html` <span class="pm">${signed(value - base)}</span>`}</td>`;
  };
  const row = (r: Run): Html => html`<tr data-run="${r.id}"><th scope="row">${r.quantization}${r === run ? html` <span class="muted">(ranked)</span>` : nothing} <span class="muted">${r.format}</span></th><td class="num">${score(r.aggregate.value)}${r.aggregate.interval === null ? nothing : html` <span class="pm">${halfWidth(...r.aggregate.interval)}</span>`}</td><td class="barcell">${intervalBar(r.aggregate.value, r.aggregate.interval)}</td><td class="num">${r === run ? html`<span class="muted">reference</span>` : runDifference(r)}</td>${PILLARS.map((pillar) => cell(r, pillar))}</tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Quantizations"><table class="data"><thead><tr><th scope="col">Weights</th><th scope="col" class="num">Aggregate</th><th scope="col" class="barcell"><span class="sr">On 0 to 100</span></th><th scope="col" class="num">Difference</th>${PILLARS.map((pillar) => html`<th scope="col" class="num">${PILLAR_LABEL[pillar]}</th>`)}</tr></thead><tbody>${row(run)}${model.quantizationRuns.map(row)}</tbody></table></div>
<p id="paired"><button type="button" class="button" data-paired="yes">Test the differences on the same questions</button> <span class="hint">reads the answers of all runs and computes paired tests here, in your browser</span></p>`;
}

/** Paired differences of each quantization against the ranked run, from the answers. */
async function pairQuantizations(model: Model): Promise<void> {
  const run = model.run;
  const box = byId('paired');
  if (run === null) return;
  try {
    const { aggregateDifference, compareRuns } = await import('../data/paired.ts');
    const out: Html[] = [];
    for (const other of model.quantizationRuns) {
      const tasks = await compareRuns(other, run, (done, of) => {
        box.textContent = `${other.quantization}: reading ${done} of ${of} files…`;
      });
      const whole = aggregateDifference(model, tasks);
      out.push(html`<tr class="group"><th scope="colgroup" colspan="6">${other.quantization} less ${run.quantization}${whole === null ? nothing : html` <span class="muted">aggregate ${signed(whole.value)} (95 % ${signed(whole.value - Z95 * whole.stderr)} to ${signed(whole.value + Z95 * whole.stderr)})</span>`}</th></tr>
${tasks.map(({ task, result }) => html`<tr class="part"><th scope="row">${taskLabel(task)}</th><td class="num">${difference(result.value)} <span class="pm">±${(Z95 * result.stderr).toFixed(1)}</span></td><td class="num">${pValue(result.p)}</td><td class="num">${count(result.onlyA)}</td><td class="num">${count(result.onlyB)}</td><td class="num">${count(result.n)}</td></tr>`)}`);
    }
    const table = html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Paired differences"><table class="data"><thead><tr><th scope="col">Task</th><th scope="col" class="num">Paired difference</th><th scope="col" class="num">p-value</th><th scope="col" class="num">Right only here</th><th scope="col" class="num">Right only before</th><th scope="col" class="num">Questions</th></tr></thead><tbody>${out}</tbody></table></div><p class="hint">McNemar’s exact test where an answer is right or wrong, else the normal approximation; not corrected for the number of tests.</p>`;
    const holder = document.createElement('div');
    setHtml(holder, table);
    box.replaceWith(holder);
  } catch (error) {
    setHtml(box, problemHtml(error));
  }
}

function figuresHtml(figures: Model['figures'], hardwareClass: string | null, details: readonly [string, string][] = []): Html {
  const rows = FIGURES.flatMap((name) => (figures[name] === undefined ? [] : [[name, figures[name]] as const]));
  if (rows.length === 0) return html`<p class="hint">Not measured in this run. Informational: never part of the score.</p>`;
  const text = (name: FigureName, value: number): string => (FIGURE_WORDS[name].unit === 'bytes' ? bytes(value) : `${quantity(value)} ${FIGURE_WORDS[name].unit}`);
  const row = (name: FigureName, figure: Figure): Html => html`<tr><th scope="row">${FIGURE_WORDS[name].label}</th><td class="num">${figure.value === null ? missing(figure.reason) : text(name, figure.value)}${figure.interval === null || figure.value === null || figure.interval[0] === figure.interval[1] ? nothing : html` <span class="pm">${FIGURE_WORDS[name].unit === 'bytes' ? `${bytes(figure.interval[0])} to ${bytes(figure.interval[1])}` : `${quantity(figure.interval[0])} to ${quantity(figure.interval[1])}`}</span>`}</td><td class="muted">${METHOD_LABEL[figure.method] ?? figure.method}${figure.value === null && figure.reason !== null ? `: ${figure.reason}` : ''}</td></tr>`;
  return html`<p class="hint">${hardwareClass === null ? 'The hardware class is not stated.' : html`On <b>${hardwareClass}</b>; compare within this hardware class only.`} Informational: never part of the score.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Table: Figures"><table class="data"><thead><tr><th scope="col">Figure</th><th scope="col" class="num">Value</th><th scope="col">Method</th></tr></thead><tbody>${rows.map(([name, figure]) => row(name, figure))}</tbody></table></div>
${details.length === 0 ? nothing : html`<dl class="pairs">${details.map(([key, value]) => html`<dt>${key.replaceAll('_', ' ')}</dt><dd>${value}</dd>`)}</dl>`}`;
}

function provenanceHtml(model: Model, raw: Node | null): Html {
  const run = model.run;
  if (run === null) return html`<p class="hint">There is no run of this leaderboard behind this row.</p>`;
  const path = sitePath(run.path);
  const pair = (key: string, value: Html | string): Html => html`<dt>${key}</dt><dd>${value}</dd>`;
  const weights = raw?.at('model').at('weights').itemsOrNone() ?? [];
  const seed = raw?.at('seed').numberOrNull() ?? null;
  const limit = run.limit === null ? '' : ` --limit ${run.limit}`;
  const suite = run.suite.split(' ')[0] ?? 'standard';
  const command = `slm-bench run --submission-file models/submissions/${model.slug}.yml --suite ${suite}${limit}${run.device === '' ? '' : ` --device ${run.device}`}${run.dtype === '' ? '' : ` --dtype ${run.dtype}`}${seed === null ? '' : ` --seed ${seed}`} --output-dir results/raw`;
  return html`<dl class="pairs">
${pair('Model commit', html`<span class="mono">${run.revision || MISSING}</span>`)}
${pair('Weights', weights.length === 0 ? html`${run.quantization} (${run.format})` : html`${run.quantization} (${run.format})${weights.map((file) => html`<br>${file.at('file').textOrNull()} <span class="muted">${bytes(file.at('bytes').numberOrNull())}</span><br><span class="mono muted">sha256 ${file.at('sha256').textOrNull()}</span>`)}`)}
${pair('Engine', `${run.engine}, ${run.device}, ${run.dtype}`)}
${pair('Program', `slm-benchmark ${run.program}, suite ${run.suite}`)}
${pair('Run', html`<span class="mono">${run.id}</span>${path === null ? nothing : html`<br><a href="${path}">run.json</a> <span class="mono muted">sha256 ${shortHash(run.sha256)}</span>`}`)}
${pair('Evaluated', `${day(run.date)}${model.dateAdded === null ? '' : `; first on the leaderboard ${day(model.dateAdded)}`}${model.submittedBy === '' ? '' : `; submitted by ${model.submittedBy}`}`)}
</dl>
<p>To reproduce, at version ${run.program}:</p><pre tabindex="0">${command}</pre>
${raw === null ? nothing : datasetsHtml(raw)}`;
}

function datasetsHtml(raw: Node): Html {
  const rows = raw.at('tasks').entries().flatMap(([name, task]) => {
    const own = task.at('dataset');
    const dataset = own.missing ? (task.at('subtasks').entries()[0]?.[1].at('dataset') ?? own) : own;
    if (dataset.missing) return [];
    return [html`<tr><th scope="row">${taskLabel(name)}</th><td>${dataset.at('repo').textOrNull()} ${dataset.at('config').textOrNull() ?? ''} <span class="muted">${dataset.at('split').textOrNull()}</span></td><td class="mono">${shortHash(dataset.at('revision').textOrNull())}</td><td class="num">${tokens(task)}</td><td class="num">${check(task)}</td></tr>`];
  });
  return rows.length === 0 ? nothing : html`<details><summary>Data sets, tokens and self-checks</summary><div class="scroll" tabindex="0" role="region" aria-label="Table: Data sets"><table class="data"><thead><tr><th scope="col">Task</th><th scope="col">Data set</th><th scope="col">Commit</th><th scope="col" class="num">Tokens computed</th><th scope="col" class="num">Self-check, nats</th></tr></thead><tbody>${rows}</tbody></table></div></details>`;
}

function tokens(task: Node): string {
  const computed = task.at('tokens_computed').numberOrNull();
  const nominal = task.at('tokens_nominal').numberOrNull();
  if (computed === null || nominal === null || nominal === 0) return MISSING;
  return `${quantity(computed / 1e6)}M of ${quantity(nominal / 1e6)}M`;
}

function check(task: Node): string {
  const delta = task.at('self_check').at('max_delta').numberOrNull();
  return delta === null ? MISSING : delta.toExponential(1).replace('e-', 'e−');
}

function historyHtml(model: Model): Html {
  const runs = [...(model.run === null ? [] : [model.run]), ...model.revisionRuns, ...model.chatRuns, ...model.otherRuns];
  if (runs.length === 0) return html`<p class="hint">There is no run yet.</p>`;
  const kind = (run: Run): string => {
    if (run === model.run) return 'shown above';
    if (model.revisionRuns.includes(run)) return 'other revision';
    if (model.chatRuns.includes(run)) return 'with chat template';
    return run.limit === null ? 'other run' : `limited to ${run.limit}`;
  };
  const sorted = [...runs].sort((a, b) => (a.date < b.date ? 1 : -1));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table: Runs"><table class="data"><thead><tr><th scope="col">Date</th><th scope="col">Commit</th><th scope="col">Run</th><th scope="col" class="num">Aggregate</th><th scope="col" class="barcell"><span class="sr">On 0 to 100</span></th><th scope="col" class="num">Difference</th><th scope="col">Suite, engine</th></tr></thead><tbody>${sorted.map((run) => {
    const path = sitePath(run.path);
    return html`<tr><th scope="row">${day(run.date)}</th><td class="mono">${shortHash(run.revision)}</td><td>${kind(run)}, ${run.quantization}${path === null ? nothing : html` <a href="${path}">run.json</a>`}</td><td class="num">${score(run.aggregate.value)}</td><td class="barcell">${intervalBar(run.aggregate.value, run.aggregate.interval)}</td><td class="num">${run === model.run ? nothing : difference(run.difference)}</td><td class="muted">${run.suite}, ${run.engine}</td></tr>`;
  })}</tbody></table></div>`;
}

async function fillFromRun(model: Model, run: Run): Promise<void> {
  try {
    const { loadRun } = await import('../data/samples.ts');
    const { raw } = await loadRun(run);
    setHtml(byId('provenance'), provenanceHtml(model, raw));
    const info = raw.at('informational');
    const figures: Partial<Record<FigureName, Figure>> = { ...model.figures };
    for (const group of ['edge', 'energy']) {
      for (const name of FIGURES) {
        const figure = info.at(group).at('figures').at(name);
        if (!figure.missing) figures[name] = { value: figure.at('value').numberOrNull(), interval: figure.at('range').pairOrNull(), unit: figure.at('unit').textOrNull() ?? '', method: figure.at('method').textOrNull() ?? '', reason: figure.at('reason').textOrNull() };
      }
    }
    const details = ['edge', 'energy'].flatMap((group) => info.at(group).at('details').entries().filter(([key]) => key !== 'tasks').map(([key, value]): [string, string] => [key, typeof value.value === 'object' ? JSON.stringify(value.value) : String(value.value)]));
    setHtml(byId('figures'), figuresHtml(figures, model.hardwareClass, details));
  } catch (error) {
    const note = document.createElement('div');
    setHtml(note, html`<p class="hint">${error instanceof Error ? error.message : String(error)}</p>`);
    byId('provenance').append(note);
  }
}


void main();
