// The trace of outcomes and the map of points.

import { Belief, LAYERS, versionOf } from "./belief.js";
import { h, svg } from "./dom.js";
import { axisScale, clamped, colourBar, columnTitles, cross, dots, EDGE, evenStep, ex, extent, frame, HEIGHT, outcomeTitles, padded, region, rowLines, scale, selector, star, strips, viridis } from "./drawing.js";
import { otherActuators } from "./others.js";

/** The outcomes in the order they came, and what the best had that was measured so far, where there is one best. */
export function tracePlot() {
  const plot = frame("Outcomes in the order they were measured", "outcomes");
  let outcome = 0;
  const chosen = selector("Outcome to show", (value) => { outcome = value; plot.draw(); });
  plot.head.append(chosen.element);
  const foot = h("span", {});
  plot.foot.append(foot);
  plot.paint = (data, size) => {
    outcome = Math.min(outcome, Math.max(0, data.outcomes.length - 1));
    chosen.offer(outcomeTitles(data), outcome);
    const column = data.actuators.length + outcome;
    const points = data.rows.map((row, i) => [data.first + i, row[column], i]).filter((point) => Number.isFinite(point[1]));
    if (!points.length) return plot.empty("Nothing was measured yet");
    foot.textContent = data.judged.length || data.objective === null ? "run" : "run; no best so far: each of several objectives counts for itself";
    const best = data.judged.includes(outcome) ? points.map(([run, , i]) => [run, data.so_far[i]?.[outcome]]) : [];
    const line = best.filter(([, value]) => Number.isFinite(value));
    const last = data.first + data.rows.length - 1;
    const x = scale([1, Math.max(data.total ?? 0, last, 2)], [EDGE.left, size - EDGE.right]);
    const y = scale(padded([...points.map((point) => point[1]), ...line.map((point) => point[1])]), [HEIGHT - EDGE.bottom, EDGE.top]);
    plot.axes(x, y, { whole: true });
    const steps = line.map(([run, value], i) => (i ? `H${x(run)}V${y(value)}` : `M${x(run)},${y(value)}`)).join("");
    if (line.length) plot.add(svg("path", { class: "as-line", d: `${steps}H${x(last)}` }));
    plot.add(dots("as-dots", points.map(([run, value]) => [x(run), y(value)])));
    for (const [run, value, i] of points) plot.target(x(run), y(value), `run ${run}`, rowLines(data, data.rows[i]));
  };
  return plot;
}

/**
 * Measured points coloured by outcome, suggested points, the best one, and the region that is allowed; behind them, if it is
 * chosen, what the agent believes, for which `predict` asks it.
 */
