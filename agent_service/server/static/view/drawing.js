// What pictures are drawn with: SVG, drawn anew at each update, at the width there is; axes, colours, marks.

import { h, number, pointText, svg } from "./dom.js";
import { save } from "./save.js";

export const HEIGHT = 236;
export const EDGE = { top: 12, right: 14, bottom: 26, left: 48 };
// viridis: even steps of lightness, readable without colour vision
const TONES = 24;
const COLOURS = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [160, 218, 57], [253, 231, 37]];

/** A picture with what is chosen above and below it, and buttons that save it under `name`; `plot.paint(data, width)` draws it. */
export function frame(title, name) {
  const canvas = svg("svg", { role: "img", "aria-label": title, height: HEIGHT });
  const tip = h("div", { class: "as-tip", hidden: true });
  const [head, foot] = [h("div", { class: "as-axis" }), h("div", { class: "as-axis as-axis-x" })];
  const area = h("div", { class: "as-area" }, canvas, tip);
  const saved = ["png", "svg"].map((kind) => h("button", { type: "button", class: "as-save", "aria-label": `Save the picture "${title}" as ${kind.toUpperCase()}`, onclick: () => save(canvas, name, kind, { left: lineText(head, ":not(.as-right)"), right: lineText(head, ".as-right"), below: lineText(foot) }) }, kind.toUpperCase()));
  const plot = { head, foot, data: null, targets: [], element: h("figure", { class: "as-plot" }, head, area, h("div", { class: "as-under" }, foot, h("span", { class: "as-saves" }, saved))) };
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

/** What stands in a line above or below a picture, as text. */
function lineText(line, which = "") {
  const textOf = (part) => part.selectedOptions?.[0]?.text ?? (part.value || part.placeholder || part.textContent.trim());
  return [...line.querySelectorAll(`:is(select, input, span:not(:has(*)))${which}`)].filter((part) => !part.closest("[hidden]")).map(textOf).join(" · ");
}

function hover(plot, tip, area, event) {
  const box = area.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let near = null;
  let least = 14;
  for (const target of plot.targets) {
    const away = Math.hypot(target.x - x, target.y - y);
    if (away <= least) [near, least] = [target, away];
  }
  tip.hidden = !near;
  if (!near) return;
  const lines = typeof near.lines === "function" ? near.lines() : near.lines;
  tip.replaceChildren(h("b", {}, near.title), ...lines.map((line) => h("div", {}, line)));
  const left = near.x > box.width / 2;
  tip.style.left = left ? "auto" : `${near.x + 12}px`;
  tip.style.right = left ? `${box.width - near.x + 12}px` : "auto";
  tip.style.top = `${Math.max(0, near.y - 14)}px`;
}

function drawAxes(plot, x, y, whole) {
  const tickText = (axis, value) => (axis.names ? String(axis.names[value]) : number(value));
  const marks = (axis) => (axis.names ? axis.names.map((_, i) => i) : ticks(axis.domain, 5));
  for (const value of marks(y)) {
    plot.add(svg("line", { class: "as-grid", x1: x.range[0], x2: x.range[1], y1: y(value), y2: y(value) }));
    plot.add(svg("text", { class: "as-tick as-tick-y", x: x.range[0] - 8, y: y(value) }, tickText(y, value)));
  }
  const shown = marks(x).filter((value) => !whole || Number.isInteger(value));
  if (whole && shown[0] > 2) shown.unshift(1);
  for (const value of shown) {
    plot.add(svg("text", { class: "as-tick as-tick-x", x: x(value), y: HEIGHT - EDGE.bottom + 17 }, tickText(x, value)));
  }
}

export function region(plot, x, y, [across, up], look) {
  if (!across && !up) return;
  const ends = (axis, limits) => axis.range.map((edge, k) => (Number.isFinite(limits?.[k]) ? axis(limits[k]) : edge));
  const [left, right] = ends(x, across);
  const [bottom, top] = ends(y, up);
  plot.add(svg("rect", { class: look, x: left, y: top, width: right - left, height: bottom - top, rx: 1 }));
}

export function colourBar(plot, size, range, less) {
  if (!Number.isFinite(range[0])) return;
  const [x, top, height] = [size - EDGE.right - 12, EDGE.top + 14, HEIGHT - EDGE.bottom - EDGE.top - 28];
  const steps = 32;
  for (let i = 0; i < steps; i += 1) {
    const fill = viridis(i / (steps - 1), [0, 1], less);
    plot.add(svg("rect", { x, y: top + (height * (steps - 1 - i)) / steps, width: 8, height: height / steps + 0.6, fill }));
  }
  if (range[1] > range[0]) plot.add(svg("text", { class: "as-tick as-tick-bar", x: size - 2, y: top - 8 }, number(range[1])));
  plot.add(svg("text", { class: "as-tick as-tick-bar", x: size - 2, y: top + height + 9 }, number(range[0])));
}

export function selector(label, choose) {
  const element = h("select", { class: "as-select", "aria-label": label, onchange: (event) => choose(Number(event.target.value)) });
  let offered = "";
  const offer = (names, index) => {
    const now = JSON.stringify([names, index]);
    if (now === offered) return;
    offered = now;
    element.replaceChildren(...names.map((name, i) => h("option", { value: i }, name)));
    element.value = String(index);
    element.disabled = names.length < 2;
    element.hidden = !names.length;
  };
  return { element, offer };
}

/** Names of actuators and outcomes, each with its unit. */
export function columnTitles({ actuators, outcomes, units }) {
  return [...actuators, ...outcomes].map((name) => (units[name] ? `${name} (${units[name]})` : name));
}

/** Names of outcomes, each with its unit. */
export function outcomeTitles(data) {
  return columnTitles(data).slice(data.actuators.length);
}

/** What makes the lines that a row has beside the pointer: most rows are never pointed at. */
export function rowLines(data, row) {
  return () => [...data.actuators, ...data.outcomes].map((name, i) => [name, row[i]]).filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => pointText({ [name]: data.categories[data.actuators.indexOf(name)]?.[value] ?? value }, data.units));
}

