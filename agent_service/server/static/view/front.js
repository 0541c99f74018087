// The Pareto front of an agent with several objectives: drawn, listed, and chosen from.

import { allow } from "./agent_tabs.js";
import { acting, named } from "./controls.js";
import { h, keyed, number, pointText, svg } from "./dom.js";
import { dots, EDGE, frame, HEIGHT, outcomesOf, padded, scale, selector, told } from "./drawing.js";

/** Two outcomes of each measured point, those on the front joined; each of these has a row, and a button that moves there. */
export function frontPlot(model) {
  const plot = frame("The Pareto front over two outcomes", "front");
  const axis = { x: 0, y: 1 };
  let [front, of, asking, chosen] = [[], "", false, null];
  const [across, up] = [selector("Outcome across", (value) => { axis.x = value; plot.draw(); }), selector("Outcome upwards", (value) => { axis.y = value; plot.draw(); })];
  plot.head.append(up.element);
  plot.foot.append(across.element);
  const [head, body] = [h("tr", {}), h("tbody", {})];
  const why = h("p", { class: "as-why", id: `as-front-${Math.random().toString(36).slice(2)}` });
  const choose = (key) => { chosen = chosen === key ? null : key; plot.draw(); };

  /** Ask for the front when more was measured; the service finds it. */
  const look = async (data) => {
    const now = `${data.first}/${data.rows.length}`;
    if (asking || now === of) return;
    asking = true;
    try {
      front = (await model.source.ask({ path: `agents/${encodeURIComponent(model.get("agent").name)}/best` })).measured;
      of = now;
    } catch {
      // asked again with what is measured next
    }
    asking = false;
    plot.draw();
  };

  const row = (data, one) => {
    const said = pointText(Object.fromEntries(data.outcomes.map((name) => [name, one.outcome[name]])), data.units);
    const go = Object.assign(acting(model, "go-to-best", "Go there", (event) => { event.stopPropagation(); model.send({ action: "go-to-best", point: one.point }); }), { why });
    const values = [...data.outcomes.map((name) => one.outcome[name]), ...data.actuators.map((name) => one.point[name])];
    const pick = h("button", { type: "button", class: "as-save", "aria-label": `Mark ${said} in the picture` }, "mark");
    return h("tr", { onclick: () => choose(keyOf(one)) }, values.map((value, i) => h("td", { class: "as-number", "data-label": [...data.outcomes, ...data.actuators][i] }, number(value))), h("td", {}, h("div", { class: "as-actions" }, pick, named(go, said))));
  };

  plot.paint = (data, size) => {
    look(data);
    if (data.outcomes.length < 2) return plot.empty("The agent has one outcome: its best is one point");
    [axis.x, axis.y] = [axis.x, axis.y].map((value) => Math.min(value, data.outcomes.length - 1));
    [[across, axis.x], [up, axis.y]].forEach(([one, at]) => one.offer(outcomesOf(data), at));
    const values = (outcome) => [outcome[data.outcomes[axis.x]], outcome[data.outcomes[axis.y]]];
    const points = data.rows.map((each, i) => [each[data.actuators.length + axis.x], each[data.actuators.length + axis.y], i]).filter(([one, other]) => Number.isFinite(one) && Number.isFinite(other));
    const best = front.map((one) => ({ one, at: values(one.outcome) })).filter(({ at }) => at.every(Number.isFinite)).sort((a, b) => a.at[0] - b.at[0]);
    head.replaceChildren(...[...data.outcomes, ...data.actuators].map((name) => h("th", {}, name, data.units[name] ? h("span", { class: "as-unit" }, data.units[name]) : null)), h("th", {}, h("span", { class: "as-hidden" }, "what to do")));
    keyed(body, best.map(({ one }) => one), keyOf, (one) => row(data, one), (line, one) => {
      line.classList.toggle("as-chosen", keyOf(one) === chosen);
      line.querySelector(".as-save").setAttribute("aria-pressed", String(keyOf(one) === chosen));
      allow(line.querySelector("[data-action]"), model, "go-to-best");
    });
    if (!points.length) return plot.empty("Nothing was measured yet");
    const all = (k) => [...points.map((each) => each[k]), ...best.map(({ at }) => at[k])];
    const [x, y] = [scale(padded(all(0)), [EDGE.left, size - EDGE.right]), scale(padded(all(1)), [HEIGHT - EDGE.bottom, EDGE.top])];
    plot.axes(x, y, {});
    plot.add(dots("as-dots", points.map(([one, other]) => [x(one), y(other)])));
    for (const [one, other, i] of points) plot.target(x(one), y(other), `run ${data.first + i}`, told(data, data.rows[i]));
    if (data.outcomes.length === 2 && best.length) plot.add(svg("path", { class: "as-front-line", d: `M${best.map(({ at }) => `${x(at[0])},${y(at[1])}`).join("L")}` }));
    for (const { one, at } of best) plot.add(svg("circle", { class: `as-front${keyOf(one) === chosen ? " as-chosen" : ""}`, cx: x(at[0]), cy: y(at[1]), r: keyOf(one) === chosen ? 8 : 5 }));
    return null;
  };
  const table = h("div", { class: "as-pane" }, h("table", { class: "as-table as-cards as-front-table" }, h("thead", {}, head), body), why);
  return Object.assign(plot, { element: h("div", {}, plot.element, table) });
}

function keyOf(one) {
  return one.id ?? JSON.stringify(one.point);
}
