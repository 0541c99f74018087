// A service: its agents, and what moves.

import { actionButton, keepFocus, named } from "./controls.js";
import { h, keyed, nameOf, pointText, say } from "./dom.js";
import { badge, beginPanel, foot, noticeStrips, stopper } from "./frame.js";
import { doneText, endedBadly, nextCommand, reasonText, runsMore, shownState, typeText, waitText, whyNot } from "./words.js";

const COMMANDS = ["Start", "Pause", "Resume", "Stop"];
const FIRST = ["agent", "state", "progress", "best", "inbox"];

/** Draw a service in `el`; `open(name)` shows an agent, or no more. Returns what ends that. */
export function servicePanel(model, el, open) {
  const panel = beginPanel(model, el);
  const halt = stopper(model, panel);
  const queue = h("span", {});
  const about = h("span", { class: "as-muted" });
  const sources = h("span", { class: "as-sources" });
  panel.on(["service"], () => {
    const service = model.get("service");
    queue.replaceChildren(badge(service.queue?.state ?? "unknown", `queue ${service.queue?.state ?? "unknown"}`));
    const suspects = service.suspects?.length ?? 0;
    sources.replaceChildren(
      ...(service.sources ?? []).filter((source) => source.where).map(sourceBadge),
      ...(suspects ? [badge("reconnecting", `${suspects} ${suspects === 1 ? "run" : "runs"} not whole`)] : []));
    say(about, service.version ? `version ${service.version} · ${service.queue.kind.replace("_", " ")}` : "");
  });
  const page = model.home === "page"; // its bar has the queue
  panel.root.append(
    h("header", { class: "as-head" },
      h("div", { class: "as-title" }, h("h3", {}, page ? "Agents" : "Agent service"), page ? null : queue, sources, about),
      h("div", { class: "as-commands" }, page ? actionButton(model, "create", "New agent", () => { location.hash = "#/new"; }) : null, halt.stop)),
    halt.strip,
    ...noticeStrips(model, panel),
    agentsTable(model, panel, open),
    foot(model, panel));
  return panel.end;
}

/** A source of documents that is somewhere else, and why it is away. */
function sourceBadge(source) {
  const label = badge(source.state, `${source.kind} ${source.state}`);
  label.title = sourceText(source);
  return label;
}

export function sourceText({ where, reason, lag }) {
  const text = [where, reason].filter(Boolean).join(": ");
  return lag ? `${text}, ${lag} behind` : text;
}

function agentsTable(model, panel, open) {
  const body = h("tbody", {});
  const nothing = h("p", { class: "as-quiet" });
  const table = h("table", { class: "as-table as-cards as-agents" }, h("thead", {}, h("tr", {}, FIRST.map((name) => h("th", { class: name === "progress" ? "as-wide" : "" }, name)), h("th", {}, h("span", { class: "as-hidden" }, "what to do")))), body);
  panel.on(["agents", "link", "opened", "service", "heard"], () => {
    const agents = model.get("agents");
    say(nothing, model.get("heard") ? `No agent yet.${model.home === "page" ? "" : " Create one with client.create(...), or %agent_serve."}` : "The agents are not known yet.");
    table.hidden = !agents.length;
    nothing.hidden = Boolean(agents.length);
    keyed(body, agents, (agent) => agent.name, (agent) => row(model, agent.name, open), (line, agent) => line.show(agent));
  });
  return h("div", { class: "as-pane as-lined" }, table, nothing);
}

function row(model, name, show) {
  const type = h("span", { class: "as-muted" });
  const [state, reason] = [h("span", {}), h("div", { class: "as-brief" })];
  const bar = h("i", {});
  const done = h("span", { class: "as-muted" });
  const best = h("td", {});
  const waiting = h("a", { class: "as-count", ...(model.home === "page" && { href: "#/inbox" }) });
  const open = named(actionButton(model, "open", "Open", () => show(name)), name);
  const send = (action) => (event) => event.detail > 1 || model.send({ action, name }); // a second click met the next command
  const commands = COMMANDS.map((label) => named(actionButton(model, label.toLowerCase(), label, send(label.toLowerCase())), name));
  const actions = h("div", { class: "as-actions", role: "group", "aria-label": `Commands of ${name}`, tabindex: -1 }, commands, open);
  const line = h("tr", {},
    h("td", {}, h("b", {}, nameOf(model, name)), " ", type), h("td", {}, state, reason),
    h("td", { class: "as-wide" }, h("div", { class: "as-small" }, h("div", { class: "as-track" }, bar), done)),
    best, h("td", { class: "as-waits" }, waiting),
    h("td", {}, actions));
  line.show = (agent) => {
    say(type, typeText(agent.type));
    type.title = `${agent.type}, in a ${agent.executor} of the service`;
    state.replaceChildren(badge(...shownState(agent)));
    say(reason, ["failed", "stopped", "paused"].includes(agent.state) ? reasonText(agent.reason) : waitText(agent, model.get("service")));
    reason.classList.toggle("as-bad", endedBadly(agent));
    bar.style.width = `${agent.total ? Math.min(100, (100 * agent.done) / agent.total) : 0}%`;
    say(done, doneText(agent));
    say(best, agent.best ? `${agent.best_of} ${pointText(agent.best, agent.units)}` : "");
    waiting.hidden = !agent.waiting;
    waiting.setAttribute("aria-label", `${agent.waiting} of ${name} ${agent.waiting === 1 ? "waits" : "wait"} for approval`);
    say(waiting, String(agent.waiting));
    const queue = model.get("service").queue?.state;
    keepFocus(actions, () => commands.forEach((command) => { // what is not possible now is not there: the agent's own panel says why
      const { action } = command.dataset;
      command.hidden = Boolean(whyNot(action, agent, queue)) || (action !== "stop" && action !== nextCommand(agent, runsMore(agent, agent)));
    }));
    say(open, model.get("opened").includes(name) ? "Close" : "Open");
    named(open, name);
  };
  return line;
}
