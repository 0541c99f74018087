// The inbox: suggestions that wait for a person's word.

import { actionButton, keepFocus, named, permit, pressByKeys, settle } from "./controls.js";
import { aged, button, h, keyed, nameOf, number, pointText, say } from "./dom.js";
import { decimals } from "./records.js";
import { valueField } from "./values.js";

const SEEN_MS = 1000; // until a person may have seen a point that came

/** A table of proposed suggestions; `columns` are the actuators, or null for points of several agents. */
export function inboxTable(model) {
  const header = h("tr", {});
  const body = h("tbody", {});
  const table = h("table", { class: "as-table as-cards as-inbox" }, h("thead", {}, header), body);
  const together = h("div", { class: "as-row as-together" });
  const nothing = h("p", { class: "as-quiet" });
  const element = h("div", { class: "as-inbox-group", role: "group", "aria-label": "Points that wait", tabindex: -1 }, together, table, nothing);
  let shape = "";
  const show = (items, columns, none) => {
    const now = JSON.stringify(columns);
    if (now !== shape) {
      shape = now;
      header.replaceChildren(...(columns ?? ["agent", "point"]).map((name) => h("th", { scope: "col", class: columns ? "as-num" : "" }, name)), h("th", { class: "as-wide" }), h("th", { class: "as-when" }, "age"), h("th", {}, h("span", { class: "as-hidden" }, "what to do")));
      body.replaceChildren();
    }
    table.hidden = !items.length;
    say(header.querySelector(".as-wide"), items.some((item) => item.note) ? "note" : "");
    nothing.hidden = Boolean(items.length);
    say(nothing, none);
    const digits = (columns ?? []).map((name) => decimals(items.map((item) => item.point[name])));
    keepFocus(element, () => keyed(body, items, (item) => item.id, (item) => row(model, item, columns), (line, item) => line.tell(item, digits)));
    keyed(together, groups(items), ({ agent }) => agent, ({ agent }) => approveAll(model, agent, !columns), (approval, group) => approval.tell(group.items));
    edits();
  };
  const edits = () => [...together.children].forEach((approval) => approval.look([...body.children].some((line) => line.edited())));
  const free = () => [...body.children, ...together.children].forEach((element) => element.release());
  body.addEventListener("click", edits);
  return { element, show, free };
}

/** Agents of which more than one point waits that was not refused, with these. */
function groups(items) {
  const open = items.filter((item) => !item.outside && !item.rounded);
  const names = [...new Set(open.map((item) => item.agent))];
  return names.map((agent) => ({ agent, items: open.filter((item) => item.agent === agent) })).filter((group) => group.items.length > 1);
}

/** A button that approves every point of an agent that is shown below it, all or none. */
function approveAll(model, agent, ofMany) {
  let [items, came, edited] = [[], 0, false];
  const approve = actionButton(model, "approve-all", "", () => {
    leaveFocus(approve);
    approve.disabled = true;
    model.send({ action: "approve-all", seen: Object.fromEntries(items.map((item) => [item.id, item.point])) });
  }, "as-main");
  const element = h("div", {}, approve, " ", approve.why);
  const look = () => permit(approve, model, edited ? "a point is being edited" : Date.now() - came < SEEN_MS ? "a point has come just now" : "");
  element.release = () => settle(approve, model);
  element.look = (now) => {
    edited = now;
    look();
  };
  element.tell = (now) => {
    if (now.some(({ id }) => !items.some((item) => item.id === id))) {
      came = Date.now(); // who is about to press has not seen it
      setTimeout(look, SEEN_MS);
    }
    items = now;
    say(approve, `Approve all ${now.length}${ofMany ? ` of ${agent}` : ""}`);
  };
  return element;
}

/** Leave an element with the focus for the inbox around it, as a button that is disabled has none; returns what gives it back. */
function leaveFocus(element) {
  const [focused, inbox] = [document.activeElement, element.closest(".as-inbox-group")];
  if (!element.contains(focused)) return () => {};
  inbox.focus({ preventScroll: true });
  return () => document.activeElement === inbox && focused.focus();
}

