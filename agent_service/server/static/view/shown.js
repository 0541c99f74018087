// What is shown of an agent, from its status and what its events told: plain data for the elements. Pure.

import { UNHAPPY, brief, seconds } from "./fold.js";
import { categories } from "./values.js";
import { reasonText } from "./words.js";

const PACE_OF = 12; // from how many of the last runs the time left is told
const TELL_FROM = 4; // steps between runs, at least
const WILD = 5; // where slower steps last so many times the quicker ones, nobody can tell
const MAX_REPORTS = 20;

/** Most outcomes that are drawn: the last ones; the best before them is told by itself. */
export const MAX_ROWS = 1000;
const MOST_UNHAPPY = 200; // points that came to nothing and are drawn: the last ones

/** What every view shows of an agent. */
export function summary({ name, state, reason, type, executor, legal, held = false, suspended, note, direction, best_of: bestOf, no_best: noBest, units = {} }) {
  // what the best is, in words: an older service says only the direction
  const best_of = bestOf || (direction === "minimize" ? "lowest" : "highest");
  return { name, state, reason, type, executor, legal, held, waits: suspended ?? "", note: note ?? "", direction, best_of, no_best: noBest, units };
}

/** An agent's head: `status` is the agent's, `service` the service's. */
export function header(status, service) {
  const { spec, busy, last_error: error } = status;
  const asks = spec.loop.approval_distance || [spec.loop.approval, service.guardrails?.approval ?? "auto"].some((rule) => rule !== "auto");
  return {
    ...summary(status),
    busy: busy && { call: busy.call, since: seconds(busy.since), progress: progressText(busy.progress) },
    actuators: spec.actuators,
    space: spec.space ?? {},
    outcomes: outcomesOf(spec),
    objective: status.objective,
    approval: asks ? "required" : "auto",
    no_limits: status.no_limits,
    error: error && { message: error.message, traceback: error.traceback, at: seconds(error.at) },
  };
}

/** Outcomes with the one first that the best is the best of: "highest" stands before it. */
export function ordered(outcome, objective) {
  return objective in outcome ? { [objective]: outcome[objective], ...outcome } : outcome;
}

/** A row of the table of agents; `waiting`: how many of its suggestions wait for a person. */
export function row(status) {
  return { ...summary(status), done: status.progress.done, total: status.progress.total, failed: status.counts?.failed ?? 0, best: status.best ? ordered(status.best.outcome, status.objective) : null, waiting: status.to_approve };
}

/** Runs done, the time left in seconds (from, to) if it can be told, and what is being measured. */
export function progress(status, fold) {
  const { done, total } = status.progress;
  const [now] = fold.moving;
  const waiting = fold.openIn("proposed").length;
  const byPerson = waiting > 0 && status.spec.loop.approval !== "auto" && !now;
  const pace = paceOf([...fold.measured.values()].slice(-PACE_OF - 1));
  const predictable = status.state === "running" && !byPerson && total && pace !== null; // nobody knows when a person will look
  return {
    done,
    total,
    left_s: predictable ? pace.map((step) => step * (total - done)) : null,
    measuring: now ? { id: now.id, point: now.point } : null,
    waiting: byPerson ? waiting : 0,
    cut: status.held ? cutOff(fold) : null,
    failed: status.counts.failed,
    by_hand: status.counts.by_hand,
    retold: status.counts.retold,
    idle: status.beam_idle,
  };
}

/** What became of the point under way when all was stopped, if it was not measured: `{point, state}`. */
function cutOff(fold) {
  const notRejected = [...fold.suggestions.values()].filter((suggestion) => suggestion.state !== "rejected");
  const newest = notRejected.reduce((last, suggestion) => (last && last.at >= suggestion.at ? last : suggestion), null);
  return newest && ["failed", "abandoned", "expired", "approved"].includes(newest.state) ? { point: newest.point, state: newest.state } : null;
}

/** Seconds from one run to the next, as the quicker and the slower half of the last ones had it; null: they tell nothing yet. */
function paceOf(measured) {
  const steps = measured.slice(1).map((measurement, i) => measurement.at - measured[i].at).sort((a, b) => a - b);
  if (steps.length < TELL_FROM) return null;
  const pace = [0.25, 0.75].map((part) => steps[Math.round(part * (steps.length - 1))]);
  return pace[1] > WILD * pace[0] ? null : pace;
}

/**
 * What the plots draw. `rows`: a list of values for each outcome, in the order of `actuators` and `outcomes`; `first`: the
 * number of the first row; `predicts`: whether its brain can be asked what it believes; `present`: where the actuators are, as far as that is known; `objective`: which outcome the best is of; `so_far`: the outcomes of the best after each row, or null
 * before there is one; `judged`: the outcomes by which it is the best, none where several each count for themselves; `ranges`: lowest
 * and highest of each outcome; `suggested`: open suggestions; `unhappy`: those that came to nothing, and why; `best` and `model`: rows; `allowed`, `search` (what
 * the agent searches) and `limits` (with what device and service allow): `[low, high]` or null by actuator; `categories`: for an
 * actuator whose values are no numbers in an order, these values, and in its place rows have the places among them; else null.
 */
