// What can be pressed, as requests of the HTTP API. Pure.

import { pointText } from "./dom.js";
import { changedText, labelsOf } from "./fold.js";
import { changes } from "./forms.js";

const OF_AGENT = ["start", "start-paused", "pause", "resume", "stop", "restart"];
const CHANGES = ["suggest", "ingest", "report", "configure", "continue", "set-variable"];
const OF_QUEUE = ["pause-queue", "resume-queue", "stop-everything", "destroy-environment"];

/** Actions that one scope allows, by that scope; who lacks it is not shown their buttons. */
const NEEDS = {
  approve: ["approve", "approve-all", "reject", "go-to-best"],
  propose: ["propose"],
  control: ["create", ...OF_AGENT, ...CHANGES, ...OF_QUEUE],
};

/** Whether somebody with these scopes may do an action; who it is may not be known yet. */
export function may(scopes, action) {
  const need = Object.keys(NEEDS).find((scope) => NEEDS[scope].includes(action));
  return !scopes || !need || scopes.includes(need);
}

/** An action as a person reads it: "stop-everything" is "Stop everything". */
export function actionTitle(action) {
  const words = action.replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const post = (path, body) => ({ method: "POST", path, body: body ?? null });

/**
 * The request for what was pressed, with `done(answer)`, which says what came of it, and `then`, the request that follows it;
 * null when there is nothing to do.
 */
export function request({ action, ...given }, { name, status, form, home } = {}) {
  const agent = `agents/${encodeURIComponent(given.name ?? name)}`;
  const suggestion = `suggestions/${encodeURIComponent(given.id)}`;
  if (action === "start-paused") return post(`${agent}/start?paused=true`);
  if (OF_AGENT.includes(action)) return post(`${agent}/${action}`);
  switch (action) {
    case "stop-everything": return post("queue/abort", { reason: `Stop everything was pressed ${home === "page" ? "on the page" : "in a panel"}` });
    case "pause-queue": return post("queue/pause");
    case "resume-queue": return post("queue/resume");
    case "destroy-environment": return post("queue/destroy-environment");
    case "reject": return post(`${suggestion}/reject`, {});
    case "approve": {
      if (!given.point) return post(`${suggestion}/approve`);
      const point = readPoint(given.point, given.texts ?? []);
      return { ...post(`${suggestion}/approve`, { point }), done: () => "approved with the edited point" };
    }
    case "approve-all": return { ...post("suggestions/approve", { seen: given.seen }), done: ({ suggestions }) => `${suggestions.length} approved` };
    case "propose": {
      const point = filledPoint(given);
      if (!given.reason) throw new Error("say why: who approves it reads the reason");
      return { ...post(`${agent}/suggestions`, { point, reason: given.reason }), done: () => "proposed; it waits in the inbox" };
    }
    case "go-to-best": {
      const by = given.by ?? "measured";
      const seen = by === "measured" ? status?.best : status?.best_by_model;
      const done = (best) => `moved to ${pointText(best.point, status?.units)}`;
      return { ...post(`${agent}/go-to-best`, { by, point: given.point ?? seen?.point ?? null }), done };
    }
    case "continue": {
      const loop = { ...status.spec.loop, max_runs: status.progress.done + given.runs };
      return { method: "PATCH", path: agent, body: { loop }, then: post(`${agent}/${status.state === "paused" ? "resume" : "start"}`) };
    }
    case "report": return post(`${agent}/report`);
    case "suggest": {
      const done = ({ suggestions }) => (suggestions.length ? `${suggestions.length} suggested; they wait in the inbox` : "the agent had nothing to suggest");
      return { ...post(`${agent}/suggest`, { n_points: Math.trunc(Number(given.n_points ?? 1)) }), done };
    }
    case "ingest": {
      return { ...post(`${agent}/ingest`, { points: [filledPoint(given)] }), done: () => "ingested" };
    }
    case "set-variable": {
      const path = `agents/${encodeURIComponent(name)}/variables/${encodeURIComponent(given.name)}`;
      return { method: "PUT", path, body: { value: given.value }, done: (variable) => `${variable.name} is ${valueText(variable.value)} now` };
    }
    case "configure": {
      const body = changes(form, given.values, status.spec);
      if (!Object.keys(body).length) return null;
      const rebuilt = "config" in body && status.started_at ? "; the brain was rebuilt with it" : "";
      const freed = (after) => releasedText((status.to_approve ?? 0) - (after.to_approve ?? 0), after.state);
      return { method: "PATCH", path: agent, body, done: (after) => `${changedText(body, status.spec, labelsOf(form))}${rebuilt}${freed(after)}` };
    }
    default: throw new Error(`there is no action ${action}`);
  }
}

/** What becomes of points that waited for approval and need none any more. */
function releasedText(count, state) {
  if (!(count > 0)) return "";
  const points = count === 1 ? "1 point that waited needs no approval now and is" : `${count} points that waited need no approval now and are`;
  return `; ${points} measured${state === "running" ? "" : " when it goes on"}`;
}

/** A point of which every value has to be filled in. */
function filledPoint({ point, texts = [] }) {
  const empty = Object.keys(point).filter((key) => point[key] === "" || point[key] === null);
  if (empty.length) throw new Error(`${empty.join(", ")} must be filled in`);
  return readPoint(point, ["_id", ...texts]);
}

/** A point as it was filled in, with numbers where numbers stand; `texts` are the names whose value is a text. */
function readPoint(point, texts) {
  const parsed = (name, value) => {
    if (typeof value !== "string" || texts.includes(name)) return value;
    const numeric = value === "" ? NaN : Number(value);
    if (!Number.isFinite(numeric)) throw new Error(`${name} must be a number`);
    return numeric;
  };
  return Object.fromEntries(Object.entries(point).map(([name, value]) => [name, parsed(name, value)]));
}

function valueText(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
