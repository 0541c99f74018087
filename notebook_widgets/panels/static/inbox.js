// The inbox: suggestions that wait for a person's word.

import { aged, button, h, keyed, number, pointText, say } from "./dom.js";
import { acting, settle } from "./line.js";

/** A table of proposed suggestions; `columns` are the actuators, or null for points of several agents. */
export function inboxTable(model) {
  const header = h("tr", {});
  const body = h("tbody", {});
  const table = h("table", { class: "as-table" }, h("thead", {}, header), body);
  const nothing = h("p", { class: "as-quiet" });
  let shape = "";
  const show = (items, columns, none) => {
    const now = JSON.stringify(columns);
    if (now !== shape) {
      shape = now;
      header.replaceChildren(...(columns ?? ["agent", "point"]).map((name) => h("th", {}, name)), h("th", { class: "as-wide" }), h("th", { class: "as-when" }, "age"), h("th", {}));
      body.replaceChildren();
    }
    table.hidden = !items.length;
    say(header.querySelector(".as-wide"), items.some((item) => item.note) ? "note" : "");
    nothing.hidden = Boolean(items.length);
    say(nothing, none);
    keyed(body, items, (item) => item.id, (item) => row(model, item, columns), (line, item) => line.tell(item));
  };
  const free = () => body.querySelectorAll("tr").forEach((one) => one.release());
  return { element: h("div", {}, table, nothing), show, free };
}

/** What waits now, as the service says; what the kernel said of it is kept. */
export function waiting(known, items) {
  const said = new Map(known.map((one) => [one.id, one]));
  return items.map((one) => said.get(one.id) ?? { id: one.id, agent: one.agent, point: one.point, at: Date.parse(one.created_at) / 1000, note: "", outside: false });
}

function row(model, item, columns) {
  const inputs = {};
  const names = columns ?? Object.keys(item.point);
  const cells = columns
    ? names.map(() => h("td", { class: "as-number" }))
    : [h("td", {}, item.agent), h("td", { class: "as-number" })];
  const actions = h("div", { class: "as-actions" });
  const note = h("td", {});
  const line = h("tr", {}, ...cells, note, h("td", { class: "as-muted as-when" }, aged(item.at)), h("td", {}, actions));
  const send = (content) => {
    actions.querySelectorAll("button").forEach((one) => { one.disabled = true; });
    model.send(content);
  };
  const field = (name) => {
    inputs[name] = h("input", { type: "number", step: "any", class: "as-input", value: number(item.point[name], 6), "aria-label": name });
    return inputs[name];
  };
  const still = () => {
    names.forEach((name, i) => columns && cells[i].replaceChildren(number(item.point[name])));
    if (!columns) cells[1].replaceChildren(pointText(item.point));
    actions.replaceChildren(
      button("Edit", edit),
      acting(model, "reject", "Reject", () => send({ action: "reject", id: item.id })),
      acting(model, "approve", "Approve", () => send({ action: "approve", id: item.id }), "as-main"));
  };
  const edit = () => {
    names.forEach((name, i) => columns && cells[i].replaceChildren(field(name)));
    if (!columns) cells[1].replaceChildren(...names.map((name) => h("label", { class: "as-pair" }, name, field(name))));
    // what was not touched goes back with all its digits, not with those that are shown
    const value = (name) => (inputs[name].value === inputs[name].defaultValue ? item.point[name] : inputs[name].value);
    const point = () => Object.fromEntries(names.map((name) => [name, value(name)]));
    actions.replaceChildren(
      button("Cancel", still),
      acting(model, "reject", "Reject", () => send({ action: "reject", id: item.id })),
      acting(model, "approve", "Approve", () => send({ action: "approve", id: item.id, point: point() }), "as-main"));
    inputs[names[0]]?.focus();
  };
  line.release = () => actions.querySelectorAll("button").forEach((one) => {
    one.disabled = false;
    if (one.dataset.action) settle(one, model);
  });
  line.tell = (now) => {
    note.className = now.outside ? "as-wide as-bad" : "as-wide as-muted";
    say(note, now.note);
  };
  still();
  return line;
}