export function plotted(status, fold, { positions = null } = {}) {
  const measured = [...fold.measured.values()];
  const actuators = status.spec.actuators;
  const last = Object.keys(measured.at(-1)?.outcome ?? {}).filter((name) => !actuators.includes(name));
  const outcomes = outcomesOf(status.spec).length ? outcomesOf(status.spec) : last;
  const columns = [...actuators, ...outcomes];
  const { best, best_by_model: model, objective } = status;
  const { bounds } = status.spec.guardrails;
  const { space = {} } = status.spec;
  const seen = [...measured, ...fold.open.values()];
  const named = actuators.map((name) => categories(space[name], seen.map((item) => item.point[name])));
  const line = (item) => cells({ ...item.point, ...item.outcome }, columns, named);
  const shown = measured.slice(-MAX_ROWS);
  const at = outcomes.indexOf(objective);
  const score = scorer(status);
  const judged = score ? outcomes.flatMap((name, i) => (i === at || name in (status.spec.objectives ?? {}) ? [i] : [])) : [];
  return {
    actuators,
    categories: named,
    whole: actuators.map((name) => space[name]?.type === "int"),
    outcomes,
    maximize: status.direction === "maximize",
    front: status.front ?? 0,
    predicts: (status.legal ?? []).includes("predict"),
    total: status.progress.total,
    first: measured.length - shown.length + 1,
    objective: at < 0 ? null : at,
    judged,
    so_far: score ? bests(measured, best, score).slice(-shown.length).map((outcome) => outcome && cells(outcome, outcomes, [])) : [],
    ranges: outcomes.map((name) => rangeOf([...measured, ...(best ? [best] : [])].map((measurement) => measurement.outcome[name]))),
    rows: shown.map(line),
    suggested: [...fold.open.values()].map((suggestion) => ({ id: suggestion.id, state: suggestion.state, values: cells(suggestion.point, actuators, named) })),
    unhappy: [...fold.suggestions.values()].filter((suggestion) => UNHAPPY.includes(suggestion.state)).slice(-MOST_UNHAPPY)
      .map((suggestion) => ({ state: suggestion.state, why: reasonText(suggestion.reason), values: cells(suggestion.point, actuators, named) })),
    best: best && line(best),
    model: model && !same(model, best) ? line(model) : null,
    allowed: actuators.map((name) => bounds[name] ?? null),
    present: positions ? actuators.map((name) => positions[name] ?? null) : [],
    search: actuators.map((name) => searched(status.spec, name)),
    units: status.units ?? {},
    limits: actuators.map((name) => status.limits[name] ?? null),
  };
}

/**
 * What says how good an outcome is, as the service finds its best: a number, higher the better, or null where it does not count.
 * Null itself where several objectives each count for themselves: there is a front, and no best. As agent_service/models/objectives.py.
 */
export function scorer({ spec, objective, direction }) {
  const { objectives = {}, outcome_constraints: limits = {} } = spec;
  const ways = Object.entries(objectives).length ? Object.entries(objectives) : [[objective, { direction }]];
  const weighted = ways.some(([, way]) => typeof way.weight === "number");
  if (ways.length > 1 && !weighted) return null;
  const within = ([name, { min, max }], outcome) => Number.isFinite(outcome[name]) && outcome[name] >= (min ?? -Infinity) && outcome[name] <= (max ?? Infinity);
  const worth = ([name, { direction: to, target, weight }], outcome) => {
    const good = typeof target === "number" ? -Math.abs(outcome[name] - target) : outcome[name] * (to === "maximize" ? 1 : -1);
    return good * (ways.length > 1 ? weight ?? 1 : 1);
  };
  return (outcome) => {
    if (Object.keys(objectives).length && !Object.entries(limits).every((limit) => within(limit, outcome))) return null;
    const sum = ways.reduce((all, way) => all + worth(way, outcome), 0);
    return Number.isFinite(sum) ? sum : null;
  };
}

/** The outcomes of the best after each of `measured`; one that is none of these was measured before them. */
export function bests(measured, best, score) {
  const top = best && score(best.outcome);
  let [highest, outcome] = best && !measured.some((measurement) => score(measurement.outcome) === top) ? [top, best.outcome] : [null, null];
  return measured.map((measurement) => {
    const value = score(measurement.outcome);
    if (value !== null && (highest === null || value > highest)) [highest, outcome] = [value, measurement.outcome];
    return outcome;
  });
}

