// Writes the part of GitHub's description that the client uses: Prism takes minutes to load the whole of it.
import { readFileSync, writeFileSync } from "node:fs";

const [, , from, to] = process.argv;
const used = [
  /^\/app($|\/installations\/)/,
  /^\/user($|\/\{account_id\}$)/,
  /^\/users\/\{username\}$/,
  /^\/repos\/\{owner\}\/\{repo\}($|\/(issues|labels|collaborators|releases)($|\/))/,
  /^\/repos\/\{owner\}\/\{repo\}\/actions\/(artifacts|runs|workflows)($|\/)/,
];
const description = JSON.parse(readFileSync(from, "utf8"));
description.paths = Object.fromEntries(Object.entries(description.paths).filter(([path]) => used.some((pattern) => pattern.test(path))));
writeFileSync(to, JSON.stringify(description));
