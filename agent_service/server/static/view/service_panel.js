// A service: its agents, and what moves.

import { acting, named } from "./controls.js";
import { h, keyed, nameOf, pointText, say } from "./dom.js";
import { badge, begin, foot, notices, stopper } from "./frame.js";
import { doneText, endedBadly, nextCommand, reasonText, runsMore, shownState, typeText, waitText, whyNot } from "./words.js";

const COMMANDS = ["Start", "Pause", "Resume", "Stop"];
const FIRST = ["agent", "state", "progress", "best", "inbox"];

/** Draw a service in `el`; `open(name)` shows an agent, or no more. Returns what ends that. */
export function servicePanel(model, el, open) {
  const panel = begin(model, el);
  const halt = stopper(model, panel);
  const queue = h("span", {});
  const told = h("span", { class: "as-muted" });
  const sources = h("span", { class: "as-sources" });
  panel.on(["service"], () => {
    const service = model.get("service");
    queue.replaceChildren(badge(service.queue?.state ?? "unknown", `queue ${service.queue?.state ?? "unknown"}`));
    const suspects = service.suspects?.length ?? 0;
    sources.replaceChildren(
      ...(service.sources ?? []).filter((one) => one.where).map(source),
      ...(suspects ? [badge("reconnecting", `${suspects} ${suspects === 1 ? "run" : "runs"} not whole`)] : []));
    say(told, service.version ? `version ${service.version} · ${service.queue.kind.replace("_", " ")}` : "");
  });
  const page = model.home === "page"; // its bar has the queue
  panel.root.append(
    h("header", { class: "as-head" },
      h("div", { class: "as-title" }, h("h3", {}, page ? "Agents" : "Agent service"), page ? null : queue, sources, told),
      h("div", { class: "as-commands" }, page ? acting(model, "create", "New agent", () => { location.hash = "#/new"; }) : null, halt.stop)),
    halt.strip,
    ...notices(model, panel),
    table(model, panel, open),
    foot(model, panel));
  return panel.end;
}

/** A source of documents that is somewhere else, and why it is away. */
function source(one) {
  const shown = badge(one.state, `${one.kind} ${one.state}`);
  shown.title = sourceText(one);
  return shown;
}

export function sourceText({ where, reason, lag }) {
  const text = [where, reason].filter(Boolean).join(": ");
  return lag ? `${text}, ${lag} behind` : text;
}

function table(model, panel, open) {
  const body = h("tbody", {});
  const nothing = h("p", { class: "as-quiet" });
  const whole = h("table", { class: "as-table as-cards as-agents" }, h("thead", {}, h("tr", {}, FIRST.map((name) => h("th", { class: name === "progress" ? "as-wide" : "" }, name)), h("th", {}, h("span", { class: "as-hidden" }, "what to do")))), body);
  panel.on(["agents", "link", "opened", "service", "heard"], () => {
    const agents = model.get("agents");
    say(nothing, model.get("heard") ? `No agent yet.${model.home === "page" ? "" : " Create one with client.create(...), or %agent_serve."}` : "The agents are not known yet.");
    whole.hidden = !agents.length;
    nothing.hidden = Boolean(agents.length);
    keyed(body, agents, (one) => one.name, (one) => row(model, one.name, open), (line, one) => line.show(one));
  });
  return h("div", { class: "as-pane as-lined" }, whole, nothing);
}

function row(model, name, show) {
  const type = h("span", { class: "as-muted" });
  const [state, reason] = [h("span", {}), h("div", { class: "as-brief" })];
  const bar = h("i", {});
  const done = h("span", { class: "as-muted" });
  const best = h("td", {});
  const waiting = h("a", { class: "as-count", ...(model.home === "page" && { href: "#/inbox" }) });
  const open = named(acting(model, "open", "Open", () => show(name)), name);
  const send = (action) => (event) => event.detail > 1 || model.send({ action, name }); // a second click met the next command
  const commands = COMMANDS.map((label) => named(acting(model, label.toLowerCase(), label, send(label.toLowerCase())), name));
  const line = h("tr", {},
    h("td", {}, h("b", {}, nameOf(model, name)), " ", type), h("td", {}, state, reason),
    h("td", { class: "as-wide" }, h("div", { class: "as-small" }, h("div", { class: "as-track" }, bar), done)),
    best, h("td", { class: "as-waits" }, waiting),
    h("td", {}, h("div", { class: "as-actions" }, commands, open)));
  line.show = (one) => {
    say(type, typeText(one.type));
    type.title = `${one.type}, in a ${one.executor} of the service`;
    state.replaceChildren(badge(...shownState(one)));
    say(reason, ["failed", "stopped", "paused"].includes(one.state) ? reasonText(one.reason) : waitText(one, model.get("service")));
    reason.classList.toggle("as-bad", endedBadly(one));
    bar.style.width = `${one.total ? Math.min(100, (100 * one.done) / one.total) : 0}%`;
    say(done, doneText(one));
    say(best, one.best ? `${one.best_of} ${pointText(one.best, one.units)}` : "");
    waiting.hidden = !one.waiting;
    waiting.setAttribute("aria-label", `${one.waiting} of ${name} ${one.waiting === 1 ? "waits" : "wait"} for approval`);
    say(waiting, String(one.waiting));
    const queue = model.get("service").queue?.state;
    commands.forEach((command) => { // what is not possible now is not there: the agent's own panel says why
      const { action } = command.dataset;
      command.hidden = Boolean(whyNot(action, one, queue)) || (action !== "stop" && action !== nextCommand(one, runsMore(one, one)));
    });
    say(open, model.get("opened").includes(name) ? "Close" : "Open");
    named(open, name);
  };
  return line;
}
