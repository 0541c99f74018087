// Forms from JSON Schema: fields to show, what was filled in back into a configuration, messages back to fields. Pure.
//
// A field's path is the one that the service's errors use, as in "config.bounds.mirror_x".

import { isCategory } from "./values.js";
import { typeText } from "./words.js";

const PLAIN = { number: "number", integer: "integer", boolean: "boolean", string: "text" };
const END = { anyOf: [{ type: "number" }, { type: "null" }] };
const RANGE = { type: "array", items: END, minItems: 2, maxItems: 2 };

/**
 * The form of an agent: its configuration, its loop, and the region it may measure in. `schema` is that of its type's
 * configuration; without one the present configuration says what fields there are. `loop` is the schema of `loop`.
 */
export function agentForm(status, schema, loop) {
  const { spec } = status;
  const configSchema = Object.keys(schema?.properties ?? {}).length ? schema : schemaOf(spec.config);
  const ranged = spec.actuators.filter((name) => !isCategory(spec.space?.[name]));
  const allowed = { properties: Object.fromEntries(ranged.map((name) => [name, { ...RANGE, title: name, description: allowedText(status, name) }])) };
  return [
    { name: "config", title: typeText(status.type), fields: fields(configSchema, spec.config, "config", spec.actuators.map((name) => spec.names?.[name] ?? name)) },
    { name: "loop", title: "Loop", fields: fields(loop ?? schemaOf(spec.loop), spec.loop, "loop") },
    { name: "guardrails", title: "Allowed region", fields: fields(allowed, spec.guardrails.bounds, "guardrails.bounds") },
  ].filter((group) => group.fields.length).map((group) => ({ ...group, fields: group.fields.map((field) => withUnit(field.path === "loop.approval" ? { ...field, kind: "approval" } : field, status.units)) }));
}

function withUnit(field, units = {}) {
  const unit = units[field.keys.at(-1)];
  return unit ? { ...field, label: `${field.label} (${unit})` } : field;
}

function allowedText(status, name) {
  const [low, high] = status.limits[name] ?? [null, null];
  if (low === null && high === null) return status.no_limits.includes(name) ? "no limits; an empty end is none" : "an empty end is no limit";
  const ends = `${low ?? ""} to ${high ?? ""}`.trim();
  return `with what device and service allow: ${ends}; an empty end is no limit of this agent's own`;
}

/** The fields of an object of JSON Schema `schema` at `path`; `keys`: names that a mapping to ranges offers beside its own. */
export function fields(schema, values, path, keys = []) {
  return [...eachField(schema, values, path.split("."), keys)];
}

function* eachField(schema, values, path, keys) {
  const required = schema.required ?? [];
  const defs = schema.$defs ?? {};
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    const [resolved, nullable] = resolveSchema(member, defs);
    const value = name in values ? values[name] : resolved.default ?? null;
    const inner = resolved.additionalProperties;
    const here = [...path, name];
    if (resolved.properties) yield* eachField({ ...resolved, $defs: defs }, value ?? {}, here, keys);
    else if (inner && typeof inner === "object" && ["range", "number"].includes(kindOf(resolveSchema(inner, defs)[0]))) {
      const valueSchema = resolveSchema(inner, defs)[0];
      const present = value ?? {};
      // the description once, for all of them
      const names = [...new Set([...Object.keys(present), ...keys])];
      for (const [i, key] of names.entries()) yield fieldOf([...here, key], `${name} ${key}`, { ...valueSchema, title: null, description: i ? "" : resolved.description ?? "" }, present[key] ?? null, false, false);
    } else yield fieldOf(here, name, resolved, value, required.includes(name), nullable);
  }
}

function fieldOf(path, label, schema, value, required, nullable) {
  const kind = kindOf(schema);
  return {
    path: path.join("."),
    keys: path.slice(1),
    label: labelOf(label, schema.title),
    kind,
    description: (schema.description ?? "").replaceAll("null:", "empty:"), // as the page shows it
    value: kind === "json" && value !== null ? JSON.stringify(value) : value,
    required,
    nullable,
    open_ended: kind === "range" && endSchemas(schema).some(([, open]) => open),
    default: schema.default ?? null,
    minimum: schema.minimum ?? null,
    maximum: schema.maximum ?? null,
    choices: schema.enum ?? [],
  };
}

/** What a field is called: as its schema says it, else its name with spaces; a mapping's key keeps its spelling. */
function labelOf(name, title) {
  const plain = name.split(" ").map((part, i) => (i ? part : part.replaceAll("_", " "))).join(" ");
  return title && title.toLowerCase() !== plain.toLowerCase() ? title : plain;
}

function kindOf(schema) {
  if (schema.enum) return "choice";
  if (schema.type === "array" && schema.minItems === 2 && schema.maxItems === 2) {
    const both = endSchemas(schema);
    if (both.length && both.every(([end]) => ["number", "integer"].includes(end.type))) return "range";
  }
  return PLAIN[schema.type] ?? "json";
}

