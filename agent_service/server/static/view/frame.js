// What all panels have: a line for what went wrong, Stop everything, and a foot with the connection.

import { actionButton, settle } from "./controls.js";
import { button, h, say, tick, watch } from "./dom.js";
import { resumeText, runs } from "./words.js";

const DONE_STAYS_MS = 6000;

/** Begin a panel in `el`; `ends` collects what must end with it. */
export function beginPanel(model, el) {
  const root = h("section", { class: "as-panel" });
  el.classList.add("as-host");
  el.replaceChildren(root);
  const ticking = setInterval(() => tick(root), 1000);
  const ends = [() => clearInterval(ticking)];
  const on = (traits, draw) => ends.push(watch(model, traits, draw));
  on(["link", "service"], () => root.querySelectorAll("[data-action]").forEach((command) => settle(command, model)));
  return { root, ends, on, end: () => ends.forEach((end) => end()) };
}

/** A badge with a state's colour. */
export function badge(state, label = state) {
  return h("span", { class: `as-badge as-${state}` }, h("i", {}), label);
}

/** Stop everything, which latches; and while it does, why, and Resume queue. */
export function stopper(model, panel) {
  if (model.home === "page") return { stop: "", strip: "" }; // its bar has them
  const stop = actionButton(model, "stop-everything", "Stop everything", () => model.send({ action: "stop-everything" }), "as-danger",
    "Abort the plan under way, and let nothing move until somebody resumes the queue");
  const why = h("span", { class: "as-grow" });
  const go = actionButton(model, "resume-queue", "Resume queue", () => model.send({ action: "resume-queue" }));
  const destroy = destroyButton(model);
  const strip = h("div", { class: "as-strip as-warn", role: "alert" }, badge("held"), why, destroy, go);
  panel.on(["service", "agent", "agents"], () => {
    const { queue = {}, conditions = [] } = model.get("service");
    const saidElsewhere = queue.state === "suspended" && conditions.some(isUnmet);  // in a line of its own
    const still = saidElsewhere ? "" : stillText(queue, model.get("agents") ?? (model.get("agent")?.held ? [model.get("agent")] : null));
    go.hidden = queue.state === "suspended";
    destroy.hidden = !queue.can_destroy;
    strip.hidden = !still;
    strip.firstChild.replaceWith(badge(queue.state ?? "held"));
    say(why, still);
  });
  return { stop, strip };
}

/** Destroy environment, of a queue server whose worker died: a first press warns, a second one does it. */
export function destroyButton(model) {
  const label = "Destroy environment";
  let warned = false;
  const command = actionButton(model, "destroy-environment", label, () => {
    if (warned) model.send({ action: "destroy-environment" });
    warned = !warned;
    say(command, warned ? "Press again: this ends whatever runs at the queue server, whoever's it is" : label);
  }, "as-danger", "The worker of the queue server died, and the manager does not know: give the queue back");
  return command;
}

