// One agent, live.

import { allow, byHandTab, configureTab, reportsTab, tabs, variablesTab } from "./agent_tabs.js";
import { commands } from "./commands.js";
import { actionButton, permit } from "./controls.js";
import { h, keyed, number, pointText, say, tick } from "./dom.js";
import { badge, beginPanel, foot, noticeStrips, stopper } from "./frame.js";
import { historyTab, logTab } from "./history.js";
import { inboxTable } from "./inbox.js";
import { morePictures } from "./more_pictures.js";
import { legend, mapPlot, tracePlot } from "./plots.js";
import { ordered } from "./shown.js";
import { endedBadly, rangeText, reasonText, runs, runsMore, shownState, typeText, waitText, whyNot } from "./words.js";

/** Draw an agent in `el`; returns what ends that. */
export function agentPanel(model, el) {
  const panel = beginPanel(model, el);
  const halt = stopper(model, panel);
  panel.root.append(
    header(model, panel, halt.stop),
    halt.strip,
    ...noticeStrips(model, panel),
    bestLine(model, panel),
    progressBar(model, panel),
    plots(model, panel),
    legend(model, panel),
    tabbed(model, panel),
    foot(model, panel));
  panel.on(["agent"], () => panel.root.classList.toggle("as-blank", ["missing", undefined].includes(model.get("agent").state)));
  return panel.end;
}

function header(model, panel, stop) {
  const name = h("h3", {});
  const state = h("span", {});
  const kind = h("span", {});
  const busy = h("span", {});
  const reason = h("div", { class: "as-reason" });
  const unlimited = h("div", { class: "as-reason as-bad" });
  const trace = h("pre", {});
  const fault = h("details", { class: "as-reason", hidden: true, ontoggle: () => { trace.scrollTop = trace.scrollHeight; } }, h("summary", {}, "Traceback"), trace);
  const { bar, why } = commands(model, panel, stop);
  panel.on(["agent", "progress", "service"], () => {
    const agent = model.get("agent");
    const progress = model.get("progress");
    const more = runsMore(agent, progress);
    say(name, agent.name ?? "");
    state.replaceChildren(badge(...shownState(agent)));
    say(kind, agent.type ? typeText(agent.type) : "");
    kind.title = agent.type ? `${agent.type}, in a ${agent.executor} of the service` : "";
    say(reason, more ? `${progress.done} of ${progress.total} runs done: ${more} more?` : [reasonText(agent.reason), waitText(agent, model.get("service")), agent.note, cutText(progress.cut, agent.units)].filter(Boolean).join("; "));
    fault.hidden = agent.state !== "failed" || !agent.error?.traceback;
    say(trace, fault.hidden ? "" : agent.error.traceback);
    say(unlimited, agent.no_limits?.length ? `no limits: ${agent.no_limits.join(", ")}. Neither the device nor the allowed region bounds ${agent.no_limits.length === 1 ? "it" : "them"}: set one under Configure.` : "");
    busy.dataset.since = agent.busy?.since ?? Infinity;
    say(busy, agent.busy ? `busy in ${agent.busy.call}${agent.busy.progress ? `: ${agent.busy.progress}` : ""}` : "");
    tick(panel.root);
    reason.classList.toggle("as-bad", endedBadly(agent) || agent.state === "missing");
  });
  return h("header", { class: "as-head" },
    h("div", { class: "as-title" }, name, state, h("span", { class: "as-about" }, kind, busy)),
    bar,
    why,
    reason,
    fault,
    unlimited);
}

/** What became of the point that was under way when all was stopped. */
function cutText(cut, units) {
  return cut ? `${pointText(cut.point, units)} ${cut.state === "approved" ? "waits to be measured" : "was not measured"}` : "";
}

function progressBar(model, panel) {
  const bar = h("i", {});
  const done = h("b", {});
  const left = h("span", {});
  const now = h("span", {});
  const failed = h("span", {});
  const idle = h("span", { title: "the share of the time this agent ran in which none of its plans did" });
  const track = h("div", { class: "as-track", role: "progressbar", "aria-label": "runs done" }, bar);
  panel.on(["progress", "agent", "service"], () => {
    const progress = model.get("progress");
    const total = progress.total;
    const part = total ? Math.min(1, progress.done / total) : 0;
    bar.style.width = `${100 * part}%`;
    const moves = !progress.waiting && !["held", "paused", "suspended"].includes(model.get("service").queue?.state);
    track.classList.toggle("as-open", !total && moves && model.get("agent").state === "running");
    track.setAttribute("aria-valuenow", String(Math.round(100 * part)));
    say(done, total ? `${progress.done ?? 0} of ${total} runs` : runs(progress.done ?? 0));
    say(left, progress.left_s ? `${rangeText(progress.left_s)} left` : "");
    const waits = progress.waiting ? `${progress.waiting} ${progress.waiting === 1 ? "waits" : "wait"} for approval` : "";
    say(now, progress.measuring ? `measuring ${pointText(progress.measuring.point, model.get("agent").units)}` : waits);
    say(failed, [[progress.failed, "failed"], [progress.by_hand, "by hand"], [progress.retold, "from before"]]
      .filter(([count]) => count).map(([count, fate]) => `${count} ${fate}`).join(", "));
    say(idle, progress.idle === null || progress.idle === undefined ? "" : `beam idle ${Math.round(100 * progress.idle)} %`);
  });
  return h("div", { class: "as-progress" }, track, done, left, now, failed, idle);
}