/** Where an agent will measure, before it has, an actuator each: what it searches, what is allowed, and where it is now. */
export function region({ spec, limits, units = {} }, { positions = {} }) {
  return spec.actuators.map((name) => ({ name, unit: units[name] ?? "", search: searched(spec, name), allowed: limits[name] ?? null, at: positions[name] ?? null }));
}

/** The best by the brain's model, where it is another than the best measured; `measured`: whether its outcome is what was measured there. */
export function byModel({ best, best_by_model: model }, fold) {
  const has = (mapping, part) => Object.entries(part).every(([name, value]) => mapping[name] === value);
  const isMeasuredAt = (measurement) => has(measurement.point, model.point) && has(measurement.outcome, model.outcome);
  return model && !same(model, best) ? { ...model, measured: [...fold.measured.values()].some(isMeasuredAt) } : null;
}

/** Names of an agent's outcomes; none where a function evaluates. */
export function outcomesOf({ outcome }) {
  return outcome === null || outcome === undefined ? [] : [outcome].flat();
}

function searched({ config, space = {}, names = {} }, name) {
  return bothEnds(config.bounds?.[names[name] ?? name]) ?? bothEnds(config.bounds?.[name]) ?? bothEnds([space[name]?.low, space[name]?.high]);
}

/** Both ends of what an agent searches, or null where its configuration says them in another way. */
function bothEnds(ends) {
  return Array.isArray(ends) && ends.length === 2 && ends.every(Number.isFinite) ? ends : null;
}

/** Numbers as they are; a value of a category as its place among them. */
function cells(values, columns, named) {
  return columns.map((name, i) => {
    const place = named[i]?.indexOf(values[name]) ?? values[name];
    return typeof place === "number" && place >= (named[i] ? 0 : -Infinity) ? place : null;
  });
}

function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : [low, high];
}

function same(value, other) {
  return JSON.stringify(value) === JSON.stringify(other);
}

/** A proposed suggestion as a row of an inbox, with its agent's status; `refused`: why it was not approved at the last press. */
export function entry(suggestion, { limits, units = {}, spec: { space = {} } }, refused = "") {
  const beyond = Object.entries(limits).filter(([name, ends]) => typeof suggestion.point[name] === "number" && !inside(suggestion.point[name], ends))
    .map(([name, ends]) => `${name} is ${beyondText(ends)}`);
  const outside = refused ? [refused] : beyond;
  const rounded = Object.entries(suggestion.point).some(([name, value]) => space[name]?.type === "int" && !Number.isSafeInteger(value));
  const retry = suggestion.retry_of ? ["once more: its first try came to nothing"] : [];
  return {
    id: suggestion.id,
    agent: suggestion.agent,
    point: suggestion.point,
    space,
    units,
    note: [...outside, ...retry, ...remarks(suggestion), ...(rounded ? ["edit it from Python: a browser rounds whole numbers as large as here"] : [])].join("; "),
    rounded,
    outside: outside.length > 0,
    at: seconds(suggestion.created_at),
  };
}

/** What a person is to know beside a point: who proposed it and why, and what its brain expects there. */
function remarks({ proposed_by: by, reason, extra = {} }) {
  const { _reason: why, _prediction: expected } = extra;
  const proposal = [by ? `proposed by ${by}` : "", why ? String(why) : ""].filter(Boolean).join(": ");
  return [proposal, expected === undefined || expected === null ? "" : `expects ${predictionText(expected)}`, reason ?? ""].filter(Boolean);
}

function predictionText(value) {
  if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  return Object.entries(value).map(([name, each]) => `${name} ${withSpread(each)}`).join(", ");
}

/** A number, or a number and its standard deviation; else as it is. */
function withSpread(value) {
  const parts = typeof value === "object" && value !== null ? Object.values(value) : [value];
  const plain = parts.length <= 2 && parts.length && parts.every((part) => typeof part === "number");
  return plain ? parts.map(brief).join(" ± ") : JSON.stringify(value);
}

function inside(value, [low, high]) {
  return (low === null || value >= low) && (high === null || value <= high);
}

function beyondText([low, high]) {
  if (low === null) return `above ${brief(high)}`;
  return high === null ? `below ${brief(low)}` : `outside ${brief(low)} to ${brief(high)}`;
}

/** The log as lines, newest first; and what the history is made of, when somebody looks at it. */
export function lines(fold) {
  return { fold, log: fold.log.map((event) => ({ at: seconds(event.time), kind: event.data.level ?? "info", text: event.data.message ?? "" })).reverse() };
}

/** The last reports, newest first. */
export function reported(reports) {
  return reports.slice(-MAX_REPORTS).reverse().map(({ at, report }) => ({ at: seconds(at), report }));
}

function progressText(progress) {
  if (!progress) return "";
  const share = progress.total ? `${brief(progress.done)} of ${brief(progress.total)}` : brief(progress.done);
  return progress.message ? `${share}, ${progress.message}` : share;
}
