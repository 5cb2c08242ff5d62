// Serves a built site as a static host does: types, compression, Last-Modified, 404.
// node scripts/serve.mjs DIR [PORT]

import { createServer } from 'node:http';
import { readFile, stat } from 'node:fs/promises';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.txt': 'text/plain; charset=utf-8', '.zst': 'application/zstd',
};
const TEXT = new Set(['.html', '.js', '.css', '.json', '.svg', '.txt']);
const compress = promisify(gzip);

/** @returns {Promise<{ url: string, requests: string[], close: () => Promise<void> }>} */
export async function serve(folder, { port = 0, answers = {}, compressed = true } = {}) {
  const root = resolve(folder);
  const requests = [];
  const cache = new Map();
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://local').pathname);
    requests.push(`${request.method} ${request.url}`);
    const made = answers[path];
    if (made !== undefined) {
      response.writeHead(made.status ?? 200, { 'content-type': 'application/json', ...made.headers });
      response.end(made.body ?? '');
      return;
    }
    const file = join(root, normalize(path === '/' ? '/index.html' : path));
    try {
      if (!file.startsWith(root + sep)) throw new Error('outside');
      const facts = await stat(file);
      if (!facts.isFile()) throw new Error('no file');
      const ext = extname(file);
      const headers = { 'content-type': TYPES[ext] ?? 'application/octet-stream', 'last-modified': facts.mtime.toUTCString(), 'cache-control': 'max-age=600' };
      const small = compressed && TEXT.has(ext) && /gzip/.test(request.headers['accept-encoding'] ?? '');
      const key = `${file} ${facts.mtimeMs} ${facts.size} ${small}`;
      let body = cache.get(key);
      if (body === undefined) {
        body = await readFile(file);
        if (small) body = await compress(body);
        cache.set(key, body);
      }
      response.writeHead(200, { ...headers, ...(small ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {}), 'content-length': body.length });
      response.end(request.method === 'HEAD' ? undefined : body);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('not found');
    }
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close: () => new Promise((done) => { server.closeAllConnections(); server.close(() => done()); }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(process.argv[2] ?? 'dist', { port: Number(process.argv[3] ?? 8080) });
  console.log(url);
}
