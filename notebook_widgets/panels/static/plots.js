// The trace of outcomes and the map of points: SVG, drawn anew at each update, at the width there is.

import { h, number, svg } from "./dom.js";

const HEIGHT = 236;
const EDGE = { top: 12, right: 14, bottom: 26, left: 48 };
// viridis: even steps of lightness, readable without colour vision
const COLOURS = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [160, 218, 57], [253, 231, 37]];

/** The outcomes in the order they came, and the best measured so far. */
export function tracePlot() {
  const plot = frame("Outcomes in the order they were measured");
  let outcome = 0;
  const chosen = selector("Outcome to show", (value) => { outcome = value; plot.draw(); });
  plot.head.append(chosen.element);
  plot.foot.append(h("span", {}, "run"));
  plot.paint = (data, size) => {
    outcome = Math.min(outcome, Math.max(0, data.outcomes.length - 1));
    chosen.offer(data.outcomes, outcome);
    const column = data.actuators.length + outcome;
    const points = data.rows.map((row, i) => [data.first + i, row[column], i]).filter((one) => Number.isFinite(one[1]));
    if (!points.length) return plot.empty("No outcome yet");
    const line = outcome === data.objective ? bestSoFar(points, data.before, data.maximize) : [];
    const last = data.first + data.rows.length - 1;
    const x = scale([1, Math.max(data.total ?? 0, last, 2)], [EDGE.left, size - EDGE.right]);
    const y = scale(padded([...points.map((one) => one[1]), ...line.map((one) => one[1])]), [HEIGHT - EDGE.bottom, EDGE.top]);
    plot.axes(x, y, { whole: true });
    const steps = line.map(([run, value], i) => (i ? `H${x(run)}V${y(value)}` : `M${x(run)},${y(value)}`)).join("");
    if (line.length) plot.add(svg("path", { class: "as-line", d: `${steps}H${x(last)}` }));
    for (const [run, value, i] of points) {
      plot.add(svg("circle", { class: "as-dot", cx: x(run), cy: y(value), r: 3 }));
      plot.target(x(run), y(value), `run ${run}`, told(data, data.rows[i]));
    }
  };
  return plot;
}

/** Measured points coloured by outcome, suggested points, the best one, and the region that is allowed. */
export function mapPlot() {
  const plot = frame("Measured, suggested and best points");
  const axis = { x: null, y: null, colour: 0 };
  const across = selector("Horizontal axis", (value) => { axis.x = value; plot.draw(); });
  const up = selector("Vertical axis", (value) => { axis.y = value; plot.draw(); });
  const tint = selector("Colour", (value) => { axis.colour = value; plot.draw(); });
  tint.element.classList.add("as-right");
  plot.head.append(up.element, tint.element);
  plot.foot.append(across.element);
  plot.paint = (data, size) => {
    const columns = [...data.actuators, ...data.outcomes];
    if (!columns.length) return plot.empty("No actuators");
    const within = (value, otherwise) => (value !== null && value < columns.length ? value : Math.min(otherwise, columns.length - 1));
    const [i, j] = [within(axis.x, 0), within(axis.y, 1)];
    across.offer(columns, i);
    up.offer(columns, j);
    axis.colour = Math.min(axis.colour, Math.max(0, data.outcomes.length - 1));
    tint.offer(data.outcomes, axis.colour);
    const colour = data.actuators.length + axis.colour;
    const range = data.ranges[axis.colour] ?? [NaN, NaN];
    const allowed = [data.allowed[i] ?? null, data.allowed[j] ?? null];
    const all = (k, limits) => [...[...data.rows, data.best ?? [], data.model ?? []].map((row) => row[k]), ...data.suggested.map((one) => one.values[k]), ...(limits ?? []).filter(Number.isFinite)];
    const [across_, up_] = [all(i, allowed[0]), all(j, allowed[1])];
    if (![across_, up_].every((values) => values.some(Number.isFinite))) return plot.empty("No point yet");
    const x = scale(padded(across_), [EDGE.left, size - EDGE.right - 34]);
    const y = scale(padded(up_), [HEIGHT - EDGE.bottom, EDGE.top]);
    plot.axes(x, y, {});
    region(plot, x, y, allowed);
    data.rows.forEach((row, k) => {
      if (![row[i], row[j]].every(Number.isFinite)) return;
      plot.add(svg("circle", { class: "as-measured", cx: x(row[i]), cy: y(row[j]), r: 4, fill: viridis(row[colour], range) }));
      plot.target(x(row[i]), y(row[j]), `run ${data.first + k}`, told(data, row));
    });
    for (const one of data.suggested) {
      if (![one.values[i], one.values[j]].every(Number.isFinite)) continue;
      const [px, py] = [x(one.values[i]), y(one.values[j])];
      const now = one.state === "running" || one.state === "submitted";
      plot.add(svg("circle", { class: `as-suggested${now ? " as-now" : ""}`, cx: px, cy: py, r: 5 }));
      plot.target(px, py, now ? "measuring" : one.state, told(data, one.values));
    }
    for (const [best, look, name] of [[data.model, "as-best as-model", "best by the model"], [data.best, "as-best", "best measured"]]) {
      if (!best || ![best[i], best[j]].every(Number.isFinite)) continue;
      plot.add(svg("path", { class: look, d: star(x(best[i]), y(best[j]), 8) }));
      plot.target(x(best[i]), y(best[j]), name, told(data, best));
    }
    colourBar(plot, size, range);
  };
  return plot;
}

