// What an agent believes along one actuator, and how much each actuator matters to it.

import { Belief, curveOf, effectsOf, versionOf } from "./belief.js";
import { h, svg } from "./dom.js";
import { axisScale, columnTitles, dots, EDGE, frame, HEIGHT, outcomeTitles, padded, reach, rowLines, scale, selector } from "./drawing.js";
import { otherActuators } from "./others.js";

const MOST = 30; // actuators whose bars have room
const NOTHING = "the agent has no actuator with numbers and two ends";

/** The mean along one actuator with a band of two standard deviations, the others at the best point; and what was measured. */
export function curvePlot(model, predict) {
  const plot = frame("What the agent believes along one actuator", "curve");
  const chosen = { outcome: 0, across: 0 };
  let seen = null;
  const belief = new Belief(predict, (answer) => { seen = answer; plot.draw(); }, curveOf);
  const [outcome, across] = [selector("Outcome of the curve", (value) => { chosen.outcome = value; plot.draw(); }), selector("Actuator of the curve", (value) => { chosen.across = value; plot.draw(); })];
  const where = otherActuators(() => plot.draw());
  plot.head.append(outcome.element, h("span", { class: "as-right" }, "mean, and two standard deviations to each side"));
  plot.foot.append(across.element, where.element);
  plot.paint = (data, size) => {
    const able = data.actuators.map((name, k) => ({ name, k, ends: reach(data, k) })).filter((actuator) => actuator.ends && !data.categories[actuator.k]);
    if (!able.length) return plot.empty(NOTHING);
    const actuator = able[Math.min(chosen.across, able.length - 1)];
    const column = Math.min(chosen.outcome, Math.max(0, data.outcomes.length - 1));
    across.offer(able.map((each) => columnTitles(data)[each.k]), able.indexOf(actuator));
    outcome.offer(outcomeTitles(data), column);
    const others = where.at(data, [actuator.k]);
    belief.look({ outcome: data.outcomes[column], across: { name: actuator.name, low: actuator.ends[0], high: actuator.ends[1], whole: data.whole[actuator.k] }, others }, versionOf(data));
    if (!seen?.values) return plot.empty(seen?.why ? `No belief to show: ${seen.why}` : "The agent is asked");
    const { xs, values: { mean, std } } = seen;
    const measured = data.rows.map((row, i) => [row[actuator.k], row[data.actuators.length + column], i]).filter(([at, value]) => Number.isFinite(at) && Number.isFinite(value));
    const ends = mean.map((value, i) => [value - 2 * std[i], value + 2 * std[i]]);
    const x = scale(padded(xs), [EDGE.left, size - EDGE.right]);
    const y = scale(padded([...ends.flat(), ...measured.map((each) => each[1])]), [HEIGHT - EDGE.bottom, EDGE.top]);
    plot.axes(x, y, {});
    const line = (heights) => heights.map((value, i) => `${x(xs[i]).toFixed(1)},${y(value).toFixed(1)}`);
    plot.add(svg("path", { class: "as-band", d: `M${[...line(ends.map((each) => each[1])), ...line(ends.map((each) => each[0])).reverse()].join("L")}Z` }));
    plot.add(svg("path", { class: "as-line", d: `M${line(mean).join("L")}` }));
    plot.add(dots("as-dots", measured.map(([at, value]) => [x(at), y(value)])));
    for (const [at, value, i] of measured) plot.target(x(at), y(value), `run ${data.first + i}`, rowLines(data, data.rows[i]));
    return null;
  };
  return stoppingBelief(plot, belief);
}

/** A bar for each actuator: the share of what the mean changes over all that is searched in which the actuator takes part. */
export function mattersPlot(model, predict) {
  const plot = frame("How much each actuator matters", "actuators");
  let [chosen, seen] = [0, null];
  const belief = new Belief(predict, (answer) => { seen = answer; plot.draw(); }, effectsOf);
  const outcome = selector("Outcome that actuators matter to", (value) => { chosen = value; plot.draw(); });
  plot.head.append(outcome.element);
  plot.foot.append(h("span", {}, "share in what the believed outcome changes by, in %; shares overlap where actuators act together"));
  plot.paint = (data, size) => {
    const column = Math.min(chosen, Math.max(0, data.outcomes.length - 1));
    outcome.offer(outcomeTitles(data), column);
    const actuators = data.actuators.map((name, k) => {
      const ends = reach(data, k);
      return data.categories[k] ? { name, names: data.categories[k] } : ends && { name, low: ends[0], high: ends[1], whole: data.whole[k] };
    });
    const without = data.actuators.filter((_, k) => !actuators[k]);
    if (without.length) return plot.empty(`${without.join(", ")}: no ends are known, nor was anything measured`);
    if (actuators.length > MOST) return plot.empty(`${actuators.length} actuators are more than ${MOST}`);
    belief.look({ outcome: data.outcomes[column], actuators }, versionOf(data));
    if (!seen?.values) return plot.empty(seen?.why ? `No belief to show: ${seen.why}` : "The agent is asked");
    const bars = seen.names.map((name, i) => ({ name, share: seen.values[i] })).sort((bar, other) => other.share - bar.share);
    const room = Math.min(0.4 * size, 12 + 7 * Math.max(...bars.map((bar) => bar.name.length)));
    const x = scale([0, Math.max(1, ...bars.map((bar) => bar.share)) * 100], [room, size - EDGE.right - 40]);
    const y = axisScale(bars.map((bar) => bar.name), [], [EDGE.top, HEIGHT - EDGE.bottom]);
    const high = Math.min(22, 0.7 * (y(1) - y(0)));
    bars.forEach((bar, i) => {
      const end = x(100 * bar.share);
      plot.add(svg("rect", { class: "as-bar", x: x(0), y: y(i) - high / 2, width: end - x(0), height: high }));
      plot.add(svg("text", { class: "as-tick as-tick-y", x: x(0) - 8, y: y(i) }, bar.name));
      plot.add(svg("text", { class: "as-tick as-tick-value", x: end + 6, y: y(i) }, `${(100 * bar.share).toFixed(0)} %`));
    });
    return null;
  };
  return stoppingBelief(plot, belief);
}

function stoppingBelief(plot, belief) {
  const { end } = plot;
  return Object.assign(plot, { end: () => { belief.look(null); end(); } });
}
