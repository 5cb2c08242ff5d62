// The submission form: writes the YAML, checks it with schemas/submission.schema.json, opens the prefilled issue.

import { Validator } from '@cfworker/json-schema';
import type { Schema } from '@cfworker/json-schema';
import { Document, LineCounter, parseDocument, Scalar, isMap, isSeq, visit } from 'yaml';
import schemaJson from '../../../schemas/submission.schema.json';
import { byId, html, nothing, setHtml } from '../core/html.ts';
import type { Html } from '../core/html.ts';
import { startPage } from '../core/page.ts';
import { issuesUrl, repository } from '../core/repository.ts';

interface FieldSchema {
  readonly type?: string;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly deprecated?: boolean;
  readonly enum?: readonly string[];
  readonly items?: FieldSchema & { readonly properties?: Record<string, FieldSchema> };
  readonly 'x-expected'?: string;
  readonly maxLength?: number;
}

const schema = schemaJson as unknown as Schema;
const modelSchema = (schemaJson as unknown as { properties: { model: { required: string[]; properties: Record<string, FieldSchema> } } }).properties.model;
const FIELDS = Object.entries(modelSchema.properties).filter(([, field]) => field.deprecated !== true);
const PLAIN = FIELDS.filter(([name]) => name !== 'categories' && name !== 'quantizations');
const RANKED = ['reasoning', 'coding', 'math', 'language', 'safety'];
const INFORMATIONAL = ['long_context', 'edge'];
const FORMATS = ['safetensors', 'gguf', 'isq'];

interface Quantization {
  name: string;
  format: string;
  source: string;
}

/** What the form holds. */
interface Draft {
  values: Record<string, string>;
  categories: string[];
  quantizations: Quantization[];
}

let draft: Draft = { values: {}, categories: [...RANKED], quantizations: [{ name: 'BF16', format: 'safetensors', source: '' }] };

function start(): void {
  startPage();
  setHtml(byId('form'), formHtml());
  const form = byId('form');
  form.addEventListener('input', () => {
    readForm();
    writeYaml();
  });
  form.addEventListener('change', (event) => {
    if (event.target instanceof HTMLSelectElement) drawQuantizations();
  });
  form.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-quant]') : null;
    if (button === null) return;
    const what = button.dataset['quant'] ?? '';
    if (what === 'add') draft.quantizations.push({ name: '', format: 'gguf', source: '' });
    else draft.quantizations.splice(Number(what), 1);
    drawQuantizations();
    writeYaml();
    if (what === 'add') document.querySelectorAll<HTMLInputElement>('.quant-row input')[(draft.quantizations.length - 1) * 2]?.focus();
  });
  byId('yaml').addEventListener('input', () => check(true));
  byId('copy').addEventListener('click', () => void copy());
  drawQuantizations();
  writeYaml();
  document.documentElement.dataset['ready'] = 'yes';
}

function formHtml(): Html {
  const field = ([name, f]: [string, FieldSchema]): Html => {
    const needed = modelSchema.required.includes(name);
    const example = f.examples?.[0];
    return html`<div class="field"><label for="f-${name}">${label(name)}${needed ? nothing : html` <span class="needed">optional</span>`}</label><input type="text" id="f-${name}" name="${name}" autocomplete="off" spellcheck="false" aria-describedby="h-${name}"${f.type === 'integer' ? html` inputmode="numeric"` : nothing} placeholder="${example === undefined ? '' : String(example)}"><span class="help" id="h-${name}">${f.description ?? ''}</span></div>`;
  };
  const box = (name: string): Html => html`<label class="check"><input type="checkbox" name="categories" value="${name}"${draft.categories.includes(name) ? html` checked` : nothing}><span>${name.replace('_', ' ')}</span></label>`;
  return html`<form class="form" aria-label="Submission">${PLAIN.map(field)}
<fieldset class="field"><legend class="name-of">Pillars to evaluate</legend><span class="help">Only a model evaluated on all five is ranked.</span>${RANKED.map(box)}<span class="help">Informational:</span>${INFORMATIONAL.map(box)}</fieldset>
<div class="field wide" role="group" aria-label="Quantizations"><span class="name-of">Quantizations</span><span class="help">${modelSchema.properties['quantizations']?.description ?? ''} ${modelSchema.properties['quantizations']?.items?.properties?.['format']?.description ?? ''}</span><div id="quants"></div><p class="row"><button type="button" class="button" data-quant="add">Add a quantization</button></p></div></form>`;
}