/** The marks of the map with their meaning. */
export function legend() {
  const mark = (...shapes) => svg("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, ...shapes);
  const item = (name, shape) => h("span", { class: "as-key" }, mark(shape), name);
  return h("span", { class: "as-legend" },
    item("measured", svg("circle", { class: "as-measured", cx: 7, cy: 7, r: 4, fill: "rgb(39,127,142)" })),
    item("suggested", svg("circle", { class: "as-suggested", cx: 7, cy: 7, r: 4.5 })),
    item("best measured", svg("path", { class: "as-best", d: star(7, 7.5, 6.5) })),
    item("best by model", svg("path", { class: "as-best as-model", d: star(7, 7.5, 6.5) })),
    item("allowed", svg("rect", { class: "as-allowed", x: 1.5, y: 2.5, width: 11, height: 9 })));
}

function frame(title) {
  const canvas = svg("svg", { role: "img", "aria-label": title, height: HEIGHT });
  const tip = h("div", { class: "as-tip", hidden: true });
  const [head, foot] = [h("div", { class: "as-axis" }), h("div", { class: "as-axis as-axis-x" })];
  const area = h("div", { class: "as-area" }, canvas, tip);
  const plot = { head, foot, data: null, targets: [], element: h("figure", { class: "as-plot" }, head, area, foot) };
  plot.add = (mark) => canvas.append(mark);
  plot.target = (x, y, title_, lines) => plot.targets.push({ x, y, title: title_, lines });
  plot.empty = (text) => plot.add(svg("text", { class: "as-empty", x: "50%", y: HEIGHT / 2 }, text));
  plot.axes = (x, y, { whole }) => drawAxes(plot, x, y, whole);
  plot.draw = () => {
    const size = area.clientWidth;
    if (!size || !plot.data?.actuators) return;
    canvas.setAttribute("width", size);
    canvas.replaceChildren();
    plot.targets = [];
    plot.paint(plot.data, size);
  };
  plot.show = (data) => { plot.data = data; plot.draw(); };
  const watcher = new ResizeObserver(() => plot.draw());
  watcher.observe(area);
  plot.end = () => watcher.disconnect();
  area.addEventListener("pointermove", (event) => hover(plot, tip, area, event));
  area.addEventListener("pointerleave", () => { tip.hidden = true; });
  return plot;
}

function hover(plot, tip, area, event) {
  const box = area.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let near = null;
  let least = 14;
  for (const one of plot.targets) {
    const away = Math.hypot(one.x - x, one.y - y);
    if (away <= least) [near, least] = [one, away];
  }
  tip.hidden = !near;
  if (!near) return;
  tip.replaceChildren(h("b", {}, near.title), ...near.lines.map((line) => h("div", {}, line)));
  const left = near.x > box.width / 2;
  tip.style.left = left ? "auto" : `${near.x + 12}px`;
  tip.style.right = left ? `${box.width - near.x + 12}px` : "auto";
  tip.style.top = `${Math.max(0, near.y - 14)}px`;
}

function drawAxes(plot, x, y, whole) {
  for (const value of ticks(y.domain, 5)) {
    plot.add(svg("line", { class: "as-grid", x1: x.range[0], x2: x.range[1], y1: y(value), y2: y(value) }));
    plot.add(svg("text", { class: "as-tick as-tick-y", x: x.range[0] - 8, y: y(value) }, number(value)));
  }
  const along = ticks(x.domain, 5).filter((value) => !whole || Number.isInteger(value));
  for (const value of along) {
    plot.add(svg("text", { class: "as-tick as-tick-x", x: x(value), y: HEIGHT - EDGE.bottom + 17 }, number(value)));
  }
}

function region(plot, x, y, [across, up]) {
  if (!across && !up) return;
  const ends = (axis, limits) => axis.range.map((edge, k) => (Number.isFinite(limits?.[k]) ? axis(limits[k]) : edge));
  const [left, right] = ends(x, across);
  const [bottom, top] = ends(y, up);
  plot.add(svg("rect", { class: "as-allowed", x: left, y: top, width: right - left, height: bottom - top, rx: 1 }));
}

function colourBar(plot, size, range) {
  if (!Number.isFinite(range[0])) return;
  const [x, top, height] = [size - EDGE.right - 12, EDGE.top + 14, HEIGHT - EDGE.bottom - EDGE.top - 28];
  const steps = 32;
  for (let i = 0; i < steps; i += 1) {
    const fill = viridis(i / (steps - 1), [0, 1]);
    plot.add(svg("rect", { x, y: top + (height * (steps - 1 - i)) / steps, width: 8, height: height / steps + 0.6, fill }));
  }
  plot.add(svg("text", { class: "as-tick as-tick-bar", x: x + 8, y: top - 8 }, number(range[1])));
  plot.add(svg("text", { class: "as-tick as-tick-bar", x: x + 8, y: top + height + 9 }, number(range[0])));
}

function selector(label, choose) {
  const element = h("select", { class: "as-select", "aria-label": label, onchange: (event) => choose(Number(event.target.value)) });
  let offered = "";
  const offer = (names, index) => {
    const now = JSON.stringify([names, index]);
    if (now === offered) return;
    offered = now;
    element.replaceChildren(...names.map((name, i) => h("option", { value: i }, name)));
    element.value = String(index);
    element.disabled = names.length < 2;
  };
  return { element, offer };
}

/** The best measured so far after each run; it begins at what was measured before the first one shown. */
function bestSoFar(points, before, maximize) {
  const line = [];
  let best = before;
  for (const [run, value] of points) {
    if (best === null || best === undefined || (maximize ? value > best : value < best)) best = value;
    line.push([run, best]);
  }
  return line;
}

function told(data, row) {
  return [...data.actuators, ...data.outcomes].map((name, i) => [name, row[i]]).filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => `${name} ${number(value)}`);
}