/** One line for the answer to a button, one for the connection when it is not live, and one for what the service cannot do. */
export function noticeStrips(model, panel) {
  const text = h("span", { class: "as-grow" });
  const trace = h("pre", {});
  const fold = h("details", {}, h("summary", {}, "Traceback"), trace);
  const strip = h("div", { class: "as-strip", role: "status" }, text, button("Dismiss", () => { strip.hidden = true; }, "as-plain"));
  const lost = h("div", { class: "as-strip as-warn", role: "alert" });
  const faults = h("div", { class: "as-strip as-error", role: "alert", hidden: true });
  const unmet = h("div", { class: "as-strip as-warn", role: "status", hidden: true });
  let timer = null;
  panel.ends.push(() => clearTimeout(timer));
  panel.on(["notice"], () => {
    const notice = model.get("notice");
    clearTimeout(timer);
    strip.hidden = !notice.text;
    strip.className = `as-strip ${{ error: "as-error", wait: "as-warn" }[notice.kind] ?? "as-done"}`;
    say(text, notice.text ?? "");
    fold.hidden = !notice.traceback;
    say(trace, notice.traceback ?? "");
    if (notice.kind === "done") timer = setTimeout(() => { strip.hidden = true; }, DONE_STAYS_MS);
  });
  panel.on(["link"], () => {
    const link = model.get("link");
    lost.hidden = link.state === "live" || !link.message;
    lost.className = `as-strip ${["refused", "unheard"].includes(link.state) ? "as-error" : "as-warn"}`;
    say(lost, link.message ?? "");
    panel.root.classList.toggle("as-dim", !["live", "direct"].includes(link.state));
  });
  panel.on(["service"], () => {
    const texts = model.get("service").faults ?? [];
    faults.hidden = !texts.length;
    say(faults, texts.join("; "));
    const inBar = model.home === "page" && model.get("service").queue?.state === "suspended"; // the bar says it
    const lines = (model.get("service").conditions ?? []).filter((condition) => (isUnmet(condition) && !inBar) || condition.state === "off").map(conditionText);
    unmet.hidden = !lines.length;
    say(unmet, lines.join("; "));
  });
  return [lost, faults, unmet, strip, fold];
}

/** The foot: whether it is live, where the service is, how far the archive lags. */
export function foot(model, panel) {
  const state = h("span", { class: "as-link" });
  const where = h("span", {});
  const page = h("a", { target: "_blank", rel: "noopener", hidden: true }, "API page");
  const lag = h("span", { class: "as-right" });
  let looked = null;
  panel.on(["link"], async () => {
    const link = model.get("link");
    state.replaceChildren(badge(link.state, { unheard: "not heard", direct: "without the kernel" }[link.state]));
    say(where, link.url);
    if (link.state !== "live") looked = null;
    else if (!looked) {
      looked = model.apiPage();
      const href = await looked;
      page.hidden = !href;
      if (href) page.href = href;
    }
  });
  panel.on(["service"], () => say(lag, lagText(model.get("service").archive)));
  return h("footer", { class: "as-foot" }, state, where, page, lag);
}

export function lagText(archive) {
  if (!archive) return "";
  if (archive.state === "none") return "no archive";
  if (archive.state === "unavailable") return `archive unavailable: ${archive.reason ?? "it will be tried again"}`;
  const behind = archive.runs_behind;
  if (archive.state === "starting") return `archive starting, ${behind} to write`;
  if (archive.reason) return `archive: ${archive.reason}`;
  const refused = archive.runs_refused ? `archive refused ${runs(archive.runs_refused)}, kept in the spool` : "";
  const lag = behind ? `archive ${runs(behind)} behind` : "";
  return [refused, lag].filter(Boolean).join("; ") || "archive up to date";
}

/** Why nothing moves; and what goes on when the queue is resumed, where `agents` are known. */
export function stillText(queue, agents = null) {
  const reason = queue.reason ?? "";
  const then = agents ? ` ${resumeText(agents)}` : "";
  if (queue.state === "held") return `${queue.current ? "Nothing new begins" : "Nothing moves"}: ${reason || "somebody stopped everything"}.${then}`;
  if (queue.can_destroy) return `Nothing moves: ${reason}`;
  if (queue.state === "suspended") return `It goes on by itself when this is over: ${reason || "a suspender tripped"}`;
  if (queue.state !== "paused") return "";
  const who = reason === "paused by request" ? "paused" : reason || "paused";
  if (/^paused( by [^;:]+)?$/.test(who)) return `The plan queue is ${who}: the plans of all agents wait.`;
  return reason.startsWith("paused") ? `The plan queue is ${reason}` : `The plan queue is paused: ${reason}`;
}

export function isUnmet(condition) {
  return ["silent", "lost", "settling"].includes(condition.state);
}

export function conditionText(condition) {
  return condition.state === "off" ? condition.text : `held: ${condition.text}`;
}
