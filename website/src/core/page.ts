// What every page has: the theme switch, explanations on hover, focus and touch, and errors that say what to do.

import { byId, html, setHtml } from './html.ts';
import type { Html } from './html.ts';

type Theme = 'system' | 'light' | 'dark';
const THEMES: readonly Theme[] = ['system', 'light', 'dark'];

function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem('theme');
    return stored === 'light' || stored === 'dark' ? stored : 'system';
  } catch {
    return 'system';
  }
}

function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  try {
    if (theme === 'system') localStorage.removeItem('theme');
    else localStorage.setItem('theme', theme);
  } catch {
    // A browser that stores nothing still switches for this page.
  }
}

function themeSwitch(): void {
  const button = byId<HTMLButtonElement>('theme');
  let theme = storedTheme();
  const show = (): void => {
    button.textContent = `Theme: ${theme}`;
  };
  show();
  button.hidden = false;
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system';
    applyTheme(theme);
    show();
  });
}

/** One box for all explanations: elements with `data-tip` show it on hover, focus and touch; Escape closes it. */
function explanations(): void {
  const box = document.createElement('div');
  box.className = 'tip';
  box.id = 'tip';
  box.setAttribute('role', 'tooltip');
  box.hidden = true;
  document.body.append(box);
  let owner: Element | null = null;
  const hide = (): void => {
    owner?.removeAttribute('aria-describedby');
    owner = null;
    box.hidden = true;
  };
  const show = (target: Element): void => {
    if (target === owner) return;
    hide();
    owner = target;
    box.textContent = target.getAttribute('data-tip');
    box.hidden = false;
    target.setAttribute('aria-describedby', 'tip');
    const at = target.getBoundingClientRect();
    const width = box.offsetWidth;
    const left = Math.max(8, Math.min(at.left + at.width / 2 - width / 2, document.documentElement.clientWidth - width - 8));
    const below = at.bottom + 6 + box.offsetHeight < innerHeight;
    box.style.left = `${left}px`;
    box.style.top = `${below ? at.bottom + 6 : Math.max(4, at.top - box.offsetHeight - 6)}px`;
  };
  const target = (event: Event): Element | null => (event.target instanceof Element ? event.target.closest('[data-tip]') : null);
  document.addEventListener('pointerover', (event) => {
    const found = target(event);
    if (found !== null) show(found);
    else if (owner !== null && owner !== document.activeElement) hide();
  });
  document.addEventListener('focusin', (event) => {
    const found = target(event);
    if (found?.matches(':focus-visible') === true) show(found);
    else hide();
  });
  document.addEventListener('click', (event) => {
    const found = target(event);
    if (found !== null && !found.hasAttribute('data-sort')) show(found);
    else hide();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hide();
  });
  addEventListener('scroll', hide, { passive: true, capture: true });
}

/** Starts what every page has. */
export function startPage(): void {
  themeSwitch();
  explanations();
}

/** A problem as people should see it: what is wrong, where, and what can be done. */
export class Problem extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

export function problemHtml(error: unknown): Html {
  const message = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof Problem ? error.remedy : 'Reload the page; if it stays, please report it with this text.';
  return html`<div class="problem" role="alert"><strong>${message}</strong><p>${remedy}</p></div>`;
}

/** Shows a problem in place of what could not be shown. */
export function showProblem(element: Element, error: unknown): void {
  setHtml(element, problemHtml(error));
  console.error(error);
}

/** Text for screen readers when something changed without a new page. */
export function announce(text: string): void {
  const region = document.getElementById('live');
  if (region !== null) region.textContent = text;
}

/** Hands a text to the reader as a file. */
export function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** One field of a CSV file (RFC 4180). A leading sign that a spreadsheet would take for a formula is disarmed. */
export function csvField(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
