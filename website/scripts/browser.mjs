// Debian's Chromium through playwright-core, or the one that CHROMIUM names.

import { chromium } from 'playwright-core';

export const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

export function launch(options = {}) {
  return chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...(options.args ?? [])] });
}