function plots(model, panel) {
  const path = () => `agents/${encodeURIComponent(model.get("agent").name)}/predict`;
  const predict = async (points) => {
    const why = whyNot("predict", model.get("agent"));
    if (why) throw new Error(why);
    return model.source.ask({ method: "POST", path: path(), body: { points } });
  };
  const both = [tracePlot(), mapPlot(predict)];
  both.forEach((plot) => panel.ends.push(plot.end));
  const first = beforeFirstRun(model, panel);
  panel.on(["region"], () => { both[0].element.hidden = model.get("region").length > 0; });
  panel.on(["plot"], () => both.forEach((plot) => plot.show(model.get("plot"))));
  return h("div", { class: "as-plots" }, first, both.map((plot) => plot.element), morePictures(model, panel, predict));
}

/** Before the first run: where it will measure, and where things are now. */
function beforeFirstRun(model, panel) {
  const body = h("tbody", {});
  const table = h("table", { class: "as-table as-cards" }, h("caption", {}, "Before the first run"),
    h("thead", {}, h("tr", {}, ["actuator", "searched", "allowed", "now at"].map((name, i) => h("th", { scope: "col", class: i ? "as-num" : "" }, name)))), body);
  const element = h("div", { class: "as-before" }, table);
  const pairText = (pair, unit) => (pair ? `${number(pair[0])} to ${number(pair[1])} ${unit}` : "any");
  panel.on(["region"], () => {
    const rows = model.get("region");
    element.hidden = !rows.length;
    keyed(body, rows, (actuator) => actuator.name, (actuator) => h("tr", {}, h("th", { scope: "row" }, actuator.name), ["searched", "allowed", "now at"].map((name) => h("td", { class: "as-num", "data-label": name }))), (line, actuator) => {
      const texts = [pairText(actuator.search, actuator.unit), pairText(actuator.allowed, actuator.unit), actuator.at === null ? "not known" : `${number(actuator.at)} ${actuator.unit}`];
      texts.forEach((text, i) => say(line.children[i + 1], text.trim()));
    });
  });
  return element;
}

function bestLine(model, panel) {
  const why = h("span", { class: "as-why", id: `as-best-${Math.random().toString(36).slice(2)}` });
  const measured = bestOf(model, "measured", "Go to best", why);
  const byModel = bestOf(model, "model", "Go there", why);
  panel.on(["best", "by_model", "agent", "link", "service"], () => {
    const { objective, best_of: bestOf, no_best: noBest } = model.get("agent");
    const which = objective ? `, ${bestOf} ${objective}` : "";
    measured.show(`Best measured${which}`, model.get("best"), noBest ?? "Nothing was measured yet");
    const { measured: wasMeasured } = model.get("by_model") ?? {};
    byModel.show(`Best point by the agent's model, ${wasMeasured ? "measured there" : "which expects"}`, model.get("by_model"), "");
    byModel.element.hidden = !model.get("by_model");
  });
  return h("div", { class: "as-bestline" }, measured.element, byModel.element, why);
}

/** What is best by `by`, and a button that moves there; `why`, beside both of them, says why that is not possible now. */
function bestOf(model, by, label, why) {
  const [title, outcome, where] = [h("span", {}), h("b", {}), h("span", { class: "as-muted" })];
  const go = Object.assign(actionButton(model, "go-to-best", label, () => model.send({ action: "go-to-best", by })), { why });
  const show = (text, best, none) => {
    say(title, best ? text : none);
    const { units, objective } = model.get("agent");
    say(outcome, best ? pointText(ordered(best.outcome, objective), units) : "");
    say(where, best ? `at ${pointText(best.point, units)}` : "");
    go.hidden = !best;
    if (best) allow(go, model, "go-to-best");
    else if (by === "measured") permit(go, model, "");
  };
  return { element: h("span", { class: "as-bestof" }, title, outcome, where, go), show };
}

function tabbed(model, panel) {
  const inbox = inboxTable(model);
  const tabList = tabs([
    { name: "Inbox", element: inbox.element },
    { name: "Configure", element: configureTab(model, panel) },
    { name: "Variables", element: variablesTab(model, panel) },
    { name: "Report", element: reportsTab(model, panel) },
    { name: "History", ...historyTab(model, panel) },
    { name: "Log", ...logTab(model, panel) },
    { name: "By hand", element: byHandTab(model, panel) },
  ]);
  panel.on(["inbox", "agent"], () => {
    const agent = model.get("agent");
    const items = model.get("inbox");
    const none = agent.approval === "required" ? "Nothing waits for approval." : `Nothing waits${agent.state === "running" ? ": this agent's" : ". While this agent runs, its"} suggestions are approved at once.`;
    tabList.count(0, items.length);
    inbox.show(items, agent.actuators ?? [], none);
  });
  panel.on(["notice"], inbox.free);
  return tabList.element;
}
