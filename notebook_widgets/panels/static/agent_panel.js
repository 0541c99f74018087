// One agent, live.

import { allow, byHand, configure, history, reports, tabs, variables } from "./agent_tabs.js";
import { clock, h, number, pointText, say, tick } from "./dom.js";
import { badge, begin, foot, notices, stopper } from "./frame.js";
import { inboxTable, waiting } from "./inbox.js";
import { acting, permit } from "./line.js";
import { legend, mapPlot, tracePlot } from "./plots.js";

const COMMANDS = ["Start", "Pause", "Resume", "Stop", "Restart"];

function render({ model: raw, el }) {
  const panel = begin(raw, el, look);
  const { model } = panel;
  const halt = stopper(model, panel);
  panel.root.append(
    header(model, panel, halt.stop),
    halt.strip,
    ...notices(model, panel),
    progressBar(model, panel),
    plots(model, panel),
    bestLine(model, panel),
    tabbed(model, panel),
    foot(model, panel));
  return panel.end;
}

function header(model, panel, stop) {
  const name = h("h3", {});
  const state = h("span", {});
  const kind = h("span", {});
  const busy = h("span", {});
  const reason = h("div", { class: "as-reason" });
  const unlimited = h("div", { class: "as-reason as-bad", title: "Neither the device nor guardrails bound it. Set an allowed region under Configure, or name it in guardrails.unbounded." });
  const commands = COMMANDS.map((label) => [label.toLowerCase(), acting(model, label.toLowerCase(), label, () => model.send({ action: label.toLowerCase() }))]);
  panel.on(["agent", "link", "service"], () => {
    const agent = model.get("agent");
    say(name, agent.name ?? "");
    state.replaceChildren(badge(agent.state ?? "unknown"));
    say(kind, agent.type ? `${agent.type} · ${agent.executor}` : "");
    say(reason, agent.reason ?? "");
    say(unlimited, agent.no_limits?.length ? `no limits: ${agent.no_limits.join(", ")}` : "");
    busy.dataset.since = agent.busy?.since ?? Infinity;
    say(busy, agent.busy ? `busy in ${agent.busy.call}${agent.busy.progress ? `: ${agent.busy.progress}` : ""}` : "");
    tick(panel.root);
    reason.classList.toggle("as-bad", agent.state === "failed" || agent.state === "missing");
    commands.forEach(([command, one]) => allow(one, model, command));
  });
  return h("header", { class: "as-head" },
    h("div", { class: "as-title" }, name, state, h("span", { class: "as-about" }, kind, busy)),
    h("div", { class: "as-commands" }, commands.map(([, one]) => one), stop),
    reason,
    unlimited);
}

function progressBar(model, panel) {
  const bar = h("i", {});
  const done = h("b", {});
  const left = h("span", {});
  const now = h("span", {});
  const failed = h("span", {});
  const track = h("div", { class: "as-track", role: "progressbar", "aria-label": "runs done" }, bar);
  panel.on(["progress", "agent"], () => {
    const progress = model.get("progress");
    const total = progress.total;
    const part = total ? Math.min(1, progress.done / total) : 0;
    bar.style.width = `${100 * part}%`;
    track.classList.toggle("as-open", !total && model.get("agent").state === "running");
    track.setAttribute("aria-valuenow", String(Math.round(100 * part)));
    say(done, total ? `${progress.done ?? 0} of ${total} runs` : `${progress.done ?? 0} ${progress.done === 1 ? "run" : "runs"}`);
    say(left, progress.left_s === null || progress.left_s === undefined ? "" : `${clock(progress.left_s)} left`);
    const waits = progress.waiting ? `${progress.waiting} ${progress.waiting === 1 ? "waits" : "wait"} for approval` : "";
    say(now, progress.measuring ? `measuring ${progress.measuring.id.slice(0, 4)}…` : waits);
    say(failed, [[progress.failed, "failed"], [progress.by_hand, "by hand"], [progress.retold, "from before"]]
      .filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", "));
    now.title = progress.measuring ? pointText(progress.measuring.point) : "";
  });
  return h("div", { class: "as-progress" }, track, done, left, now, failed);
}

function plots(model, panel) {
  const both = [tracePlot(), mapPlot()];
  both.forEach((plot) => panel.ends.push(plot.end));
  panel.on(["plot"], () => both.forEach((plot) => plot.show(model.get("plot"))));
  return h("div", { class: "as-plots" }, both.map((plot) => plot.element));
}

function bestLine(model, panel) {
  const measured = bestOf(model, "measured", "Go to best");
  const byModel = bestOf(model, "model", "Go there");
  panel.on(["best", "by_model", "agent", "link", "service"], () => {
    const { objective, direction } = model.get("agent");
    const which = objective ? `, ${direction === "minimize" ? "lowest" : "highest"} ${objective}` : "";
    measured.show(`Best measured${which}`, model.get("best"), "nothing yet");
    byModel.show("Best by the agent's model", model.get("by_model"), "");
    byModel.element.hidden = !model.get("by_model");
  });
  return h("div", { class: "as-bestline" }, measured.element, byModel.element, legend());
}

function bestOf(model, by, label) {
  const [title, what, where] = [h("span", {}), h("b", {}), h("span", { class: "as-muted" })];
  const go = acting(model, "go-to-best", label, () => model.send({ action: "go-to-best", by }));
  const show = (text, best, none) => {
    say(title, text);
    say(what, best ? Object.entries(best.outcome).map(([name, value]) => `${name} ${number(value)}`).join(", ") : none);
    say(where, best ? `at ${pointText(best.point)}` : "");
    allow(go, model, "go-to-best");
    if (!best) permit(go, model, "Nothing was measured yet");
    // a move that no suggestion asks for is a person's word, as an approval is
    const scopes = model.get("service").scopes;
    go.hidden = Boolean(scopes) && !scopes.includes("approve");
  };
  return { element: h("span", { class: "as-bestof" }, title, what, where, go), show };
}

function tabbed(model, panel) {
  const inbox = inboxTable(model);
  const shown = tabs([
    { name: "Inbox", element: inbox.element },
    { name: "Configure", element: configure(model, panel) },
    { name: "Variables", element: variables(model, panel) },
    { name: "Report", element: reports(model, panel) },
    { name: "History and log", element: history(model, panel) },
    { name: "By hand", element: byHand(model, panel) },
  ]);
  panel.on(["inbox", "agent"], () => {
    const agent = model.get("agent");
    const items = model.get("inbox");
    const none = agent.approval === "required" ? "Nothing waits for approval." : "Nothing waits: this agent's suggestions are approved at once.";
    shown.count(0, items.length);
    inbox.show(items, agent.actuators ?? [], none);
  });
  panel.on(["notice"], inbox.free);
  return shown.element;
}

/** What the kernel would show, from the service itself. */
async function look(service, model) {
  const agent = model.get("agent");
  const path = `agents/${encodeURIComponent(agent.name)}`;
  const [now, proposed] = await Promise.all([service.get(path), service.get(`${path}/suggestions?state=proposed&limit=1000`)]);
  return {
    agent: { ...agent, state: now.state, reason: now.reason, legal: now.legal, busy: null },
    progress: { ...model.get("progress"), ...now.progress, left_s: null, measuring: null },
    inbox: waiting(model.get("inbox"), proposed.items),
  };
}

export default { render };