function extent(values) {
  const finite = values.filter(Number.isFinite);
  return [Math.min(...finite), Math.max(...finite)];
}

function padded(values) {
  const [low, high] = extent(values);
  const pad = (high - low) * 0.06 || Math.abs(low) * 0.1 || 1;
  return [low - pad, high + pad];
}

function scale(domain, range) {
  const factor = (range[1] - range[0]) / (domain[1] - domain[0]);
  const map = (value) => range[0] + (value - domain[0]) * factor;
  return Object.assign(map, { domain, range });
}

function ticks([low, high], wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough * 0.999) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function viridis(value, [low, high]) {
  if (!Number.isFinite(value)) return "none";
  const at = high > low ? ((value - low) / (high - low)) * (COLOURS.length - 1) : COLOURS.length - 1;
  const i = Math.min(COLOURS.length - 2, Math.floor(at));
  const mix = COLOURS[i].map((part, k) => Math.round(part + (COLOURS[i + 1][k] - part) * (at - i)));
  return `rgb(${mix.join(",")})`;
}

function star(x, y, radius) {
  const corner = (i) => {
    const [r, angle] = [i % 2 ? radius * 0.42 : radius, (Math.PI / 5) * i - Math.PI / 2];
    return `${(x + r * Math.cos(angle)).toFixed(2)},${(y + r * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${Array.from({ length: 10 }, (_, i) => corner(i)).join("L")}Z`;
}