function label(name: string): string {
  const words: Record<string, string> = { hf_repo: 'Hugging Face repository', hf_revision: 'Revision', submitted_by: 'Your GitHub login', context_length: 'Context length', license: 'Licence' };
  return words[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');
}

function drawQuantizations(): void {
  setHtml(
    byId('quants'),
    html`${draft.quantizations.map(
      (q, i) => html`<div class="quant-row"><input type="text" data-q="name" value="${q.name}" aria-label="Name of quantization ${i + 1}" placeholder="BF16" spellcheck="false"><select data-q="format" aria-label="Format of quantization ${i + 1}">${FORMATS.map((format) => html`<option${format === q.format ? html` selected` : nothing}>${format}</option>`)}</select><input type="text" data-q="source" value="${q.source}" aria-label="GGUF file of quantization ${i + 1}" placeholder="${q.format === 'gguf' ? 'path/to/file.gguf' : 'only for gguf'}"${q.format === 'gguf' ? nothing : html` disabled`} spellcheck="false"><button type="button" class="link" data-quant="${i}" aria-label="Remove quantization ${i + 1}"${draft.quantizations.length === 1 ? html` disabled` : nothing}>remove</button></div>`,
    )}`,
  );
}

function readForm(): void {
  for (const [name] of PLAIN) draft.values[name] = byId<HTMLInputElement>(`f-${name}`).value;
  draft.categories = [...document.querySelectorAll<HTMLInputElement>('input[name="categories"]:checked')].map((input) => input.value);
  draft.quantizations = [...document.querySelectorAll('.quant-row')].map((row) => ({
    name: row.querySelector<HTMLInputElement>('[data-q="name"]')?.value ?? '',
    format: row.querySelector<HTMLSelectElement>('[data-q="format"]')?.value ?? 'safetensors',
    source: row.querySelector<HTMLInputElement>('[data-q="source"]')?.value ?? '',
  }));
}

function writeYaml(): void {
  const model: Record<string, unknown> = {};
  for (const [name, field] of FIELDS) {
    if (name === 'categories') {
      if (draft.categories.length > 0) model[name] = draft.categories;
    } else if (name === 'quantizations') {
      model[name] = draft.quantizations.map((q) => ({ name: q.name.trim(), format: q.format, ...(q.format === 'gguf' ? { source: q.source.trim() } : {}) }));
    } else {
      const value = (draft.values[name] ?? '').trim();
      if (value === '' && !modelSchema.required.includes(name)) continue;
      model[name] = field.type === 'integer' && /^\d+$/.test(value) ? Number(value) : value;
    }
  }
  const doc = new Document({ model });
  // A list of pillars reads best on one line; texts that look like numbers are quoted by the writer.
  visit(doc, {
    Pair(_key, pair) {
      if (pair.key instanceof Scalar && pair.key.value === 'categories' && isSeq(pair.value)) pair.value.flow = true;
    },
  });
  byId<HTMLTextAreaElement>('yaml').value = doc.toString({ lineWidth: 0, flowCollectionPadding: false });
  check(false);
}

interface Finding {
  readonly line: number | null;
  readonly place: string;
  readonly text: string;
  readonly field: string | null;
  /** Only not filled in yet. */
  readonly empty?: boolean;
}

/** Checks the YAML; with `follow`, the form takes over what it understands. */
function check(follow: boolean): void {
  const text = byId<HTMLTextAreaElement>('yaml').value;
  const findings = findingsOf(text);
  if (follow) followYaml(text);
  show(findings, text);
}

/** A fenced block, as it stands in an issue, is taken without its fence. */
function unfenced(text: string): string {
  return /^```ya?ml\s*\n([\s\S]*?)\n```\s*$/m.exec(text.trim())?.[1] ?? text;
}

function findingsOf(source: string): Finding[] {
  const text = unfenced(source);
  if (text.length > 65536) return [{ line: null, place: '', text: 'The submission is longer than 65,536 characters; a GitHub issue cannot hold it.', field: null }];
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, schema: 'core', uniqueKeys: true, merge: false });
  if (doc.errors.length > 0) {
    return doc.errors.map((error) => ({ line: error.linePos?.[0].line ?? null, place: '', text: error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? error.code, field: null }));
  }
  let json: unknown;
  try {
    json = doc.toJS({ maxAliasCount: 0 });
  } catch {
    return [{ line: null, place: '', text: 'Aliases (&name, *name) are not accepted in a submission: write the value out.', field: null }];
  }
  const lineOf = (path: readonly string[]): number | null => {
    for (let depth = path.length; depth > 0; depth--) {
      const node = doc.getIn(path.slice(0, depth).map((part) => (/^\d+$/.test(part) ? Number(part) : part)), true) as { range?: [number, number, number] } | undefined;
      if (node?.range !== undefined && node.range !== null) return lines.linePos(node.range[0]).line;
    }
    return null;
  };
  const result = new Validator(schema, '2020-12', false).validate(json);
  const found: Finding[] = [];
  const leaves = result.errors.filter((error) => !['properties', 'items', 'if', 'then', 'allOf', '$ref'].includes(error.keyword));
  for (const error of leaves) {
    const path = error.instanceLocation.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    const name = error.keyword === 'required' ? /"([^"]+)"/.exec(error.error)?.[1] : undefined;
    const place = [...path, ...(name === undefined ? [] : [name])].join('.');
    found.push({ line: lineOf(path), place, text: wording(error.keyword, error.error, path, name, json), field: path[1] ?? name ?? null, empty: valueAt(json, path) === '' });
  }
  const seen = new Set<string>();
  return found.filter((finding) => {
    const key = `${finding.place} ${finding.text}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function fieldSchema(path: readonly string[]): FieldSchema | undefined {
  const field = modelSchema.properties[path[1] ?? ''];
  return path.length > 3 ? field?.items?.properties?.[path[3] ?? ''] : path.length > 2 ? field?.items : field;
}

function valueAt(json: unknown, path: readonly string[]): unknown {
  let value = json;
  for (const part of path) value = (value as Record<string, unknown> | null | undefined)?.[part];
  return value;
}

function wording(keyword: string, message: string, path: readonly string[], missing: string | undefined, json: unknown): string {
  const field = fieldSchema(path);
  const value = valueAt(json, path);
  if (keyword === 'required') return `“${missing ?? ''}” is missing. ${path.length === 1 ? (modelSchema.properties[missing ?? '']?.description ?? '') : missing === 'source' ? 'A gguf entry names its file.' : ''}`.trim();
  if (value === '') return 'This is empty; it is required.';
  if (keyword === 'pattern' || keyword === 'type') return `Expected ${field?.['x-expected'] ?? (field?.type === undefined ? 'something else' : `a ${field.type}`)}${typeof value === 'object' ? '' : `, found “${String(value)}”`}.`;
  if (keyword === 'enum') return `“${String(value)}” is not one of ${(field?.enum ?? []).join(', ')}.`;
  if (keyword === 'additionalProperties' || keyword === 'false') return `This field is not known. Known fields: ${FIELDS.map(([name]) => name).join(', ')}.`;
  if (keyword === 'maxLength') return `At most ${field?.maxLength ?? ''} characters.`;
  if (keyword === 'minItems') return 'At least one entry is needed.';
  return message;
}

function show(findings: readonly Finding[], text: string): void {
  const box = byId('findings');
  const todo = findings.filter((f) => f.empty);
  const others = findings.filter((f) => !f.empty);
  setHtml(
    box,
    findings.length === 0
      ? html`<ul class="findings ok"><li>Valid by the schema. The bot also reads the model’s files.</li></ul>`
      : html`<ul class="findings">${todo.length === 0 ? nothing : html`<li class="todo">Still to fill in: ${todo.map((f) => f.place.replace(/^model\./, '')).join(', ')}</li>`}${others.slice(0, 40).map((f) => html`<li>${f.line === null ? nothing : html`<span class="muted">line ${f.line}</span> `}${f.place === '' ? nothing : html`<code>${f.place}</code>: `}${f.text}</li>`)}</ul>`,
  );
  const wrong = new Set(findings.map((finding) => finding.field));
  for (const [name] of PLAIN) {
    const input = byId<HTMLInputElement>(`f-${name}`);
    // Fields that are only empty are not yet wrong.
    if (wrong.has(name) && input.value !== '') input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }
  link(findings.length === 0, unfenced(text));
}

function link(valid: boolean, yaml: string): void {
  const open = byId<HTMLAnchorElement>('open-issue');
  const base = issuesUrl(repository());
  const name = draft.values['name']?.trim() ?? '';
  const body = `\`\`\`yaml\n${yaml.trimEnd()}\n\`\`\`\n`;
  const url = base === null ? null : `${base}/new?${new URLSearchParams({ template: 'model-submission.yml', title: `Model submission: ${name}`, submission: yaml.trimEnd(), body }).toString()}`;
  const short = url !== null && url.length < 8000;
  if (valid && short) {
    open.href = url;
    open.removeAttribute('aria-disabled');
  } else {
    open.removeAttribute('href');
    open.setAttribute('aria-disabled', 'true');
  }
  byId('issue-note').textContent =
    base === null
      ? 'This copy of the site does not know its GitHub repository: copy the YAML into a “Model Submission” issue there.'
      : !valid
        ? 'The link opens once the YAML is valid.'
        : short
          ? 'Opens a new issue with this YAML filled in; nothing is sent before you submit it there.'
          : 'The YAML is too long for a link: copy it into a new “Model Submission” issue.';
}

/** Fills the form from the YAML, as far as it has the right shape. */
function followYaml(text: string): void {
  const doc = parseDocument(unfenced(text), { schema: 'core' });
  const model = doc.get('model', true);
  if (doc.errors.length > 0 || !isMap(model)) return;
  let json: Record<string, unknown>;
  try {
    json = (doc.toJS({ maxAliasCount: 0 }) as { model: Record<string, unknown> }).model;
  } catch {
    return;
  }
  for (const [name] of PLAIN) {
    const value = json[name];
    draft.values[name] = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
    byId<HTMLInputElement>(`f-${name}`).value = draft.values[name] ?? '';
  }
  const categories = json['categories'];
  draft.categories = Array.isArray(categories) ? categories.filter((c): c is string => typeof c === 'string') : [];
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="categories"]')) input.checked = draft.categories.includes(input.value);
  const quantizations = json['quantizations'];
  if (Array.isArray(quantizations)) {
    draft.quantizations = quantizations.map((q: unknown) => {
      const entry = (typeof q === 'object' && q !== null ? q : {}) as Record<string, unknown>;
      const word = (key: string): string => (typeof entry[key] === 'string' ? (entry[key] as string) : '');
      return { name: word('name'), format: FORMATS.includes(word('format')) ? word('format') : 'safetensors', source: word('source') };
    });
    drawQuantizations();
  }
}

async function copy(): Promise<void> {
  const area = byId<HTMLTextAreaElement>('yaml');
  try {
    await navigator.clipboard.writeText(area.value);
    byId('copied').textContent = 'Copied.';
  } catch {
    area.focus();
    area.select();
    byId('copied').textContent = 'Selected: copy it with your keyboard.';
  }
}

start();
