// Compares what the tests sent with what GitHub publishes: every operation was asked for, and every field of a webhook's payload stands with
// the same type in a published example of that event.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { operations } from "./operations.mjs";

const [, , sent, examplesFile] = process.argv;
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const problems = [];

const asked = read(join(sent, "requests.json")).filter(({ status }) => status < 400);
for (const operation of operations) {
  const [method, path] = operation.split(" ");
  const pattern = new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`);
  const fits = ({ method: used, target }) => used === method && pattern.test(target.split("?")[0]) && isLiteral(path, target);
  if (!asked.some(fits)) problems.push(`no test asks for ${operation}`);
}

// `/issues/comments` is no `/issues/{issue_number}`.
function isLiteral(path, target) {
  const names = target.split("?")[0].split("/");
  return path.split("/").every((part, at) => !part.startsWith("{") || !/_id\}$|_number\}$/.test(part) || part === "{workflow_id}" || /^\d+$/.test(names[at]));
}

const published = new Map(read(examplesFile).map(({ name, examples }) => [name, examples]));
const webhooks = read(join(sent, "webhooks.json"));
for (const { event, payload } of webhooks) {
  const examples = published.get(event);
  const same = examples.filter(({ action }) => action === payload.action);
  // Of some actions no example is published: then those of the others have the shape, but for what only they have.
  const top = new Set((same.length > 0 ? same : examples).flatMap((example) => Object.keys(example)));
  for (const name of Object.keys(payload)) {
    if (!top.has(name)) problems.push(`${event} ${payload.action}: no example has ${name}`);
  }
  const known = new Map();
  examples.forEach((example) => collect(example, "", known));
  const ours = new Map();
  collect(payload, "", ours);
  for (const [path, types] of ours) {
    const allowed = known.get(path);
    if (!allowed) problems.push(`${event} ${payload.action}: no example has ${path}`);
    else for (const type of types) if (!allowed.has(type)) problems.push(`${event} ${payload.action}: ${path} is ${type}, in examples ${[...allowed].join(" or ")}`);
  }
}

// The types that stand at each place; elements of lists have one place.
function collect(value, path, found) {
  const type = value === null ? "null" : Array.isArray(value) ? "list" : typeof value;
  if (!found.has(path)) found.set(path, new Set());
  found.get(path).add(type);
  if (type === "list") value.forEach((element) => collect(element, `${path}[]`, found));
  if (type === "object") for (const [name, inner] of Object.entries(value)) collect(inner, `${path}.${name}`, found);
}

if (problems.length > 0) {
  console.error([...new Set(problems)].join("\n"));
  process.exit(1);
}
console.log(`${operations.length} operations asked for, ${webhooks.length} webhooks as in GitHub's examples`);
