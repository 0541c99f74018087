// A service: its agents, and what moves.

import { h, keyed, number, say } from "./dom.js";
import { badge, begin, foot, notices, stopper } from "./frame.js";
import { acting, permit } from "./line.js";

const COMMANDS = ["Start", "Pause", "Resume", "Stop"];
const FIRST = ["agent", "state", "progress", "best", "inbox"];

function render({ model: raw, el }) {
  const panel = begin(raw, el, look);
  const { model } = panel;
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
  panel.root.append(
    h("header", { class: "as-head" },
      h("div", { class: "as-title" }, h("h3", {}, "Agent service"), queue, sources, told),
      h("div", { class: "as-commands" }, halt.stop)),
    halt.strip,
    ...notices(model, panel),
    table(model, panel),
    foot(model, panel));
  return panel.end;
}

/** A source of documents that is somewhere else, and why it is away. */
function source(one) {
  const shown = badge(one.state, `${one.kind} ${one.state}`);
  shown.title = [one.where, one.reason].filter(Boolean).join(": ");
  return shown;
}

function table(model, panel) {
  const body = h("tbody", {});
  const nothing = h("p", { class: "as-quiet" }, "No agent yet: create one with client.create(...), or %agent_serve.");
  const whole = h("table", { class: "as-table" }, h("thead", {}, h("tr", {}, FIRST.map((name) => h("th", { class: name === "progress" ? "as-wide" : "" }, name)), h("th", {}))), body);
  panel.on(["agents", "link", "opened"], () => {
    const agents = model.get("agents");
    whole.hidden = !agents.length;
    nothing.hidden = Boolean(agents.length);
    keyed(body, agents, (one) => one.name, (one) => row(model, one.name), (line, one) => line.show(one));
  });
  return h("div", { class: "as-pane as-lined" }, whole, nothing);
}

function row(model, name) {
  const type = h("span", { class: "as-muted" });
  const state = h("td", {});
  const bar = h("i", {});
  const done = h("span", { class: "as-muted" });
  const best = h("td", {});
  const waiting = h("span", { class: "as-count" });
  const open = acting(model, "open", "Open", () => model.send({ action: "open", name }));
  const commands = COMMANDS.map((label) => acting(model, label.toLowerCase(), label, () => model.send({ action: label.toLowerCase(), name })));
  const line = h("tr", {},
    h("td", {}, h("b", {}, name), " ", type), state,
    h("td", { class: "as-wide" }, h("div", { class: "as-small" }, h("div", { class: "as-track" }, bar), done)),
    best, h("td", {}, waiting),
    h("td", {}, h("div", { class: "as-actions" }, commands, open)));
  line.show = (one) => {
    say(type, `${one.type} · ${one.executor}`);
    state.replaceChildren(badge(one.state));
    state.title = one.reason ?? "";
    bar.style.width = `${one.total ? Math.min(100, (100 * one.done) / one.total) : 0}%`;
    say(done, one.total ? `${one.done} of ${one.total}` : `${one.done} runs`);
    say(best, one.best ? `${one.direction === "minimize" ? "lowest" : "highest"} ${Object.entries(one.best).map(([key, value]) => `${key} ${number(value)}`).join(", ")}` : "–");
    waiting.hidden = !one.waiting;
    say(waiting, String(one.waiting));
    COMMANDS.forEach((label, i) => { permit(commands[i], model, one.legal.includes(label.toLowerCase()) ? "" : `Not while the agent is ${one.state}`); });
    say(open, model.get("opened").includes(name) ? "Close" : "Open");
  };
  return line;
}

/** What the kernel would show, from the service itself. */
async function look(service, model) {
  const [agents, proposed] = await Promise.all([service.get("agents?limit=1000"), service.get("suggestions?state=proposed&limit=1000")]);
  const known = new Map(model.get("agents").map((one) => [one.name, one]));
  return {
    agents: agents.items.map(({ name, state, reason, type, executor, legal, progress }) => ({
      best: null, ...known.get(name), name, state, reason, type, executor, legal, ...progress,
      waiting: proposed.items.filter((one) => one.agent === name).length,
    })),
  };
}

export default { render };
