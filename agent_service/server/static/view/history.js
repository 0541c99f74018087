// The history of an agent: a table that is sorted and copied, a page of it at a time, each row with its traceback or run uid.

import { button, clock, clocked, copy, h, keyed, number, say } from "./dom.js";
import { labelsOf } from "./fold.js";
import { asText, decimals, records, sorted, valueOf } from "./records.js";

const ROWS = 50; // that are drawn at a time: a person reads no more at once
const LABELS = { run: "run", who: "by" }; // of what does not say by itself what it is, on a telephone

/** Draw it; `{element, draw}`: it is drawn while it is seen, `draw` says that it is seen now. */
export function historyTab(model, panel) {
  const head = h("tr", {});
  const body = h("tbody", {});
  const none = h("p", { class: "as-quiet" }, "Nothing happened yet.");
  const table = h("table", { class: "as-table as-cards as-history" }, h("caption", { class: "as-hidden" }, "History"), h("thead", {}, head), body);
  const where = h("span", { class: "as-muted", role: "status" });
  const [newer, older] = [button("Previous rows", () => turn(-ROWS)), button("Next rows", () => turn(ROWS))];
  const copied = button("Copy all", () => copy(asText(rows, columns.slice(0, -1))).then(() => say(done, `${rows.length} rows are copied`), () => say(done, "this browser does not let the page copy")));
  const done = h("span", { class: "as-muted", role: "status" });
  const element = h("div", {}, none, h("div", { class: "as-scroll", tabindex: 0, role: "group", "aria-label": "Rows of the history" }, table), h("div", { class: "as-row" }, newer, older, where, copied, done));
  const open = new Set();
  let [columns, rows, shape, first, by, down] = [[], [], "", 0, "at", true];

  const turn = (step) => {
    first += step;
    draw();
  };
  const sort = (name) => {
    [by, down, first] = [name, by === name ? !down : name === "at" || name === "run", 0];
    draw();
  };
  const toggle = (key) => {
    if (!open.delete(key)) open.add(key);
    draw();
  };
  function draw() {
    if (element.closest("[hidden]")) return;
    drawHead();
    const column = columns.find(({ name }) => name === by) ?? columns[1];
    const { fold } = model.get("lines");
    rows = fold ? sorted(records(fold, model.get("agent").units, labelsOf(model.get("form"))), column, down) : [];
    first = Math.max(0, Math.min(first, rows.length - 1));
    const shown = rows.slice(first, first + ROWS);
    const digits = columns.map((column) => (column.of ? decimals(shown.map((row) => valueOf(row, column))) : null));
    [...head.children].forEach((cell, i) => columns[i].title !== "" && cell.setAttribute("aria-sort", columns[i] === column ? (down ? "descending" : "ascending") : "none"));
    table.hidden = !rows.length;
    none.hidden = Boolean(rows.length);
    keyed(body, shown.flatMap((row) => (open.has(row.key) ? [row, { ...row, more: true }] : [row])), (row) => `${row.key}${row.more ? " more" : ""}`, makeLine, (line, row) => line.show(row, digits));
    say(where, rows.length > ROWS ? `${first + 1} to ${first + shown.length} of ${rows.length}` : "");
    [newer.hidden, older.hidden] = [rows.length <= ROWS, rows.length <= ROWS];
    [newer.disabled, older.disabled] = [first === 0, first + ROWS >= rows.length];
    copied.hidden = !rows.length;
  }
  function drawHead() {
    const { actuators = [], outcomes = [] } = model.get("plot");
    const { units = {} } = model.get("agent");
    const now = JSON.stringify([actuators, outcomes, units]);
    if (now === shape) return;
    shape = now;
    const columnsOf = (kind, names) => names.map((name) => ({ name, of: kind, unit: units[name] }));
    columns = [{ name: "run", title: "run" }, { name: "at", title: "time" }, ...columnsOf("actuator", actuators), ...columnsOf("outcome", outcomes),
      { name: "what", title: "what happened" }, { name: "why", title: "why" }, { name: "who", title: "who" }, { name: "", title: "" }];
    head.replaceChildren(...columns.map(({ name, title, of: kind, unit }) => h("th", { class: kind || name === "run" ? "as-num" : name === "why" ? "as-wide" : name === "what" ? "as-what" : "", scope: "col" },
      title === "" ? h("span", { class: "as-hidden" }, "run uid or traceback") : h("button", { type: "button", class: "as-sort", onclick: () => sort(name) }, title ?? name, unit ? h("span", { class: "as-unit" }, unit) : null))));
    body.replaceChildren();
  }
  function makeLine(row) {
    if (row.more) {
      const shown = [
        row.run_uid ? h("span", {}, "run uid ", h("code", {}, row.run_uid)) : "",
        row.traceback ? h("pre", { tabindex: 0 }, row.traceback) : "",
      ];
      return Object.assign(h("tr", { class: "as-more" }, h("td", { colspan: columns.length }, shown)), { show: () => {} });
    }
    const cells = columns.map(({ name, of: kind, unit }) => h("td", { class: kind || name === "run" ? "as-num" : name === "why" ? "as-wide as-muted" : name === "what" ? "as-what" : "", "data-label": kind ? name : LABELS[name] ?? null, "data-unit": unit }));
    const name = row.traceback ? "Traceback" : "Run uid";
    const more = row.traceback || row.run_uid ? h("button", { type: "button", class: "as-link-like", "aria-label": `${name}: ${row.run ? `run ${row.run}` : row.what} at ${clock(row.at)}`, onclick: () => toggle(row.key) }, name) : "";
    cells.at(-1).append(more);
    cells[columns.findIndex((column) => column.name === "at")].append(clocked(row.at));
    const line = h("tr", { class: row.bad ? "as-bad-row" : "" }, cells);
    line.show = (now, digits) => {
      columns.forEach((column, i) => column.name && column.name !== "at" && say(cells[i], cellText(now, column, digits[i])));
      if (more) more.setAttribute("aria-expanded", String(open.has(now.key)));
    };
    return line;
  }
  panel.on(["lines", "plot", "agent"], draw);
  return { element, draw };
}

function cellText(row, column, digits) {
  const value = valueOf(row, column);
  if (value === null || value === undefined) return "";
  if (column.of && typeof value === "number" && digits !== null) return value.toFixed(digits);
  return column.of ? number(value) : String(value);
}

/** What the service and the brain said, newest first. */
export function logTab(model, panel) {
  const list = h("ol", { class: "as-lines", "aria-label": "Log" });
  const draw = () => {
    if (list.closest("[hidden]")) return;
    const items = model.get("lines").log ?? [];
    keyed(list, items, (line) => `${line.at}${line.text}`, (line) => h("li", { class: ["warning", "error"].includes(line.kind) ? "as-bad" : "" }, clocked(line.at), h("span", {}, line.text)));
    list.classList.toggle("as-none", !items.length);
  };
  panel.on(["lines"], draw);
  return { element: list, draw };
}
