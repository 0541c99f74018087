// A new agent: what it is called, moves and measures, and the form of its type's configuration.

import { formField } from "./agent_tabs.js";
import { actionButton, pressByKeys, settle } from "./controls.js";
import { button, h, say } from "./dom.js";
import { WrongFields, agentForm, changes, messages } from "./forms.js";
import { reasonText } from "./words.js";

const EMPTY = { config: {}, loop: {}, guardrails: { bounds: {} }, space: {} };
const NAMES = "as the service has them, with commas between";
const RESTS = "It does nothing until it is started.";
const MISSING = { name: "give it a name", actuators: "name a device to move", sensors: "name a device to read", outcome: "name what it judges by" };

const SHOWN = 50; // of a site with thousands

/** Offer names in a field of names with commas between: those with what is typed of the last one, and not there yet. */
function offerNames(input, all) {
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
  let [types, form, ownFields, fields, shape] = [{ items: [], loop_schema: null }, [], [], [], ""];

  const names = (path) => (filled.get(path) ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  const chosenType = () => types.items.find((type) => type.name === filled.get("type")) ?? types.items[0];
  const spec = () => ({ ...EMPTY, actuators: names("actuators") });

  const fieldOf = (description) => {
    const field = formField({ ...description, value: filled.get(description.path) ?? description.value }, () => {
      filled.set(description.path, field.value());
      wrong.hidden = true;
    });
    return field;
  };

  /** What every agent has; it stays, as somebody goes from one of these fields to the next. */
  function drawOwn() {
    const text = (path, label, description) => ({ path, keys: [path], label, kind: "text", description, value: null, default: null });
    const type = { path: "type", keys: ["type"], label: "type", kind: "choice", choices: types.items.map(({ name }) => name), value: chosenType().name, description: chosenType().summary };
    const descriptions = [text("name", "name", "of the agent"), type, text("actuators", "moves", `devices, ${NAMES}`), text("sensors", "reads", `devices, ${NAMES}`), text("outcome", "outcome", "what of the readings it judges by; several with commas between")];
    form = [{ name: "", fields: descriptions }];
    ownFields = descriptions.map(fieldOf);
    own.replaceChildren(h("legend", {}, "Agent"), ...ownFields.map((field) => field.element));
    const can = { actuators: (device) => device.moves !== false, sensors: (device) => device.reads !== false };
    ownFields.filter((field) => can[field.path]).forEach((field) => {
      offerNames(field.element.querySelector("input"), () => devices.filter(can[field.path]).map(({ name }) => name));
    });
  }

  /** What this type has, for these actuators. */
  function drawType() {
    const type = chosenType();
    const now = JSON.stringify([type?.name, names("actuators")]);
    if (!type || now === shape) return;
    shape = now;
    say(ownFields[1].element.querySelector(".as-help"), type.summary);
    form = [form[0], ...agentForm({ type: type.name, spec: spec(), limits: {}, no_limits: [], units: {} }, type.config_schema, types.loop_schema)];
    fields = [...ownFields];
    others.replaceChildren(...form.slice(1).map((group) => h("fieldset", {}, h("legend", {}, group.title), group.fields.map((field) => {
      fields.push(fieldOf(field));
      return fields.at(-1).element;
    }))), spec().actuators.length ? [] : h("fieldset", {}, h("legend", {}, "Bounds and allowed region"), h("p", { class: "as-help" }, "They have a field here for each device that “moves” names: name one first.")));
  }

  async function create() {
    const body = () => {
      const missing = ownFields.filter((field) => field.path !== "type" && !names(field.path).length);
      if (missing.length) throw new WrongFields(missing.map((field) => ({ field: field.path, message: MISSING[field.path] })));
      const [outcome, more] = names("outcome");
      const rest = changes(form.slice(1), Object.fromEntries([...filled].filter(([path]) => path.includes("."))), spec());
      return { name: filled.get("name"), type: chosenType().name, actuators: names("actuators"), sensors: names("sensors"), outcome: more ? names("outcome") : outcome, ...rest };
    };
    createButton.disabled = true;
    markFields({}, "");
    say(hint, "It is being created.");
    try {
      done((await model.source.ask({ method: "POST", path: "agents", body: body() })).name);
    } catch (error) {
      const byField = messages(error.errors ?? [], form);
      markFields(byField, error.errors?.length ? byField[""] : reasonText(error.message));
    }
    say(hint, RESTS);
    settle(createButton, model);
    if (document.activeElement === document.body) createButton.focus(); // it lost the focus when it was disabled
  }

  /** Mark the fields that `byField` has messages of, and go to the first; `elsewhere`: what belongs to none. */
  function markFields(byField, elsewhere) {
    fields.forEach((field) => field.blame(byField[field.path] ?? ""));
    const marked = fields.filter((field) => byField[field.path]);
    const above = marked.length ? `It was not created: see ${marked.map((field) => field.label).join(", ")}, marked above.` : "";
    say(wrong, [above, elsewhere].filter(Boolean).join(" "));
    wrong.hidden = !wrong.textContent;
    marked[0]?.show();
  }

  say(hint, RESTS);
  const createButton = actionButton(model, "create", "Create", create, "as-first");
  own.addEventListener("input", drawType);
  el.replaceChildren(h("section", { class: "as-panel" }, h("header", { class: "as-head" }, h("div", { class: "as-title" }, h("h3", {}, "New agent"))),
    h("div", { class: "as-pane as-lined as-new" }, away, own, others, wrong, h("div", { class: "as-row as-last-row" }, createButton, button("Cancel", () => done()), hint))));
  el.classList.add("as-host");
  model.source.ask({ path: "agent-types" }).then((answer) => {
    types = answer;
    drawOwn();
    drawType();
    if (document.activeElement.contains(el)) ownFields[0].show();
  }, (error) => { wrong.hidden = false; say(wrong, error.message); });
  Promise.all([model.source.ask({ path: "devices" }), model.source.ask({ path: "agents?limit=1000" })]).then(([{ items, reason }, agents]) => {
    const byName = new Map(agents.items.flatMap(({ spec }) => [...spec.actuators, ...spec.sensors]).map((name) => [name, { name }]));
    items.forEach((device) => byName.set(device.name, device));
    devices = [...byName.values()].sort((device, other) => device.name.localeCompare(other.name));
    if (reason) say(away, `The devices cannot be listed now: ${reason}. Write their names as the service has them.`);
    away.hidden = !reason;
  }, () => {}); // it offers none
  pressByKeys(el, (key) => key === "Enter" && createButton);
  const settleButton = () => settle(createButton, model);
  ["link", "service"].forEach((name) => model.on(`change:${name}`, settleButton));
  return () => {};
}
