// The tabs below an agent's plots: what it is configured with, shows, said and did, and what one does by hand.

import { actionButton, named, permit, pressByKeys } from "./controls.js";
import { aged, button, h, keyed, number, say } from "./dom.js";
import { valueField } from "./values.js";
import { whyNot } from "./words.js";

/** Tabs with panes; one shows at a time. Each pane is `{name, element, draw?}`; `draw` is called when it comes to be seen. */
export function tabs(panes) {
  const heads = panes.map((pane, i) =>
    h("button", { type: "button", role: "tab", class: "as-tab", onclick: () => choose(i), onkeydown: (event) => step(event, i) }, pane.name, h("span", { class: "as-count", hidden: true })));
  const bodies = panes.map((pane) => h("div", { role: "tabpanel", class: "as-pane", "aria-label": pane.name }, pane.element));
  const choose = (chosen) => {
    heads.forEach((head, i) => {
      head.setAttribute("aria-selected", String(i === chosen));
      head.tabIndex = i === chosen ? 0 : -1;
      bodies[i].hidden = i !== chosen;
    });
    panes[chosen].draw?.();
  };
  const step = (event, i) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = (i + by + heads.length) % heads.length;
    choose(next);
    heads[next].focus();
  };
  const count = (i, value) => {
    heads[i].lastChild.hidden = !value;
    say(heads[i].lastChild, String(value));
  };
  choose(0);
  return { element: h("div", {}, h("div", { class: "as-tabs", role: "tablist" }, heads), bodies), count };
}

/** The form of an agent's configuration, with messages beside their fields. */
export function configureTab(model, panel) {
  const groups = h("div", { class: "as-groups" });
  const apply = actionButton(model, "configure", "Apply", () => send(), "as-main");
  const drop = button("Discard changes", () => { dirty.clear(); build(); });
  const hint = h("span", { class: "as-muted" });
  const dirty = new Set();
  let fields = [];
  let since = null; // what was changed since it was sent
  let applied = ""; // what was changed when it was applied last
  const mark = () => {
    drop.disabled = !dirty.size;
    permit(apply, model, dirty.size ? "" : "no change to apply");
    if (dirty.size) applied = "";
    const waits = model.get("inbox").length;
    const frees = waits && fields.some((field) => field.path === "loop.approval" && dirty.has(field.path) && field.value() === "auto");
    const follows = frees ? `; without approval the ${waits === 1 ? "point that waits is" : `${waits} points that wait are`} measured at once` : "";
    say(hint, dirty.size ? `${dirty.size} changed, not applied${follows}` : applied);
  };
  const build = () => {
    const focused = fields.find((field) => field.element.contains(document.activeElement));
    const at = focused?.controls().indexOf(document.activeElement);
    fields = [];
    groups.replaceChildren(...model.get("form").map((group) => h("fieldset", {}, h("legend", {}, group.title), group.fields.map((field) => {
      const made = formField(field, () => { dirty.add(field.path); since?.add(field.path); mark(); });
      fields.push(made);
      return made.element;
    }))));
    if (focused) fields.find((field) => field.path === focused.path)?.controls()[at]?.focus({ preventScroll: true });
    blame();
    mark();
  };
  pressByKeys(groups, (key) => key === "Enter" && apply);
  const send = () => {
    since = new Set();
    model.send({ action: "configure", values: Object.fromEntries(fields.filter((field) => dirty.has(field.path)).map((field) => [field.path, field.value()])) });
  };
  const blame = () => fields.forEach((field) => field.blame(model.get("form_errors")[field.path] ?? ""));
  panel.on(["form"], () => { if (!dirty.size) build(); });
  panel.on(["form_errors"], blame);
  panel.on(["inbox"], mark);
  panel.on(["notice"], () => {
    const { kind, text: answer } = model.get("notice");
    if (!since || !answer || kind === "wait") return;
    if (kind === "done") {
      dirty.forEach((path) => since.has(path) || dirty.delete(path));
      applied = answer;
    }
    since = null;
    if (dirty.size) mark();
    else build();
  });
  return h("div", {}, groups, h("div", { class: "as-row as-last-row" }, apply, apply.why, drop, hint));
}