/** The schema of each end of a range, and whether that end may be left open. */
function endSchemas(schema) {
  const items = schema.items && typeof schema.items === "object" ? [schema.items] : [];
  return [...(schema.prefixItems ?? []), ...items].map((item) => resolveSchema(item, {}));
}

/** A schema without references and without the null in it, and whether there was one. */
function resolveSchema(schema, defs) {
  let resolved = { ...schema };
  while ("$ref" in resolved || resolved.allOf?.length === 1) {
    const target = resolved.allOf ? resolved.allOf[0] : defs[resolved.$ref.split("/").pop()] ?? {};
    const { $ref, allOf, ...rest } = resolved;
    resolved = { ...target, ...rest };
  }
  const options = resolved.anyOf ?? [];
  const others = options.filter((option) => option.type !== "null");
  if (others.length === 1 && options.length > 1) {
    const { anyOf, ...rest } = resolved;
    return [resolveSchema({ ...others[0], ...rest }, defs)[0], true];
  }
  return [resolved, false];
}

function schemaOf(config) {
  const typeOf = (value) => ({ boolean: { type: "boolean" }, number: { type: "number" }, string: { type: "string" } })[typeof value] ?? {};
  return { properties: Object.fromEntries(Object.entries(config).map(([name, value]) => [name, typeOf(value)])) };
}

/** What was filled in does not fit; `errors` are `{field, message}`. */
export class WrongFields extends Error {
  constructor(errors) {
    super(errors.map(({ field: path, message }) => `${path} ${message}`).join("; "));
    this.errors = errors;
  }
}

/** An object from what was filled in, by path; what the form does not show stays as it is. Throws `WrongFields`. */
export function assemble(group, filled, present) {
  const out = JSON.parse(JSON.stringify(present));
  const wrong = [];
  for (const field of group.fields) {
    if (!(field.path in filled)) continue;
    try {
      put(out, field, readValue(field, filled[field.path]));
    } catch (error) {
      wrong.push({ field: field.path, message: error.message });
    }
  }
  if (wrong.length) throw new WrongFields(wrong);
  return out;
}

/** The changes that a filled form asks for, by part of the agent; nothing that is as it was. Throws `WrongFields`. */
export function changes(groups, filled, spec) {
  const changed = {};
  for (const group of groups) {
    const present = spec[group.name];
    const next = assemble(group, filled, present);
    if (JSON.stringify(next) === JSON.stringify(present)) continue;
    changed[group.name] = group.name === "guardrails" ? removing(next, present) : next;
  }
  return changed;
}

/** Guardrails with null for each limit that they no longer have: the service keeps what is not named. */
export function removing(next, present) {
  const removed = { ...next };
  for (const [rule, limits] of Object.entries(present)) {
    if (!isMapping(limits) || !isMapping(next[rule])) continue;
    const gone = Object.keys(limits).filter((name) => !(name in next[rule]));
    removed[rule] = { ...next[rule], ...Object.fromEntries(gone.map((name) => [name, null])) };
  }
  return removed;
}

/** Messages by the path of the field they belong to; under "" those that belong to none. */
export function messages(errors, groups) {
  const paths = groups.flatMap((group) => group.fields.map((field) => field.path));
  const byPath = {};
  for (const { field: at, message } of errors) {
    const above = paths.filter((path) => `${at}.`.startsWith(`${path}.`)).sort((a, b) => b.length - a.length);
    const path = above[0] ?? paths.find((candidate) => candidate.startsWith(`${at}.`)) ?? "";
    const text = path || !at ? message : `${at}: ${message}`;
    byPath[path] = path in byPath ? `${byPath[path]}; ${text}` : text;
  }
  return byPath;
}

function isMapping(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readValue({ kind, open_ended: openEnded }, value) {
  if (value === null || value === undefined || value === "") return null;
  if (kind === "json") {
    try {
      return JSON.parse(value);
    } catch {
      throw new Error('is no JSON; text stands in quotes, a list is [1, 2], a mapping is {"x": 1}');
    }
  }
  if (kind === "range") {
    const [low, high] = value.map(readNumber);
    if ((low === null) !== (high === null) && !openEnded) throw new Error("needs both ends");
    return low === null && high === null ? null : [low, high];
  }
  return kind === "number" || kind === "integer" ? readNumber(value) : value;
}

function readNumber(value) {
  if (value === null || value === "") return null;
  const numeric = Number(value);
  if (!Number.isFinite(numeric)) throw new Error("is no number");
  return numeric;
}

function put(out, { keys, nullable }, value) {
  const above = keys.slice(0, -1);
  const last = keys.at(-1);
  let at = out;
  for (const part of above) at = at[part] ??= {};
  if (value === null && !nullable) delete at[last];
  else at[last] = value;
}
