// A new agent: what it is called, moves and measures, and the form of its type's configuration.

import { formField } from "./agent_tabs.js";
import { acting, settle } from "./controls.js";
import { button, h, say } from "./dom.js";
import { WrongFields, agentForm, changes, messages } from "./forms.js";
import { reasonText } from "./words.js";

const EMPTY = { config: {}, loop: {}, guardrails: { bounds: {} }, space: {} };
const NAMES = "as the service has them, with commas between";
const RESTS = "It does nothing until it is started.";
const MISSING = { name: "give it a name", actuators: "name a device to move", sensors: "name a device to read", outcome: "name what it judges by" };

const SHOWN = 50; // of a site with thousands

/** Offer names in a field of names with commas between: those with what is typed of the last one, and not there yet. */
function offered(input, all) {
  const list = h("datalist", { id: `${input.id}-names` });
  const draw = () => {
    const there = input.value.split(",").map((name) => name.trim());
    const typed = there.pop().toLowerCase();
    const before = there.map((name) => `${name}, `).join("");
    list.replaceChildren(...all().filter((name) => !there.includes(name) && name.toLowerCase().includes(typed)).slice(0, SHOWN).map((name) => h("option", { value: `${before}${name}` })));
  };
  ["focus", "input"].forEach((event) => input.addEventListener(event, draw));
  input.setAttribute("list", list.id);
  input.setAttribute("autocomplete", "off");
  input.after(list);
}

/** Draw it in `el`, for a model of the service; `done(name)` once there is one, or with nothing. Returns what ends that. */
export function newAgent(model, el, done) {
  const wrong = h("div", { class: "as-strip as-error", role: "alert", hidden: true });
  const hint = h("span", { class: "as-muted", role: "status" });
  const away = h("p", { class: "as-muted", role: "status", hidden: true });
  const [own, others] = [h("fieldset", {}), h("div", { class: "as-groups" })];
  let devices = []; // what the service lists, and what other agents move and read
  const filled = new Map(); // what a person filled in, by path
  let [types, form, head, fields, shape] = [{ items: [], loop_schema: null }, [], [], [], ""];

  const names = (path) => (filled.get(path) ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  const of = () => types.items.find((one) => one.name === filled.get("type")) ?? types.items[0];
  const spec = () => ({ ...EMPTY, actuators: names("actuators") });

  const made = (field) => {
    const one = formField({ ...field, value: filled.get(field.path) ?? field.value }, () => {
      filled.set(field.path, one.value());
      wrong.hidden = true;
    });
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
    const can = { actuators: (one) => one.moves !== false, sensors: (one) => one.reads !== false };
    head.filter((one) => can[one.path]).forEach((one) => offered(one.element.querySelector("input"), () => devices.filter(can[one.path]).map(({ name }) => name)));
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
    }))), spec().actuators.length ? [] : h("fieldset", {}, h("legend", {}, "Bounds and allowed region"), h("p", { class: "as-help" }, "They have a field here for each device that “moves” names: name one first.")));
  }

  async function create() {
    const body = () => {
      const missing = head.filter((one) => one.path !== "type" && !names(one.path).length);
      if (missing.length) throw new WrongFields(missing.map((one) => ({ field: one.path, message: MISSING[one.path] })));
      const [outcome, more] = names("outcome");
      const rest = changes(form.slice(1), Object.fromEntries([...filled].filter(([path]) => path.includes("."))), spec());
      return { name: filled.get("name"), type: of().name, actuators: names("actuators"), sensors: names("sensors"), outcome: more ? names("outcome") : outcome, ...rest };
    };
    make.disabled = true;
    tell({}, "");
    say(hint, "It is being created.");
    try {
      done((await model.source.ask({ method: "POST", path: "agents", body: body() })).name);
    } catch (error) {
      const found = messages(error.errors ?? [], form);
      tell(found, error.errors?.length ? found[""] : reasonText(error.message));
    }
    say(hint, RESTS);
    settle(make, model);
  }

  /** Mark the fields that `found` has messages of, and go to the first; `elsewhere`: what belongs to none. */
  function tell(found, elsewhere) {
    fields.forEach((one) => one.blame(found[one.path] ?? ""));
    const marked = fields.filter((one) => found[one.path]);
    const above = marked.length ? `It was not created: see ${marked.map((one) => one.label).join(", ")}, marked above.` : "";
    say(wrong, [above, elsewhere].filter(Boolean).join(" "));
    wrong.hidden = !wrong.textContent;
    marked[0]?.show();
  }

  say(hint, RESTS);
  const make = acting(model, "create", "Create", create, "as-first");
  own.addEventListener("input", draw);
  el.replaceChildren(h("section", { class: "as-panel" }, h("header", { class: "as-head" }, h("div", { class: "as-title" }, h("h3", {}, "New agent"))),
    h("div", { class: "as-pane as-lined as-new" }, away, own, others, wrong, h("div", { class: "as-row as-last-row" }, make, button("Cancel", () => done()), hint))));
  el.classList.add("as-host");
  model.source.ask({ path: "agent-types" }).then((found) => { types = found; begin(); draw(); }, (error) => { wrong.hidden = false; say(wrong, error.message); });
  Promise.all([model.source.ask({ path: "devices" }), model.source.ask({ path: "agents?limit=1000" })]).then(([{ items, reason }, agents]) => {
    const known = new Map(agents.items.flatMap(({ spec }) => [...spec.actuators, ...spec.sensors]).map((name) => [name, { name }]));
    items.forEach((one) => known.set(one.name, one));
    devices = [...known.values()].sort((one, other) => one.name.localeCompare(other.name));
    if (reason) say(away, `The devices cannot be listed now: ${reason}. Write their names as the service has them.`);
    away.hidden = !reason;
  }, () => {}); // it offers none
  const know = () => settle(make, model);
  ["link", "service"].forEach((name) => model.on(`change:${name}`, know));
  return () => {};
}