/** A field of a form with its label and help; `changed()` when somebody fills it in, `blame(text)` says what is wrong until then, `show()` goes there, `controls()` are what it is filled in with. */
export function formField(field, changed) {
  const id = `as-${Math.random().toString(36).slice(2)}`;
  const touched = () => { blame(""); changed(); };
  const common = { id, class: "as-input", oninput: touched, "aria-describedby": `${id}-help` };
  const input = (type, value, more = {}) => h("input", { ...common, ...more, type, value: value ?? "" });
  const numeric = { step: field.kind === "integer" ? 1 : "any", min: field.minimum, max: field.maximum };
  let control;
  let value = () => (control.value === "" ? null : control.value);
  if (field.kind === "boolean") {
    control = h("input", { ...common, type: "checkbox", class: "", checked: field.value });
    value = () => control.checked;
  } else if (field.kind === "choice") {
    control = h("select", common, field.choices.map((choice) => h("option", { value: choice }, String(choice))));
    control.value = field.value;
  } else if (field.kind === "approval") {
    const first = /^first (\d+)$/.exec(field.value)?.[1];
    const count = input("number", first ?? 3, { id: null, min: 1, step: 1, class: "as-input as-short", "aria-label": `${field.label} of the first` });
    const rule = h("select", { ...common, oninput: () => { count.hidden = rule.value !== "first"; touched(); } }, ["auto", "required", "first"].map((option) => h("option", { value: option }, option === "first" ? "first N" : option)));
    rule.value = first ? "first" : field.value ?? "auto";
    count.hidden = !first;
    control = h("span", { class: "as-pair" }, rule, count);
    value = () => (rule.value === "first" ? `first ${count.value}` : rule.value);
  } else if (field.kind === "range") {
    const ends = [0, 1].map((i) => input("number", field.value?.[i], { step: "any", "aria-label": `${field.label} ${i ? "highest" : "lowest"}`, id: i ? null : id }));
    control = h("span", { class: "as-range" }, ends[0], h("span", { class: "as-muted" }, "to"), ends[1]);
    value = () => (ends.every((end) => end.value === "") ? null : ends.map((end) => end.value));
  } else if (field.kind === "json") {
    control = h("textarea", { ...common, rows: 2, spellcheck: "false" }, field.value ?? "");
  } else {
    const empty = field.nullable ? "none" : field.default ?? "";
    control = field.kind === "text" ? input("text", field.value, { placeholder: empty }) : input("number", field.value, { ...numeric, placeholder: empty });
  }
  const wrong = h("span", { class: "as-bad", role: "alert" });
  const help = h("span", { class: "as-help", id: `${id}-help` }, field.description);
  const element = h("div", { class: "as-field" }, h("label", { for: id, title: field.path }, field.label), h("div", {}, control, wrong), help);
  const blame = (text) => {
    say(wrong, text);
    element.classList.toggle("as-wrong", Boolean(text));
  };
  const controls = () => [...element.querySelectorAll("input, select, textarea")];
  const show = () => {
    element.scrollIntoView({ block: "center" });
    controls()[0].focus({ preventScroll: true });
  };
  return { path: field.path, label: field.label, element, controls, value, blame, show };
}

/** What the brain shows of itself; the writable ones can be set. */
export function variablesTab(model, panel) {
  const body = h("tbody", {});
  const nothing = h("p", { class: "as-quiet" }, "This agent shows no variables, or it is not started.");
  const table = h("table", { class: "as-table" }, h("thead", {}, h("tr", {}, h("th", {}, "variable"), h("th", { class: "as-wide" }, "value"), h("th", {}))), body);
  const make = (variable) => {
    const valueCell = h("td", { class: "as-wide as-value" });
    const setCell = h("td", {});
    if (variable.writable) {
      const input = h("input", { class: "as-input", "aria-label": `new value of ${variable.name}` });
      const go = () => { if (input.value !== "") model.send({ action: "set-variable", name: variable.name, value: parsed(input.value) }); input.value = ""; };
      const set = named(actionButton(model, "set-variable", "Set", go), variable.name);
      pressByKeys(setCell, (key) => key === "Enter" && set);
      setCell.append(h("div", { class: "as-actions" }, input, set));
    }
    return h("tr", {}, h("td", {}, variable.name), valueCell, setCell);
  };
  panel.on(["variables"], () => {
    const items = model.get("variables");
    table.hidden = !items.length;
    nothing.hidden = Boolean(items.length);
    keyed(body, items, (variable) => `${variable.name}${variable.writable}`, make, (line, variable) => say(line.children[1], valueText(variable.value)));
  });
  return h("div", {}, table, nothing);
}

