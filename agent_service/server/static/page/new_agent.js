// A new agent: what it is called, moves and measures, and the form of its type's configuration.

import { formField } from "./agent_tabs.js";
import { acting, settle } from "./controls.js";
import { button, h, say } from "./dom.js";
import { agentForm, changes, messages } from "./forms.js";
import { reasonText } from "./words.js";

const EMPTY = { config: {}, loop: {}, guardrails: { bounds: {} }, space: {} };
const NAMES = "as the service has them, with commas between";

/** Draw it in `el`, for a model of the service; `done(name)` once there is one, or with nothing. Returns what ends that. */
export function newAgent(model, el, done) {
  const wrong = h("div", { class: "as-strip as-error", role: "alert", hidden: true });
  const [own, others] = [h("fieldset", {}), h("div", { class: "as-groups" })];
  const filled = new Map(); // what a person filled in, by path
  let [types, form, head, fields, shape] = [{ items: [], loop_schema: null }, [], [], [], ""];

  const names = (path) => (filled.get(path) ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  const of = () => types.items.find((one) => one.name === filled.get("type")) ?? types.items[0];
  const spec = () => ({ ...EMPTY, actuators: names("actuators") });

  const made = (field) => {
    const one = formField({ ...field, value: filled.get(field.path) ?? field.value }, () => filled.set(field.path, one.value()));
    return one;
  };

  /** What every agent has; it stays, as somebody goes from one of these fields to the next. */
  function begin() {
    const text = (path, label, description) => ({ path, keys: [path], label, kind: "text", description, value: null, default: null });
    const said = [text("name", "name", "of the agent"), { path: "type", keys: ["type"], label: "type", kind: "choice", choices: types.items.map((one) => one.name), value: of().name, description: of().summary },
      text("actuators", "moves", `devices, ${NAMES}`), text("sensors", "reads", `devices, ${NAMES}`), text("outcome", "outcome", "what of the readings it judges by; several with commas between")];
    form = [{ name: "", fields: said }];
    head = said.map(made);
    own.replaceChildren(h("legend", {}, "Agent"), ...head.map((one) => one.element));
  }

  /** What this type has, for these actuators. */
  function draw() {
    const type = of();
    const now = JSON.stringify([type?.name, names("actuators")]);
    if (!type || now === shape) return;
    shape = now;
    say(head[1].element.querySelector(".as-help"), type.summary);
    form = [form[0], ...agentForm({ type: type.name, spec: spec(), limits: {}, no_limits: [], units: {} }, type.config_schema, types.loop_schema)];
    fields = [...head];
    others.replaceChildren(...form.slice(1).map((group) => h("fieldset", {}, h("legend", {}, group.title), group.fields.map((field) => {
      fields.push(made(field));
      return fields.at(-1).element;
    }))));
  }

  async function create() {
    const body = () => {
      const [outcome, more] = names("outcome");
      const { name = null } = Object.fromEntries(filled);
      const rest = changes(form.slice(1), Object.fromEntries([...filled].filter(([path]) => path.includes("."))), spec());
      return { name: name ?? "", type: of().name, actuators: names("actuators"), sensors: names("sensors"), outcome: more ? names("outcome") : outcome ?? null, ...rest };
    };
    make.disabled = true;
    let found = {};
    try {
      done((await model.source.ask({ method: "POST", path: "agents", body: body() })).name);
    } catch (error) {
      found = messages(error.errors ?? [], form);
      const elsewhere = error.errors?.length ? found[""] : reasonText(error.message);
      wrong.hidden = false;
      say(wrong, elsewhere || "It was not created: see the fields marked below.");
    }
    fields.forEach((one) => one.blame(found[one.path] ?? ""));
    settle(make, model);
  }

  const make = acting(model, "create", "Create", create, "as-first");
  own.addEventListener("input", draw);
  el.replaceChildren(h("section", { class: "as-panel" }, h("header", { class: "as-head" }, h("div", { class: "as-title" }, h("h3", {}, "New agent"))),
    h("div", { class: "as-pane as-lined as-new" }, own, others, wrong, h("div", { class: "as-row as-last-row" }, make, button("Cancel", () => done()), h("span", { class: "as-muted" }, "It does nothing until it is started.")))));
  el.classList.add("as-host");
  model.source.ask({ path: "agent-types" }).then((found) => { types = found; begin(); draw(); }, (error) => { wrong.hidden = false; say(wrong, error.message); });
  const know = () => settle(make, model);
  ["link", "service"].forEach((name) => model.on(`change:${name}`, know));
  return () => {};
}
