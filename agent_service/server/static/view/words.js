// Words for people: states, types, and why a command is not possible now. Pure.

const STATES = { created: "not started", missing: "not there", unknown: "not known yet" };
const IT_IS = { created: "it is not started", starting: "it is starting", stopping: "it is stopping", stopped: "it has stopped", failed: "it has failed", running: "it is running", paused: "it is paused", missing: "there is no such agent" };
const MOVES = ["start", "resume", "restart", "go-to-best", "continue"];
const NEEDS_BRAIN = ["suggest", "ingest", "report", "predict"];

/** A state of an agent as a person says it. */
export function stateText(state) {
  return STATES[state] ?? state;
}

/** The class of a type's name, as in "package.module:Walker"; the name itself where it names no class. */
export function typeText(type = "") {
  return type.split(":").at(-1).replace(/-[0-9a-f]{8}$/, ""); // "live:Walker-0badcafe" is an object of a notebook
}

/** Why a command is not possible for an agent now; an empty text when it is. `queue` is the state of the queue. */
export function whyNot(command, { state = "unknown", legal = [], held = false }, queue) {
  if (queue === "held" && held && command === "resume") return "it goes on when the queue is resumed";
  if (queue === "held" && MOVES.includes(command)) return "the queue is held: resume it first";
  const wanted = { continue: state === "paused" ? "resume" : "start", "start-paused": "start" }[command] ?? command;
  if (legal.includes(wanted)) return "";
  if (command === "go-to-best" && state === "running") return "pause it first: it moves the motors itself";
  if (NEEDS_BRAIN.includes(command) && ["created", "stopped", "failed"].includes(state)) return "start it, or start it paused";
  return IT_IS[state] ?? "it is not known yet";
}

/** What follows when a queue that is held is resumed, by the agents that the hold paused; `agents` are those that are known. */
export function resumeText(agents) {
  const names = agents.filter((agent) => agent.held && agent.state === "paused").map((agent) => agent.name);
  if (!names.length) return "Resume queue: no agent goes on by it.";
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} others`] : [...names];
  const last = shown.pop();
  return `Resume queue: ${shown.length ? `${shown.join(", ")} and ` : ""}${last} ${names.length === 1 ? "goes" : "go"} on.`;
}

/** Why an agent waits though it runs or starts; empty where the service says so of all agents, in a line of its own. */
export function waitText({ state, waits = "" }, { queue = {}, conditions = [] } = {}) {
  const saidElsewhere = queue.state === "suspended" || conditions.some((condition) => ["silent", "lost", "settling"].includes(condition.state));
  return saidElsewhere || !["starting", "running"].includes(state) ? "" : waits.replace(/^the agent waits: /, "it waits: ");
}

/** Whether an agent ended by what went wrong: it failed, or too many of its suggestions did. */
export function endedBadly({ state, reason }) {
  return state === "failed" || (state === "stopped" && /^\d+ (failures?|suggestions) in a row/.test(reason ?? ""));
}

/** A state of an agent as a badge has it: its colour, and what it says. */
export function shownState({ state = "unknown", reason }) {
  const failures = state === "stopped" && endedBadly({ state, reason });
  return failures ? ["failed", `stopped: ${/^\d+ suggestions/.test(reason) ? "rejections" : "failures"}`] : [state, stateText(state)];
}

/** What comes next in a state: the command for the first button. */
export function nextCommand({ state }, more) {
  if (more) return "continue";
  return { running: "pause", starting: "pause", stopping: "pause", paused: "resume" }[state] ?? "start";
}

/** So many runs, as in "1 run". */
export function runs(count) {
  return `${count} ${count === 1 ? "run" : "runs"}`;
}

/** How many more runs are offered where all that were asked for are made; 0 where some are left, or no number was set. */
export function runsMore({ state }, { done, total }) {
  if (!total || done < total || !["stopped", "paused"].includes(state)) return 0;
  return total <= 24 ? total : 10;
}

/** Runs that an agent made, and those that failed, as in "3 failed" and "5 runs, 3 failed". */
export function doneText({ done = 0, total = null, failed = 0 }) {
  const made = total ? `${done} of ${total}` : runs(done);
  if (!failed) return made;
  return done || total ? `${made}, ${failed} failed` : `${failed} failed`;
}

/** A reason of the service without the names of fields, and with numbers as short as a person reads them. */
export function reasonText(reason) {
  return (reason ?? "").replace(/^max_runs reached \((\d+) of \d+\)$/, "all $1 runs are made").replace(/ \(max_failures\)/, "")
    .replace(/\b(guardrails|device_limits|device)\.[^\s:]+: /g, "").replace(/-?\d+\.\d{5,}(e[+-]?\d+)?/g, (digits) => String(Number(Number(digits).toPrecision(4))));
}

const UNITS = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A range of seconds in one unit, as in "4 to 7 min". */
export function rangeText([low, high]) {
  const [size, unit] = UNITS.find(([seconds]) => high >= 1.5 * seconds) ?? UNITS.at(-1);
  const [from, to] = [low / size, high / size].map((value) => (value < 10 && size > 1 ? Math.round(2 * value) / 2 : Math.round(value)));
  return from === to ? `about ${to} ${unit}` : `${from} to ${to} ${unit}`;
}