/** What the brain said of itself, newest first. */
export function reportsTab(model, panel) {
  const list = h("div", { class: "as-reports" });
  const ask = actionButton(model, "report", "Ask for a report", () => model.send({ action: "report" }));
  const nothing = h("p", { class: "as-quiet" }, "No report yet.");
  let shown = null;
  panel.on(["agent", "link"], () => allow(ask, model, "report"));
  panel.on(["reports"], () => {
    const items = model.get("reports");
    nothing.hidden = Boolean(items.length);
    keyed(list, items, (item) => item.at, (item) => h("details", {}, h("summary", {}, new Date(item.at * 1000).toLocaleString(), " · ", aged(item.at), " ago"),
      h("dl", {}, Object.entries(item.report).map(([name, value]) => [h("dt", {}, name), h("dd", {}, valueText(value))]))));
    const newest = list.firstChild;
    if (!newest || newest === shown) return;
    shown = newest;
    [...list.children].forEach((details) => { details.open = details === newest; });
  });
  return h("div", {}, h("div", { class: "as-row" }, ask, ask.why), list, nothing);
}

/** Suggest, propose and ingest by hand. */
export function byHandTab(model, panel) {
  const countInput = h("input", { type: "number", min: 1, max: 1000, step: 1, value: 1, class: "as-input as-short", "aria-label": "number of points" });
  const suggest = actionButton(model, "suggest", "Suggest", () => model.send({ action: "suggest", n_points: countInput.value }));
  const [measured, proposed] = [pointFields(), pointFields()];
  const ingest = actionButton(model, "ingest", "Ingest", () => model.send({ action: "ingest", ...measured.read() }));
  const reason = h("input", { class: "as-input as-long", "aria-label": "reason", maxlength: 500 });
  const propose = actionButton(model, "propose", "Propose", () => model.send({ action: "propose", reason: reason.value.trim(), ...proposed.read() }));
  const proposing = h("div", { role: "group", "aria-label": "Propose" }, h("h4", {}, "Propose"), h("p", { class: "as-help" }, "Say where it should measure, and why. It waits in the inbox for somebody who may approve."),
    proposed.element, h("div", { class: "as-row" }, h("label", { class: "as-pair" }, "reason", reason), propose, propose.why));
  panel.on(["agent", "link"], () => {
    const agent = model.get("agent");
    allow(suggest, model, "suggest");
    allow(ingest, model, "ingest");
    proposed.offer(agent, agent.actuators);
    measured.offer(agent, [...(agent.actuators ?? []), ...(agent.outcomes ?? [])]);
    proposing.hidden = propose.classList.contains("as-forbidden");
  });
  const suggesting = h("div", {}, h("h4", {}, "Suggest"), h("p", { class: "as-help" }, "Ask for points now. They wait in the inbox; nothing moves until they are approved."), h("div", { class: "as-row" }, h("label", { class: "as-pair" }, "points", countInput), suggest, suggest.why));
  const ingesting = h("div", { role: "group", "aria-label": "Ingest" }, h("h4", {}, "Ingest"), h("p", { class: "as-help" }, "Tell the agent what was measured elsewhere."), measured.element, h("div", { class: "as-row" }, ingest, ingest.why));
  [[suggesting, suggest], [proposing, propose], [ingesting, ingest]].forEach(([form, command]) => pressByKeys(form, (key) => key === "Enter" && command));
  return h("div", { class: "as-two" }, suggesting, proposing, ingesting);
}

/** Fields for the values of a point, made anew where others are offered; `read()` is what stands there. */
function pointFields() {
  const element = h("div", { class: "as-row" });
  let [inputs, shape] = [[], ""];
  const offer = ({ space = {}, units = {} }, names = []) => {
    const now = JSON.stringify([names, space, units]);
    if (now === shape) return;
    shape = now;
    inputs = names.map((name) => [name, valueField(name, space[name])]);
    element.replaceChildren(...inputs.map(([name, field]) => h("label", { class: "as-pair" }, name, field.element, units[name] ? h("span", { class: "as-unit" }, units[name]) : null)));
  };
  const read = () => ({ point: Object.fromEntries(inputs.map(([name, field]) => [name, field.value()])), texts: inputs.filter(([, field]) => field.text).map(([name]) => name) });
  return { element, offer, read };
}

/** Enable a button by what is legal now, and say why when it is not. */
export function allow(button, model, name) {
  permit(button, model, whyNot(name, model.get("agent"), model.get("service").queue?.state));
}

function valueText(value, inner = false) {
  if (Array.isArray(value)) return `[${value.map((item) => valueText(item, true)).join(", ")}]`;
  if (typeof value !== "object" || value === null) return number(value, 6);
  const members = Object.entries(value).map(([name, member]) => `${name} ${valueText(member, true)}`).join(", ");
  return inner ? `(${members})` : members;
}

function parsed(written) {
  try {
    return JSON.parse(written);
  } catch {
    return written;
  }
}
