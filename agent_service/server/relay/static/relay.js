// All services that a relay follows, on one screen: what each does, what its agents do, and whether it answers.

const KEPT = "agent-service.relay.keys";
const LOOK_MS = 1000; // least time between two looks at a service
const SHOWN = 50; // agents of a service
const root = document.getElementById("services");
const base = new URL(".", location.href.split("#")[0]).href.replace(/\/$/, "");

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children.filter((one) => one !== null));
  return element;
}

function logIn(why) {
  const keys = h("input", { id: "keys", type: "password", autocomplete: "off", required: "" });
  const form = h("form", {}, h("h1", {}, "Agent services"), h("p", { class: "bad", role: "alert" }, why),
    h("label", { for: "keys" }, "Keys that may read, one for each service, with commas between "), keys,
    h("button", { type: "submit" }, "Show"));
  form.onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, keys.value.trim());
    follow();
  };
  root.replaceChildren(form);
  keys.focus();
}

async function get(path, signal) {
  const answer = await fetch(`${base}/${path}`, { headers: { Authorization: `Apikey ${sessionStorage.getItem(KEPT)}` }, cache: "no-store", signal });
  if (answer.ok) return answer;
  throw Object.assign(new Error((await answer.json()).detail), { status: answer.status });
}

/** Follow until a key is refused; what is lost is taken up again. */
async function follow() {
  if (!sessionStorage.getItem(KEPT)) return logIn("");
  while (true) {
    try {
      const services = await (await get("api/v1/services")).json();
      const panels = new Map(services.map((one) => [one.name, panel(one)]));
      root.replaceChildren(...[...panels.values()].map((one) => one.element));
      for await (const { event, data } of events(await get("api/v1/events"))) {
        if (event === "link") panels.get(data.name)?.link(data);
        else panels.get(data.service)?.look();
      }
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        sessionStorage.removeItem(KEPT);
        return logIn(error.message);
      }
      root.replaceChildren(h("p", { class: "bad", role: "alert" }, "The relay does not answer; it is asked again."));
    }
    await new Promise((go) => { setTimeout(go, LOOK_MS); });
  }
}

/** One service: looked at now, and again after its events, at most each second. */
function panel(first) {
  const body = h("div", {});
  const element = h("section", { "aria-label": first.name }, h("h2", {}, h("a", { href: first.url }, first.name)), body);
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
  function draw({ queue, faults, agents: counts }, { items, next }) {
    const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
    element.className = "";
    body.replaceChildren(
      h("p", {}, `queue ${queue.state}${queue.reason ? `: ${queue.reason}` : ""}`),
      faults.length ? h("p", { class: "bad", role: "alert" }, faults.join("; ")) : "",
      h("table", {}, ...items.map(({ name, state: does, progress, reason }) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, does),
        h("td", {}, progress.total === null ? String(progress.done) : `${progress.done} of ${progress.total}`), h("td", {}, reason ?? "")))),
      next ? h("p", {}, `and ${all - items.length} more agents`) : "");
  }
  function lost(why) {
    element.className = "lost";
    body.replaceChildren(h("p", { class: "bad", role: "alert" }, `It does not answer: ${why}`));
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

/** The events of a stream, as `{event, data}`. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (text + value).split("\n\n");
    text = whole.pop();
    for (const one of whole) {
      const fields = Object.fromEntries(one.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

follow();
