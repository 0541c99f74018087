// What is known of one agent: a fold over the service's answers and events. Pure: no network, no elements.
//
// The service's answers come first, then the events that follow; an event that an answer already contained changes nothing.

/** Most lines of the log that are kept. */
const MAX_LINES = 200;

/** Most facts that are kept beside the suggestions. */
const MAX_FACTS = 1000;

const MOVING = ["running", "submitted"];
const OPEN = ["proposed", "approved", ...MOVING];

/** Fates of a suggestion that came to nothing. */
export const UNHAPPY = ["failed", "rejected", "expired", "abandoned"];

/** A time of the service (ISO 8601) as seconds since 1970, with its microseconds. */
export function seconds(iso) {
  const [, whole, fraction, zone] = /^(.{19})(?:\.(\d+))?(.*)$/.exec(iso);
  return Date.parse(whole + (zone || "Z")) / 1000 + Number(`0.${fraction ?? 0}`);
}

/** One agent's suggestions, outcomes, history and log. `version` grows with each change of these. */
export class AgentFold {
  constructor() {
    this.version = 0;
    this.suggestions = new Map();
    this.open = new Map();
    this.measured = new Map();
    this.history = [];
    this.log = [];
    this.spec = null; // as of the last fact that told it
    this.starter = null; // who started it, until it runs
  }

  /** Take the service's answers in: all suggestions, and the last facts, oldest first. */
  look(suggestions, history) {
    this.forget();
    [this.history, this.spec, this.starter] = [[], null, null];
    let measured = [];
    for (const suggestion of suggestions) {
      this.keep({ ...suggestion, at: seconds(suggestion.updated_at) });
      if (suggestion.outcome) measured.push([seconds(suggestion.updated_at), suggestion.id, measurementOf(suggestion, seconds(suggestion.updated_at))]);
    }
    for (const event of history) {
      this.remember(event);
      // what came before is of an agent that had this name; what this one was told follows
      if (isBirth(event)) measured = measured.filter(([, id]) => this.suggestions.has(id));
      measured.push(...ingestedMeasurements(event).map(([id, measurement]) => [measurement.at, id, measurement]));
    }
    measured.sort((a, b) => a[0] - b[0]);
    measured.forEach(([, id, measurement]) => this.measure(id, measurement));
  }

  /** Take an event of this agent in. */
  take(event) {
    this.version += 1;
    if (event.kind === "log") this.log = [...this.log, event].slice(-MAX_LINES);
    else if (isBirth(event)) this.forget();
    else if (event.kind === "suggestion.state") this.fate(event);
    else if (event.kind === "ingest") ingestedMeasurements(event).forEach(([id, measurement]) => this.measure(id, measurement));
    this.remember(event);
  }

  /** The open suggestions of a state, in the order of their birth. */
  openIn(...states) {
    return [...this.open.values()].filter((suggestion) => states.includes(suggestion.state));
  }

  /** What is being measured: it runs, or is about to. */
  get moving() {
    return MOVING.flatMap((state) => this.openIn(state));
  }

  forget() {
    this.version += 1;
    for (const kept of [this.suggestions, this.open, this.measured]) kept.clear();
  }

  measure(id, measurement) {
    if (!this.measured.has(id)) this.measured.set(id, measurement);
  }

  fate(event) {
    const { data } = event;
    const at = seconds(event.time);
    const old = this.suggestions.get(data.id);
    if (!old) {
      // another than a birth is of an agent that had this name before
      if (data.state === "proposed") this.keep(born(event));
    } else if (at > old.at) {
      const news = Object.fromEntries(["run_uid", "outcome", "reason", "point", "traceback"].filter((key) => key in data).map((key) => [key, data[key]]));
      const changed = { ...old, state: data.state, at, ...news, ...decided(old, data) };
      this.keep(changed);
      if (changed.outcome && data.state === "measured") this.measure(changed.id, measurementOf(changed, at));
    }
  }

  keep(suggestion) {
    this.suggestions.set(suggestion.id, suggestion);
    if (OPEN.includes(suggestion.state)) this.open.set(suggestion.id, suggestion);
    else this.open.delete(suggestion.id);
  }

  remember(event) {
    const last = this.history.at(-1)?.seq ?? 0;
    if (event.seq === null || event.seq <= last) return;
    const { kind, data } = event;
    const starts = kind === "agent.state" && data.state === "starting";
    const by = data.by ?? (kind === "agent.state" ? this.starter : null); // a loop begins by itself, after somebody's word
    const was = this.spec;
    if (kind === "agent.state") this.starter = starts ? data.by ?? null : null;
    if (isBirth(event)) this.spec = data.spec;
    else if (kind === "config" && was) this.spec = { ...was, ...data };
    if (described(event) === null) return;
    this.history.push({ ...event, data: { ...data, ...(by ? { by } : {}) }, ...(kind === "config" && was ? { was } : {}) });
    if (this.history.length > MAX_FACTS) this.history.shift();
  }
}

