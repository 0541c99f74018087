// All services that a relay follows, on one screen: what each does, what its agents do, and whether it answers.

import { button, h, pointText, say } from "./dom.js";
import { reasonText, runs, stateText } from "./words.js";

const KEPT = "agent-service.relay.keys";
const LOOK_MS = 1000; // least time between two looks at a service
const SHOWN = 50; // agents of a service
const root = document.getElementById("page");
const base = new URL(".", location.href.split("#")[0]).href.replace(/\/$/, "");

function logIn(why) {
  const keys = h("input", { id: "as-keys", class: "as-input", type: "password", autocomplete: "off", required: "" });
  const begin = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, keys.value.trim());
    follow();
  };
  root.replaceChildren(h("main", { class: "as-login as-panel" },
    h("h1", {}, "Agent services"),
    h("p", { class: "as-bad", role: "alert" }, why),
    h("form", { onsubmit: begin }, h("label", { for: "as-keys" }, "Keys"), h("div", { class: "as-row" }, keys, h("button", { type: "submit", class: "as-button as-main" }, "Show"))),
    h("p", { class: "as-help" }, "One for each service, with commas between, that may only read. On the machine of the service, ",
      h("code", {}, "agent-service keys create NAME --scopes read"), " makes one.")));
  keys.focus();
}

async function get(path, signal) {
  const answer = await fetch(`${base}/${path}`, { headers: { Authorization: `Apikey ${sessionStorage.getItem(KEPT)}` }, cache: "no-store", signal });
  if (answer.ok) return answer;
  throw Object.assign(new Error((await answer.json()).detail), { status: answer.status });
}

/** Follow until a key is refused, or other keys are to be shown; what is lost is taken up again. */
async function follow() {
  if (!sessionStorage.getItem(KEPT)) return logIn("");
  const ended = new AbortController();
  const leave = (why = "") => {
    ended.abort();
    sessionStorage.removeItem(KEPT);
    logIn(why);
  };
  const notice = h("div", { class: "as-strip as-warn", role: "alert", hidden: true });
  const view = h("main", { class: "as-services" });
  root.replaceChildren(h("div", { class: "as-bar as-panel" }, h("header", { class: "as-top" }, h("h1", {}, "Agent services"), button("Other keys", () => leave())), notice), view);
  while (!ended.signal.aborted) {
    try {
      const services = await (await get("api/v1/services", ended.signal)).json();
      const panels = new Map(services.map((service) => [service.name, panel(service)]));
      view.replaceChildren(...[...panels.values()].map(({ element }) => element));
      notice.hidden = true;
      for await (const { event, data } of events(await get("api/v1/events", ended.signal))) {
        if (event === "link") panels.get(data.name)?.link(data);
        else panels.get(data.service)?.look();
      }
    } catch (error) {
      if (ended.signal.aborted) return null;
      if (error.status === 401 || error.status === 403) return leave(error.message);
      view.replaceChildren(); // what it was is not what it is
      say(notice, `${error.status ? error.message.replace(/; try again$/, "") : "The relay does not answer"}; it is asked again.`);
      notice.hidden = false;
    }
    await new Promise((go) => { setTimeout(go, LOOK_MS); });
  }
  return null;
}

const badge = (state, label) => h("span", { class: `as-badge as-${state}` }, h("i", {}), label);

/** One service: looked at now, and again after its events, at most each second. */
function panel(first) {
  const queue = h("span", {});
  const body = h("div", {});
  const element = h("section", { class: "as-panel", "aria-label": first.name }, h("header", { class: "as-head" }, h("div", { class: "as-title" }, h("h2", {}, h("a", { href: first.url }, first.name)), queue)), body);
  let [due, state] = [null, first];
  async function show() {
    due = null;
    try {
      const [service, agents] = await Promise.all([`${first.name}/api/v1/service`, `${first.name}/api/v1/agents?limit=${SHOWN}`].map(async (path) => (await get(path)).json()));
      if (state.state === "live") draw(service, agents);
    } catch (error) {
      if (state.state === "live") lost(error.message);
    }
  }
  function draw({ queue: now, faults, agents: counts }, { items, next }) {
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    element.classList.remove("as-lost");
    queue.replaceChildren(badge(now.state, `queue ${now.state}`));
    body.replaceChildren(
      now.reason ? h("div", { class: "as-strip as-warn" }, now.reason) : "",
      faults.length ? h("div", { class: "as-strip as-error", role: "alert" }, faults.join("; ")) : "",
      h("div", { class: "as-pane as-lined" },
        items.length ? h("table", { class: "as-table" }, h("tbody", {}, items.map((agent) => row(first.url, agent)))) : h("p", { class: "as-quiet" }, "No agent yet."),
        next ? h("p", { class: "as-quiet" }, `and ${all - items.length} more agents`) : ""));
  }
  function lost(why) {
    element.classList.add("as-lost");
    queue.replaceChildren();
    body.replaceChildren(h("div", { class: "as-strip as-error", role: "alert" }, `It does not answer: ${why}`));
  }
  const look = () => { due ??= setTimeout(show, LOOK_MS); };
  const link = (now) => {
    state = now;
    if (now.state === "live") look();
    else lost(now.why);
  };
  if (first.state === "live") show();
  else lost(first.why);
  return { element, look, link };
}

/** An agent: what it does and why, how far it is, and its best. */
function row(url, { name, state, reason, progress: { done, total }, best, best_of: bestOf, units, to_approve: waits }) {
  const bar = h("i", {});
  bar.style.width = `${total ? Math.min(100, (100 * done) / total) : 0}%`;
  return h("tr", {},
    h("td", {}, h("b", {}, h("a", { href: `${url}/#/agents/${encodeURIComponent(name)}` }, name))),
    h("td", {}, badge(state, stateText(state)), waits ? h("span", { class: "as-muted" }, ` ${waits} ${waits === 1 ? "waits" : "wait"} for approval`) : "",
      h("div", { class: "as-muted" }, reasonText(reason)), best ? h("div", {}, `${bestOf} ${pointText(best.outcome, units)}`) : ""),
    h("td", {}, h("div", { class: "as-small" }, total ? h("div", { class: "as-track" }, bar) : h("span", { class: "as-grow" }), h("span", { class: "as-muted" }, total ? `${done} of ${total}` : runs(done)))));
}

/** The events of a stream, as `{event, data}`. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

follow();
