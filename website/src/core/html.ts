// Markup is built from tagged templates that escape every value; nothing else in the site may write HTML.
// The browser enforces it: the content security policy requires Trusted Types, and this module holds the only policy.

/** Markup whose values have been escaped. Only `html` and `join` make it. */
export class Html {
  readonly text: string;
  constructor(text: string, key: symbol) {
    if (key !== KEY) throw new Error('Html is made by the html template only');
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

const KEY = Symbol('html');
const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const SPECIAL = /[&<>"']/;

/** Escapes text for element content and for quoted attribute values. */
export function escape(value: unknown): string {
  const text = String(value);
  return SPECIAL.test(text) ? text.replace(/[&<>"']/g, (c) => ESCAPES[c] ?? c) : text;
}

function piece(value: unknown): string {
  if (value === null || value === undefined || value === false || value === true) return '';
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(piece).join('');
  return escape(value);
}

/** Template tag: literal parts are markup, values are escaped unless they are `Html` already. Attribute values must be quoted. */
export function html(parts: TemplateStringsArray, ...values: unknown[]): Html {
  let out = parts[0] ?? '';
  for (let i = 0; i < values.length; i++) out += piece(values[i]) + (parts[i + 1] ?? '');
  return new Html(out, KEY);
}

export const nothing: Html = html``;

interface Policy {
  createHTML(text: string): unknown;
  createScriptURL(url: string): unknown;
}

interface TrustedTypes {
  createPolicy(name: string, rules: object): Policy;
}

let policy: Policy | null = null;

function trusted(): Policy {
  if (policy === null) {
    const types = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
    const rules = { createHTML: (text: string) => text, createScriptURL: (url: string) => url };
    policy = types ? types.createPolicy('slm-bench', rules) : rules;
  }
  return policy;
}

/** Replaces the content of an element. */
export function setHtml(element: Element, content: Html): void {
  element.innerHTML = trusted().createHTML(content.text) as string;
}

/** Starts a worker from an address that the build wrote. */
export function startWorker(url: string): Worker {
  return new Worker(trusted().createScriptURL(new URL(url, import.meta.url).href) as string, { type: 'module' });
}

/** The element with this id; the page's own markup guarantees it. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element #${id}`);
  return element as T;
}

const REPO = /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/;

/** Address of a repository on the Hugging Face hub, or null when the name is not one. */
export function hubUrl(repo: string, revision?: string | null): string | null {
  if (!REPO.test(repo)) return null;
  const tail = revision && /^[\w.-]+$/.test(revision) ? `/tree/${revision}` : '';
  return `https://huggingface.co/${repo}${tail}`;
}

/** A path inside the site, or null when the text would lead elsewhere. */
export function sitePath(path: string): string | null {
  if (path === '' || /^[a-z][a-z0-9+.-]*:/i.test(path) || path.startsWith('/') || path.includes('\\')) return null;
  if (path.split('/').some((part) => part === '..')) return null;
  return path.split('/').map(encodeURIComponent).join('/');
}
