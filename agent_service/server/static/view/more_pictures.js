// Pictures of an agent besides its trace and its map: one at a time, the one a person chose or that which suits the agent.

import { curvePlot, mattersPlot } from "./belief_pictures.js";
import { comparedPlot } from "./compared.js";
import { h, number, svg } from "./dom.js";
import { axisScale, colourBar, columnTitles, EDGE, extent, frame, HEIGHT, outcomeTitles, reach, rowLines, scale, selector, viridis } from "./drawing.js";
import { frontPlot } from "./front.js";

const MOST_LINES = 400;
const KINDS = [
  { name: "none" },
  { name: "parallel coordinates", make: parallelPlot, suits: (data) => data.actuators.length > 2 && data.rows.length > 0 },
  { name: "Pareto front", make: frontPlot, suits: (data) => data.front > 1, needs: (data) => data.outcomes?.length > 1 },
  { name: "curve along one actuator", make: curvePlot, suits: (data) => data.actuators.length === 1 && data.predicts },
  { name: "how much each actuator matters", make: mattersPlot },
  { name: "beside another agent", make: comparedPlot },
];

/** A choice of one more picture of an agent, below its plots; `predict` asks what it believes of points. */
export function morePictures(model, panel, predict) {
  let [kind, byPerson, plot] = [0, false, null];
  const place = h("div", {});
  const choose = (value) => {
    if (kind === value) return;
    kind = value;
    plot?.end();
    plot = KINDS[kind].make?.(model, predict) ?? null;
    place.replaceChildren(...(plot ? [plot.element] : []));
    draw();
  };
  const offered = (data) => KINDS.filter((picture, i) => i === kind || !picture.needs || picture.needs(data));
  const chosen = selector("More pictures", (value) => { byPerson = true; choose(KINDS.indexOf(offered(model.get("plot"))[value])); });
  const draw = () => {
    const data = model.get("plot");
    chosen.offer(offered(data).map((picture) => picture.name), offered(data).indexOf(KINDS[kind]));
    plot?.show(data);
  };
  panel.on(["plot"], () => {
    const data = model.get("plot");
    if (!byPerson && data.actuators) choose(Math.max(0, KINDS.findLastIndex((picture) => picture.suits?.(data))));
    draw();
  });
  panel.ends.push(() => plot?.end());
  return h("div", { class: "as-more" }, h("label", { class: "as-axis" }, h("span", {}, "more pictures:"), chosen.element), place);
}

/** A line for each measured point, through its values on an axis for each actuator and one for the outcome that colours it. */
function parallelPlot() {
  const plot = frame("Measured points by all actuators", "parallel");
  let outcome = 0;
  const chosen = selector("Outcome that colours the lines", (value) => { outcome = value; plot.draw(); });
  const many = h("span", {});
  plot.head.append(chosen.element);
  plot.foot.append(many);
  plot.paint = (data, size) => {
    outcome = Math.min(outcome, Math.max(0, data.outcomes.length - 1));
    chosen.offer(outcomeTitles(data), outcome);
    const column = data.actuators.length + outcome;
    const shown = data.rows.slice(-MOST_LINES).map((row, i, all) => ({ row, run: data.first + data.rows.length - all.length + i }));
    many.textContent = data.rows.length > MOST_LINES ? `the last ${MOST_LINES} runs, and the best` : "";
    if (!shown.length) return plot.empty("Nothing was measured yet");
    const less = outcome === data.objective && !data.maximize; // the best has the lightest colour
    const range = data.ranges[outcome] ?? [NaN, NaN];
    const columns = [...data.actuators.keys(), ...(data.outcomes.length ? [column] : [])];
    const names = columns.map((k) => columnTitles(data)[k]);
    const apart = (size - 2 * EDGE.left - 34) / Math.max(1, columns.length - 1);
    const steep = apart < 7 * Math.max(...names.map((name) => name.length)) + 8;
    const bottom = HEIGHT - (steep ? 78 : 34);
    const heights = [bottom, EDGE.top + 16];
    const axes = columns.map((k) => {
      const ends = extent([...(k < data.actuators.length ? reach(data, k) ?? [] : range), ...shown.map((line) => line.row[k])]);
      return data.categories[k] || !(ends[0] < ends[1]) ? axisScale(data.categories[k], ends, heights) : scale(ends, heights);
    });
    const x = (i) => EDGE.left + i * apart;
    const line = (row) => columns.map((k, i) => (Number.isFinite(row[k]) ? `${x(i).toFixed(1)},${axes[i](row[k]).toFixed(1)}` : null)).filter(Boolean).join("L");
    const goodness = (line) => (line.row[column] ?? -Infinity) * (less ? -1 : 1);
    for (const { row } of [...shown].sort((first, second) => goodness(first) - goodness(second))) {
      plot.add(svg("path", { class: "as-way", d: `M${line(row)}`, stroke: viridis(row[column], range, less) }));
    }
    if (data.best) plot.add(svg("path", { class: "as-best as-way-best", d: `M${line(data.best)}` }));
    columns.forEach((k, i) => {
      plot.add(svg("line", { class: "as-pole", x1: x(i), x2: x(i), y1: axes[i].range[0], y2: axes[i].range[1] }));
      const ends = axes[i].names ? axes[i].names.map((name, at) => [at, String(name)]) : axes[i].domain.map((value) => [value, number(value, 3)]);
      ends.forEach(([at, text], end) => plot.add(svg("text", { class: "as-tick as-tick-x", x: x(i), y: axes[i](at) + (axes[i].names ? 4 : end ? -6 : 13) }, text)));
      plot.add(svg("text", steep ? { class: "as-tick as-name as-tick-steep", transform: `translate(${x(i)},${bottom + 22}) rotate(-35)` } : { class: "as-tick as-name as-tick-x", x: x(i), y: bottom + 29 }, names[i]));
      for (const { row, run } of shown) if (Number.isFinite(row[k])) plot.target(x(i), axes[i](row[k]), `run ${run}`, rowLines(data, row));
    });
    colourBar(plot, size, range, less);
    return null;
  };
  return plot;
}