export function mapPlot(predict = null) {
  const plot = frame("Measured, suggested and best points", "map");
  const axis = { x: null, y: null, colour: 0, layer: 0 };
  const layers = Object.keys(LAYERS);
  let seen = null;
  const belief = new Belief(predict, (answer) => { seen = answer; plot.draw(); });
  const behind = selector("Behind the points: what the agent believes", (value) => { axis.layer = value; plot.draw(); });
  const across = selector("Horizontal axis", (value) => { axis.x = value; plot.draw(); });
  const up = selector("Vertical axis", (value) => { axis.y = value; plot.draw(); });
  const tint = selector("Colour", (value) => { axis.colour = value; plot.draw(); });
  tint.element.classList.add("as-right");
  plot.head.append(up.element, behind.element, tint.element);
  behind.element.hidden = !predict;
  const where = otherActuators(() => plot.draw());
  plot.foot.append(across.element, where.element);
  plot.paint = (data, size) => {
    const columns = [...data.actuators, ...data.outcomes];
    if (!columns.length) return plot.empty("No actuators");
    const within = (value, otherwise) => (value !== null && value < columns.length ? value : Math.min(otherwise, columns.length - 1));
    const [i, j] = [within(axis.x, 0), within(axis.y, 1)];
    across.offer(columnTitles(data), i);
    up.offer(columnTitles(data), j);
    axis.colour = Math.min(axis.colour, Math.max(0, data.outcomes.length - 1));
    tint.offer(outcomeTitles(data), axis.colour);
    const colour = data.actuators.length + axis.colour;
    const range = data.ranges[axis.colour] ?? [NaN, NaN];
    const less = axis.colour === data.objective && !data.maximize; // the best has the lightest colour
    const allowed = [data.allowed[i] ?? null, data.allowed[j] ?? null];
    const anchors = (k) => data.search[k] ?? data.limits[k] ?? [];
    const shown = [...data.rows, data.best ?? [], data.model ?? [], data.present, ...data.suggested.map((suggestion) => suggestion.values)];
    const all = (k, limits) => [...anchors(k).filter(Number.isFinite), ...shown.map((row) => row[k]), ...(limits ?? []).filter(Number.isFinite)];
    const [acrossValues, upValues] = [all(i, allowed[0]), all(j, allowed[1])];
    if (![acrossValues, upValues].every((values, k) => data.categories[[i, j][k]] || values.some(Number.isFinite))) return plot.empty("No point yet");
    const x = axisScale(data.categories[i], acrossValues, [EDGE.left, size - EDGE.right - 34]);
    const y = axisScale(data.categories[j], upValues, [HEIGHT - EDGE.bottom, EDGE.top]);
    behind.offer(layers.map((name) => (name ? LAYERS[name] : "points only")), axis.layer);
    const layer = layers[axis.layer];
    const wanted = layer && i !== j && Math.max(i, j) < data.actuators.length && !x.names && !y.names ? wantedBelief(data, layer, data.outcomes[axis.colour], i, j, x, y) : null;
    const others = where.at(data, wanted && [i, j]);
    if (wanted) wanted.others = others;
    belief.look(wanted, versionOf(data));
    if (wanted && seen) drawBelief(plot, x, y, seen);
    plot.axes(x, y, {});
    region(plot, x, y, [x.names ? null : data.search[i], y.names ? null : data.search[j]], "as-search");
    region(plot, x, y, [x.names ? null : allowed[0], y.names ? null : allowed[1]], "as-allowed");
    const places = new Map(); // by colour
    data.rows.forEach((row, k) => {
      if (![row[i], row[j]].every(Number.isFinite)) return;
      const tone = viridis(evenStep(row[colour], range), range, less && !wanted);
      if (!places.has(tone)) places.set(tone, []);
      places.get(tone).push([x(row[i]), y(row[j])]);
      plot.target(x(row[i]), y(row[j]), `run ${data.first + k}`, rowLines(data, row));
    });
    plot.add(dots("as-measured as-edge", [...places.values()].flat()));
    places.forEach((at, stroke) => plot.add(dots("as-measured", at, { stroke })));
    const crosses = new Map([["as-rejected", []], ["as-unhappy", []]]);
    for (const suggestion of data.unhappy) {
      if (![suggestion.values[i], suggestion.values[j]].every(Number.isFinite)) continue;
      const [px, py] = [clamped(x, suggestion.values[i]), clamped(y, suggestion.values[j])]; // one from far outside is at the edge
      plot.target(px, py, suggestion.state, () => [...rowLines(data, suggestion.values)(), suggestion.why].filter(Boolean));
      crosses.get(suggestion.state === "rejected" ? "as-rejected" : "as-unhappy").push(ex(px, py, suggestion.state === "rejected" ? 2.5 : 4));
    }
    crosses.forEach((paths, look) => paths.length && plot.add(svg("path", { class: look, d: paths.join(""), "data-points": paths.length })));
    for (const suggestion of data.suggested) {
      if (![suggestion.values[i], suggestion.values[j]].every(Number.isFinite)) continue;
      const [px, py] = [x(suggestion.values[i]), y(suggestion.values[j])];
      const now = suggestion.state === "running" || suggestion.state === "submitted";
      plot.add(svg("circle", { class: `as-suggested${now ? " as-now" : ""}`, cx: px, cy: py, r: 5 }));
      plot.target(px, py, now ? "measuring" : suggestion.state, rowLines(data, suggestion.values));
    }
    if ([data.present[i], data.present[j]].every(Number.isFinite)) {
      const [px, py] = [x(data.present[i]), y(data.present[j])];
      plot.add(svg("path", { class: "as-present", d: cross(px, py) }));
      plot.target(px, py, "now at", rowLines(data, data.present));
    }
    for (const [best, look, name, radius] of [[data.model, "as-best as-model", "best by the model", 16], [data.best, "as-best", "best measured", 11]]) { // one is seen around the other
      if (!best || ![best[i], best[j]].every(Number.isFinite)) continue;
      plot.add(svg("path", { class: look, d: star(x(best[i]), y(best[j]), radius) }));
      plot.target(x(best[i]), y(best[j]), name, rowLines(data, best));
    }
    colourBar(plot, size, wanted && seen?.values ? extent(seen.values) : range, less && !wanted);
  };
  const end = plot.end;
  plot.end = () => { belief.look(null); end(); };
  return plot;
}

