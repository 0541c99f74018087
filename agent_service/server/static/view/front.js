// The Pareto front of an agent with several objectives: drawn, listed, and chosen from.

import { allow } from "./agent_tabs.js";
import { actionButton, named } from "./controls.js";
import { h, keyed, number, pointText, svg } from "./dom.js";
import { dots, EDGE, frame, HEIGHT, outcomeTitles, padded, rowLines, scale, selector } from "./drawing.js";

/** Two outcomes of each measured point, those on the front joined; each of these has a row, and a button that moves there. */
export function frontPlot(model) {
  const plot = frame("The Pareto front over two outcomes", "front");
  const axis = { x: 0, y: 1 };
  let [front, frontVersion, asking, chosen] = [[], "", false, null];
  const [across, up] = [selector("Outcome across", (value) => { axis.x = value; plot.draw(); }), selector("Outcome upwards", (value) => { axis.y = value; plot.draw(); })];
  plot.head.append(up.element);
  plot.foot.append(across.element);
  const [head, body] = [h("tr", {}), h("tbody", {})];
  const why = h("p", { class: "as-why", id: `as-front-${Math.random().toString(36).slice(2)}` });
  const choose = (key) => { chosen = chosen === key ? null : key; plot.draw(); };

  /** Ask for the front when more was measured; the service finds it. */
  const look = async (data) => {
    const version = `${data.first}/${data.rows.length}`;
    if (asking || version === frontVersion) return;
    asking = true;
    try {
      front = (await model.source.ask({ path: `agents/${encodeURIComponent(model.get("agent").name)}/best` })).measured;
      frontVersion = version;
    } catch {
      // asked again with what is measured next
    }
    asking = false;
    plot.draw();
  };

  const row = (data, measurement) => {
    const outcomeText = pointText(Object.fromEntries(data.outcomes.map((name) => [name, measurement.outcome[name]])), data.units);
    const go = Object.assign(actionButton(model, "go-to-best", "Go there", (event) => { event.stopPropagation(); model.send({ action: "go-to-best", point: measurement.point }); }), { why });
    const values = [...data.outcomes.map((name) => measurement.outcome[name]), ...data.actuators.map((name) => measurement.point[name])];
    const pick = h("button", { type: "button", class: "as-save", "aria-label": `Mark ${outcomeText} in the picture` }, "mark");
    const cells = values.map((value, i) => h("td", { class: "as-number", "data-label": [...data.outcomes, ...data.actuators][i] }, number(value)));
    return h("tr", { onclick: () => choose(keyOf(measurement)) }, cells, h("td", {}, h("div", { class: "as-actions" }, pick, named(go, outcomeText))));
  };

  plot.paint = (data, size) => {
    look(data);
    if (data.outcomes.length < 2) return plot.empty("The agent has one outcome: its best is one point");
    [axis.x, axis.y] = [axis.x, axis.y].map((value) => Math.min(value, data.outcomes.length - 1));
    [[across, axis.x], [up, axis.y]].forEach(([choice, index]) => choice.offer(outcomeTitles(data), index));
    const values = (outcome) => [outcome[data.outcomes[axis.x]], outcome[data.outcomes[axis.y]]];
    const points = data.rows.map((each, i) => [each[data.actuators.length + axis.x], each[data.actuators.length + axis.y], i])
      .filter(([horizontal, vertical]) => Number.isFinite(horizontal) && Number.isFinite(vertical));
    const best = front.map((measurement) => ({ measurement, at: values(measurement.outcome) })).filter(({ at }) => at.every(Number.isFinite)).sort((a, b) => a.at[0] - b.at[0]);
    head.replaceChildren(...[...data.outcomes, ...data.actuators].map((name) => h("th", {}, name, data.units[name] ? h("span", { class: "as-unit" }, data.units[name]) : null)), h("th", {}, h("span", { class: "as-hidden" }, "what to do")));
    keyed(body, best.map(({ measurement }) => measurement), keyOf, (measurement) => row(data, measurement), (line, measurement) => {
      line.classList.toggle("as-chosen", keyOf(measurement) === chosen);
      line.querySelector(".as-save").setAttribute("aria-pressed", String(keyOf(measurement) === chosen));
      allow(line.querySelector("[data-action]"), model, "go-to-best");
    });
    if (!points.length) return plot.empty("Nothing was measured yet");
    const all = (k) => [...points.map((each) => each[k]), ...best.map(({ at }) => at[k])];
    const [x, y] = [scale(padded(all(0)), [EDGE.left, size - EDGE.right]), scale(padded(all(1)), [HEIGHT - EDGE.bottom, EDGE.top])];
    plot.axes(x, y, {});
    plot.add(dots("as-dots", points.map(([horizontal, vertical]) => [x(horizontal), y(vertical)])));
    for (const [horizontal, vertical, i] of points) plot.target(x(horizontal), y(vertical), `run ${data.first + i}`, rowLines(data, data.rows[i]));
    if (data.outcomes.length === 2 && best.length) plot.add(svg("path", { class: "as-front-line", d: `M${best.map(({ at }) => `${x(at[0])},${y(at[1])}`).join("L")}` }));
    for (const { measurement, at } of best) {
      const marked = keyOf(measurement) === chosen;
      plot.add(svg("circle", { class: `as-front${marked ? " as-chosen" : ""}`, cx: x(at[0]), cy: y(at[1]), r: marked ? 8 : 5 }));
    }
    return null;
  };
  const table = h("div", { class: "as-pane" }, h("table", { class: "as-table as-cards as-front-table" }, h("thead", {}, head), body), why);
  return Object.assign(plot, { element: h("div", {}, plot.element, table) });
}

function keyOf(measurement) {
  return measurement.id ?? JSON.stringify(measurement.point);
}