/** The suggestion that a fact of its birth is about. */
export function born({ agent, time, data }) {
  return { id: data.id, agent, point: data.point, plan: data.plan ?? null, retry_of: data.retry_of ?? null, extra: data.extra ?? {}, proposed_by: data.by_hand ? data.by : null, reason: data.reason ?? null, outcome: null, run_uid: null, state: "proposed", created_at: time, at: seconds(time) };
}

/** What a person's word changes of a suggestion. */
function decided(old, { state, word, by, point }) {
  if (state === "rejected") return { rejected_by: by ?? null };
  if (state !== "approved" || !word) return {};
  const suggested = old.suggested_point ?? old.point;
  return { approved_by: by, suggested_point: point && !alike(point, suggested) ? suggested : null };
}

/** Whether two values say the same, in whatever order of names. */
function alike(value, other) {
  if (typeof value !== "object" || value === null || typeof other !== "object" || other === null) return value === other;
  const names = Object.keys({ ...value, ...other });
  return names.every((name) => name in value && name in other && alike(value[name], other[name]));
}

function measurementOf(suggestion, at) {
  return { at, point: suggestion.point, outcome: suggestion.outcome, run_uid: suggestion.run_uid };
}

function isBirth(event) {
  return event.kind === "agent.state" && "spec" in event.data;
}

function ingestedMeasurements(event) {
  if (event.kind !== "ingest") return [];
  return event.data.points.map((point, i) => {
    const { _id: id, _sem, ...numbers } = point; // what is known of their errors is not drawn
    return [id ? String(id) : `${event.seq}:${i}`, { at: seconds(event.time), point: numbers, outcome: numbers, run_uid: event.data.run_uids?.[i] ?? null, by: event.data.by }];
  });
}

// facts as lines for a person -------------------------------------------------------------------------------------------

/** What a fact about the agent itself says, or null when it is about a point: that is told with its point. */
export function described({ kind, data, was }, units = {}, labels = {}) {
  const lines = {
    "agent.state": () => (data.removed ? "removed" : ["starting", "stopping"].includes(data.state) && !data.error ? null : data.state),
    report: () => "reported",
    method: () => `${data.method} was called`,
    config: () => ("variable" in data ? `${data.variable} set to ${brief(data.value)}` : changedText(data, was, labels)),
    "queue.state": () => queueText(data, units),
  };
  return lines[kind]?.() ?? null;
}

/** What a change of the configuration changed, as in "loop changed: approval required -> auto"; `was`: the specification before. */
export function changedText({ by: _, ...data }, was, labels = {}) {
  const parts = Object.keys(data).sort();
  const steps = was ? parts.flatMap((part) => differences(was[part] ?? {}, data[part], [part])) : [];
  const text = ([path, before, after]) => `${labels[path.join(".")] ?? [path[1].replaceAll("_", " "), ...path.slice(2)].join(" ")} ${valueText(before)} -> ${valueText(after)}`;
  return `${parts.join(" and ")} changed${steps.length ? `: ${steps.map(text).join(", ")}` : ""}`;
}

/** The names of the fields of a form by their paths. */
export function labelsOf(form) {
  return Object.fromEntries(form.flatMap((group) => group.fields.map((field) => [field.path, field.label])));
}

function valueText(value) {
  if (value === null || value === undefined) return "none";
  return typeof value === "object" ? JSON.stringify(value) : brief(value);
}

/** What differs between two values: `[path, before, after]` of each. */
function differences(before, after, path) {
  const nested = [before, after].every((value) => typeof value === "object" && value !== null && !Array.isArray(value));
  if (nested) return Object.keys({ ...before, ...after }).flatMap((name) => differences(before[name], after[name], [...path, name]));
  return alike(before ?? null, after ?? null) ? [] : [[path, before, after]];
}

function queueText(data, units) {
  if (data.command === "claim" || (data.command === "move" && "plan" in data)) return null; // how it ended is told
  if (data.command === "moved") return `${data.begun ? "moved" : "not moved"} to ${valuesText(data.point, units)}`;
  return `queue: ${data.command}`;
}

function valuesText(point, units) {
  return Object.entries(point).filter(([name]) => !["_id", "_sem"].includes(name)).map(([name, value]) => [name, brief(value), units[name]].filter(Boolean).join(" ")).join(", ");
}

/** A number with as many digits as a person reads, anything else as it is. */
export function brief(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}