/** What of the agent's belief is looked at: two actuators within what is shown. */
function wantedBelief(data, layer, outcome, i, j, x, y) {
  const ends = (k, axis) => {
    const [low, high] = data.allowed[k] ?? [];
    return { name: data.actuators[k], low: Number.isFinite(low) ? low : axis.domain[0], high: Number.isFinite(high) ? high : axis.domain[1], whole: data.whole[k] };
  };
  return { layer, outcome, across: ends(i, x), up: ends(j, y) };
}

/** The values of a map as coloured cells, or why there are none. */
function drawBelief(plot, x, y, { xs, ys, values, why }) {
  if (!values) return plot.add(svg("text", { class: "as-empty", x: "50%", y: EDGE.top + 12 }, `No belief to show: ${why}`));
  const range = extent(values);
  const [columns, lines] = [strips(x, xs), strips(y, ys)];
  return plot.add(svg("g", { class: "as-belief" }, values.map((value, k) => {
    const [[left, width], [top, height]] = [columns[k % xs.length], lines[Math.floor(k / xs.length)]];
    return svg("rect", { x: left, y: top, width, height, fill: viridis(value, range) });
  })));
}

/** The marks of the map with their meaning; those that are not on it are not named. */
export function legend(model, panel) {
  const mark = (...shapes) => svg("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, ...shapes);
  const item = (name, shape) => h("span", { class: "as-key" }, mark(shape), name);
  const byModel = item("best by model", svg("path", { class: "as-best as-model", d: star(7, 7.5, 6.5) }));
  const search = item("searched", svg("rect", { class: "as-search", x: 1.5, y: 2.5, width: 11, height: 9 }));
  const present = item("now at", svg("path", { class: "as-present", d: cross(7, 7) }));
  const allowed = item("allowed", svg("rect", { class: "as-allowed", x: 1.5, y: 2.5, width: 11, height: 9 }));
  const unhappy = item("failed", svg("path", { class: "as-unhappy", d: ex(7, 7, 4) }));
  const rejected = item("rejected", svg("path", { class: "as-rejected", d: ex(7, 7, 2.5) }));
  panel.on(["plot"], () => {
    const plot = model.get("plot");
    rejected.hidden = !plot.unhappy?.some((suggestion) => suggestion.state === "rejected");
    unhappy.hidden = !plot.unhappy?.some((suggestion) => suggestion.state !== "rejected");
    byModel.hidden = !plot.model;
    present.hidden = !plot.present?.some(Number.isFinite);
    search.hidden = !plot.search?.some(Boolean);
    allowed.hidden = !plot.allowed?.some(Boolean);
  });
  return h("span", { class: "as-legend" },
    item("measured", dots("as-measured", [[7, 7]], { stroke: "rgb(39,127,142)" })),
    item("suggested", svg("circle", { class: "as-suggested", cx: 7, cy: 7, r: 4.5 })),
    unhappy,
    rejected,
    item("best measured", svg("path", { class: "as-best", d: star(7, 7.5, 6.5) })),
    byModel, present, search, allowed);
}