/** Where an actuator may go: what is allowed, else the limits, what is searched, or what was measured; null without two ends. */
export function reach(data, k) {
  const pair = [data.allowed[k], data.search[k], data.limits[k]].find((ends) => ends?.every(Number.isFinite));
  const [low, high] = pair ?? extent(data.rows.map((row) => row[k]));
  return low < high ? [low, high] : null;
}

export function extent(values) {
  const finite = values.filter(Number.isFinite);
  return [Math.min(...finite), Math.max(...finite)];
}

export function padded(values) {
  const [low, high] = extent(values);
  const pad = (high - low) * 0.06 || Math.abs(low) * 0.1 || 1;
  return [low - pad, high + pad];
}

/** The scale of an axis: of numbers, or of categories, each with the same room. */
export function axisScale(names, values, range) {
  return names ? Object.assign(scale([-0.5, names.length - 0.5], range), { names }) : scale(padded(values), range);
}

export function scale(domain, range) {
  const factor = (range[1] - range[0]) / (domain[1] - domain[0]);
  const map = (value) => range[0] + (value - domain[0]) * factor;
  return Object.assign(map, { domain, range });
}

/** Where cells around places of an axis begin, and how long they are, each within the axis: beyond it stand its labels. */
export function strips(axis, places) {
  const [first, second = first + 1] = places;
  const half = (Math.abs(axis(second) - axis(first)) + 0.5) / 2;
  const [low, high] = [Math.min(...axis.range), Math.max(...axis.range)];
  return places.map((place) => {
    const [from, to] = [axis(place) - half, axis(place) + half].map((end) => Math.min(high, Math.max(low, end)));
    return [from, to - from];
  });
}

function ticks([low, high], wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const marks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) marks.push(Number((i * step).toPrecision(12)));
  return marks;
}

export function viridis(value, [low, high], less) {
  if (!Number.isFinite(value)) return "none";
  const at = high > low ? ((value - low) / (high - low)) * (COLOURS.length - 1) : COLOURS.length - 1;
  if (less && high > low) return viridis(low + high - value, [low, high]);
  const i = Math.min(COLOURS.length - 2, Math.floor(at));
  const mix = COLOURS[i].map((part, k) => Math.round(part + (COLOURS[i + 1][k] - part) * (at - i)));
  return `rgb(${mix.join(",")})`;
}

/** Round dots as one element: a thousand elements take longer to draw anew than a person should wait. */
export function dots(look, places, more = {}) {
  return svg("path", { class: look, "data-points": places.length, ...more, d: places.map(([x, y]) => `M${x.toFixed(1)},${y.toFixed(1)}h0`).join("") });
}

/** A value as one of `TONES` even steps of its range: the points of a step have one colour, and are one element. */
export function evenStep(value, [low, high]) {
  return high > low ? low + (Math.round(((value - low) / (high - low)) * TONES) / TONES) * (high - low) : value;
}

export function cross(x, y) {
  return `M${x - 6},${y}H${x + 6}M${x},${y - 6}V${y + 6}`;
}

export function ex(x, y, half) {
  return `M${x - half},${y - half}L${x + half},${y + half}M${x - half},${y + half}L${x + half},${y - half}`;
}

/** Where a value is on an axis, or the end of the axis that it is beyond. */
export function clamped(axis, value) {
  const [low, high] = [...axis.range].sort((a, b) => a - b);
  return Math.min(high, Math.max(low, axis(value)));
}

export function star(x, y, radius) {
  const corner = (i) => {
    const [r, angle] = [i % 2 ? radius * 0.42 : radius, (Math.PI / 5) * i - Math.PI / 2];
    return `${(x + r * Math.cos(angle)).toFixed(2)},${(y + r * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${Array.from({ length: 10 }, (_, i) => corner(i)).join("L")}Z`;
}
