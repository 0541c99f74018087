// Two agents on one picture: what each measured, and its best so far, run by run.

import { h, pointText, svg } from "./dom.js";
import { dots, EDGE, frame, HEIGHT, outcomeTitles, padded, scale, selector } from "./drawing.js";
import { bests, scorer } from "./shown.js";

const AGAIN_MS = 5000;
const PAGE = 1000;

/** The trace of an outcome of this agent and of another one, which is asked anew while it is looked at. */
export function comparedPlot(model) {
  const plot = frame("Two agents, run by run", "compared");
  let [outcome, other, names, theirs, timer, ended] = [0, 0, [], null, null, false];
  const chosen = selector("Outcome to compare", (value) => { outcome = value; plot.draw(); });
  const agents = selector("The other agent", (value) => { [other, theirs] = [value, null]; look(); });
  plot.head.append(chosen.element, agents.element);
  plot.foot.append(h("span", {}, "run"));

  const look = async () => {
    clearTimeout(timer);
    try {
      names = (await model.source.ask({ path: `agents?limit=${PAGE}` })).items.map((agent) => agent.name).filter((name) => name !== model.get("agent").name);
      const name = names[other];
      if (name) {
        const path = `agents/${encodeURIComponent(name)}`;
        const status = await model.source.ask({ path });
        if (theirs?.name !== name || theirs.done !== status.counts.ingested) theirs = { name, done: status.counts.ingested, score: scorer(status), ...(await pointsTable(model, path)) };
      }
    } catch {
      // asked again soon
    }
    if (ended) return;
    timer = setTimeout(look, AGAIN_MS);
    plot.draw();
  };

  plot.paint = (data, size) => {
    outcome = Math.min(outcome, Math.max(0, data.outcomes.length - 1));
    chosen.offer(outcomeTitles(data), outcome);
    agents.offer(names, other);
    agents.element.hidden = !names.length;
    if (!names.length) return plot.empty("There is no other agent");
    const name = data.outcomes[outcome];
    const own = data.rows.map((row, i) => [data.first + i, row[data.actuators.length + outcome]]).filter((point) => Number.isFinite(point[1]));
    const outcomes = theirs?.columns.filter((column) => column.kind === "outcome") ?? [];
    const outcomeOf = (row) => Object.fromEntries(outcomes.map((column) => [column.of ?? column.name, row[column.name]]));
    const theirPoints = (theirs?.rows ?? []).map((row) => ({ outcome: outcomeOf(row) })).filter((point) => Number.isFinite(point.outcome[name]));
    const measured = theirPoints.map((point, i) => [i + 1, point.outcome[name]]);
    const finite = (line) => line.filter(([, value]) => Number.isFinite(value));
    const ownBest = data.judged.includes(outcome) ? data.rows.map((_, i) => [data.first + i, data.so_far[i]?.[outcome]]) : [];
    const otherBest = theirs?.score ? bests(theirPoints, null, theirs.score).map((best, i) => [i + 1, best?.[name]]) : [];
    const both = [[model.get("agent").name, own, "as-own", finite(ownBest)], [names[other], measured, "as-other", finite(otherBest)]];
    const all = both.flatMap(([, points]) => points);
    if (!all.length) return plot.empty("Nothing was measured yet");
    const last = Math.max(2, ...both.map(([, points]) => points.at(-1)?.[0] ?? 0));
    const x = scale([1, last], [EDGE.left, size - EDGE.right]);
    const y = scale(padded(all.map((point) => point[1])), [HEIGHT - EDGE.bottom, EDGE.top]);
    plot.axes(x, y, { whole: true });
    for (const [who, points, how, line] of both) {
      if (line.length) plot.add(svg("path", { class: `as-line ${how}`, d: line.map(([run, value], i) => (i ? `H${x(run)}V${y(value)}` : `M${x(run)},${y(value)}`)).join("") }));
      plot.add(dots(`as-dots ${how}`, points.slice(-PAGE).map(([run, value]) => [x(run), y(value)])));
      for (const [run, value] of points.slice(-PAGE)) {
        plot.target(x(run), y(value), `${who}, run ${run}`, [pointText({ [name]: value }, data.units)]);
      }
    }
    // in the picture, for who saves it; where the lines of the best do not come
    both.forEach(([who, , how], i) => {
      const at = data.maximize ? HEIGHT - EDGE.bottom - 8 - 16 * (1 - i) : EDGE.top + 4 + 16 * i;
      plot.add(svg("text", { class: `as-tick as-tick-y as-name ${how}`, x: size - EDGE.right - 26, y: at }, who));
      plot.add(svg("path", { class: `as-line ${how}`, d: `M${size - EDGE.right - 20},${at}h20` }));
    });
    return measured.length ? null : plot.add(svg("text", { class: "as-empty", x: "50%", y: EDGE.top + 14 }, `${names[other]} measured no ${name}`));
  };
  look();
  const { end } = plot;
  return Object.assign(plot, { end: () => { ended = true; clearTimeout(timer); end(); } });
}

/** All points of an agent, with their columns. */
async function pointsTable(model, path) {
  const rows = [];
  let [columns, cursor] = [[], ""];
  do {
    const page = await model.source.ask({ path: `${path}/points?limit=${PAGE}${cursor}` });
    rows.push(...page.items);
    columns = page.columns;
    cursor = page.next && `&cursor=${encodeURIComponent(page.next)}`;
  } while (cursor);
  return { rows, columns };
}