function withUnit(value, unit, digits) {
  const counts = typeof value === "number";
  return h("span", {}, counts && Number.isFinite(digits) ? value.toFixed(digits) : number(value), counts && unit ? h("span", { class: "as-unit" }, unit) : null);
}

function row(model, item, columns) {
  const inputs = {};
  const names = columns ?? Object.keys(item.point);
  const cells = columns
    ? names.map((name) => h("td", { class: "as-number as-num", "data-label": name }))
    : [h("td", { class: "as-of" }, nameOf(model, item.agent)), h("td", { class: "as-number as-point" })];
  const actions = h("div", { class: "as-actions" });
  const note = h("td", {});
  const line = h("tr", {}, ...cells, note, h("td", { class: "as-muted as-when", "data-label": "age" }, aged(item.at)), h("td", {}, actions));
  const edit = actionButton(model, "approve", "Edit", () => showFields());
  let byKey = {}; // the buttons that keys press
  pressByKeys(line, (key) => byKey[key]);
  let decided = false; // the row is about to go: a second press does nothing
  const send = async (event, content) => {
    if (decided || event.detail > 1) return; // a second click met the next row
    decided = true;
    const giveBack = leaveFocus(actions);
    actions.querySelectorAll("button").forEach((command) => { command.disabled = true; });
    await model.send(content);
    decided = model.get("notice").kind !== "error";
    line.release();
    if (!decided) giveBack();
  };
  const field = (name) => {
    inputs[name] = valueField(name, item.space[name], item.point[name]);
    return [inputs[name].element, units[name] ? h("span", { class: "as-unit" }, units[name]) : ""];
  };
  const whose = `${columns ? "" : `${item.agent} `}${pointText(item.point, item.units)}`;
  const offer = (...buttons) => actions.replaceChildren(...buttons.map((command) => named(command, whose)));
  const reject = () => actionButton(model, "reject", "Reject", (event) => send(event, { action: "reject", id: item.id }));
  let [digits, units, edited] = [[], item.units, false];
  const numbers = () => {
    if (!columns) cells[1].replaceChildren(pointText(item.point, units));
    else names.forEach((name, i) => cells[i].replaceChildren(withUnit(item.point[name], units[name], digits[i])));
  };
  const showPlain = () => {
    edited = false;
    byKey = {};
    settle(edit, model);
    numbers();
    offer(
      ...(item.rounded ? [] : [edit]), // what goes back would be another point
      reject(),
      actionButton(model, "approve", "Approve", (event) => send(event, { action: "approve", id: item.id }), "as-main"));
  };
  const showFields = () => {
    edited = true;
    const there = names.filter((name) => name in item.point); // what a point lacks stays where it is
    names.forEach((name, i) => columns && name in item.point && cells[i].replaceChildren(...field(name)));
    if (!columns) cells[1].replaceChildren(...there.map((name) => h("label", { class: "as-pair" }, name, field(name))));
    const texts = there.filter((name) => typeof item.point[name] === "string");
    const point = () => Object.fromEntries(there.map((name) => [name, inputs[name].value()]));
    const cancel = button("Cancel", () => { showPlain(); edit.focus(); });
    const approve = actionButton(model, "approve", "Approve", (event) => send(event, { action: "approve", id: item.id, point: point(), texts }), "as-main");
    byKey = { Enter: approve, Escape: cancel };
    offer(cancel, reject(), approve);
    inputs[there[0]]?.element.focus();
  };
  line.edited = () => edited;
  line.release = () => decided || actions.querySelectorAll("button").forEach((command) => {
    command.disabled = false;
    if (command.dataset.action) settle(command, model);
  });
  line.tell = (now, beside) => { // numbers of a column stand below each other
    if (!edited && JSON.stringify([beside, now.units]) !== JSON.stringify([digits, units])) {
      [digits, units] = [beside, now.units];
      numbers();
    }
    note.className = now.outside ? "as-wide as-bad" : "as-wide as-muted";
    say(note, now.note);
  };
  showPlain();
  return line;
}
