// Writes the part of GitHub's description that the client uses: its operations and what they refer to. Prism takes minutes for the whole.
import { readFileSync, writeFileSync } from "node:fs";
import { operations } from "./operations.mjs";

const [, , from, to] = process.argv;
const whole = JSON.parse(readFileSync(from, "utf8"));

const paths = {};
for (const operation of operations) {
  const [method, path] = operation.split(" ");
  const entry = whole.paths[path];
  const described = entry?.[method.toLowerCase()];
  if (!described) throw new Error(`GitHub's description has no ${operation}`);
  paths[path] ??= { ...(entry.parameters && { parameters: entry.parameters }) };
  paths[path][method.toLowerCase()] = described;
}
const components = {};
keep(paths, []);
writeFileSync(to, JSON.stringify({ openapi: whole.openapi, info: whole.info, servers: whole.servers, paths, components }));

// Takes over what a value refers to, and what that refers to. Examples are for readers, and most of the bytes. Where a schema comes back to
// itself (an issue has a parent, which is an issue) it is cut: Prism checks nothing of a schema that does.
function keep(value, within) {
  if (Array.isArray(value)) return value.forEach((inner) => keep(inner, within));
  if (value === null || typeof value !== "object") return;
  if (isExamples(value.examples)) delete value.examples;
  if (value.nullable === true) allowNull(value);
  if (typeof value.$ref !== "string") return Object.values(value).forEach((inner) => keep(inner, within));
  const reference = value.$ref;
  if (within.includes(reference)) {
    delete value.$ref;
    return;
  }
  const [, , kind, name] = reference.split("/");
  if (components[kind]?.[name] !== undefined) return;
  const target = whole.components[kind]?.[name];
  if (target === undefined) throw new Error(`GitHub's description refers to ${reference}, which it does not have`);
  (components[kind] ??= {})[name] = target;
  keep(target, [...within, reference]);
}

// Says in ordinary words that `null` is allowed. Prism, in silence, checks nothing of a schema that is nullable without a type.
function allowNull(schema) {
  if (schema.type !== undefined) return;
  delete schema.nullable;
  const alternatives = schema.anyOf ?? schema.oneOf ?? (schema.allOf && [{ allOf: schema.allOf }]);
  if (alternatives === undefined) return;
  for (const name of ["anyOf", "oneOf", "allOf"]) delete schema[name];
  schema.anyOf = [...alternatives, { enum: [null] }];
}

// Not a property that happens to be called so.
function isExamples(value) {
  return value !== null && typeof value === "object" && !("type" in value);
}
