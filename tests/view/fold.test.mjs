// The fold over events, and what is shown of it: without a service.

import assert from "node:assert/strict";
import { test } from "node:test";

const { AgentFold, described, seconds } = await import(`${process.env.VIEW}/fold.js`);
const { asText, decimals, records, sorted } = await import(`${process.env.VIEW}/records.js`);
const { MAX_ROWS, byModel, entry, header, plotted, progress, region, row } = await import(`${process.env.VIEW}/shown.js`);

const T0 = Date.parse("2026-01-01T00:00:00Z");
const at = (s) => new Date(T0 + 1000 * s).toISOString();
const event = (seq, kind, data = {}) => ({ seq, time: at(seq ?? 0), agent: "a", kind, data });
const fate = (seq, state, id = "s1", data = {}) => event(seq, "suggestion.state", { id, state, ...data });
const birth = (seq, id = "s1", x = 1) => fate(seq, "proposed", id, { point: { x, y: 0 }, by: "loop", plan: "acquire" });
const oneRun = (seq, id, x, flux) => [
  birth(seq, id, x),
  fate(seq + 1, "approved", id),
  fate(seq + 2, "submitted", id),
  fate(seq + 3, "running", id, { run_uid: `u${seq}` }),
  fate(seq + 4, "measured", id, { outcome: { flux } }),
  event(seq + 5, "ingest", { points: [{ x, y: 0, flux, _id: id }], run_uids: [], best: [] }),
  fate(seq + 6, "ingested", id),
];

function status(changes = {}) {
  const spec = { actuators: ["x", "y"], outcome: "flux", config: {}, loop: { approval: "auto" }, guardrails: { bounds: { x: [-1, 1] } } };
  return { name: "a", state: "running", type: "t", executor: "thread", spec, progress: { done: 2, total: 10 }, counts: {}, best: null, best_by_model: null,
    objective: null, direction: "maximize", busy: null, last_error: null, legal: [], no_limits: [], limits: {}, ...changes };
}

function folded(...events) {
  const fold = new AgentFold();
  events.flat().forEach((one) => fold.take(one));
  return fold;
}

const asSuggestions = (fold) => [...fold.suggestions.values()].map((one) => ({ ...one, updated_at: new Date(1000 * one.at).toISOString() }));

test("times keep their microseconds", () => {
  assert.ok(seconds("2026-01-01T00:00:00.000002Z") > seconds("2026-01-01T00:00:00.000001Z"));
  assert.ok(seconds("2026-01-01T00:00:00.5Z") > seconds("2026-01-01T00:00:00Z"));
});

test("a suggestion goes its way", () => {
  const facts = oneRun(1, "s1", 1, 0.5);
  const fold = folded(facts.slice(0, 4));
  assert.deepEqual(progress(status(), fold).measuring, { id: "s1", point: { x: 1, y: 0 } });
  assert.equal(fold.measured.size, 0);
  facts.slice(4).forEach((one) => fold.take(one));
  assert.deepEqual([...fold.measured.values()].map((one) => [one.point.x, one.outcome.flux]), [[1, 0.5]]);
  assert.equal(fold.open.size, 0);
  assert.equal(progress(status(), fold).measuring, null);
});

test("events that the answers contained change nothing", () => {
  const facts = oneRun(1, "s1", 1, 0.5);
  const again = new AgentFold();
  again.look(asSuggestions(folded(facts)), facts);
  const state = () => JSON.stringify([[...again.suggestions], [...again.measured], again.history]);
  const before = state();
  again.take(facts[1]);
  assert.equal(again.suggestions.get("s1").state, "ingested", "an old fact must not turn a fate back");
  facts.forEach((one) => again.take(one));
  assert.equal(state(), before);
});

test("points by hand and from runs of others are measured points too", () => {
  const byHand = event(1, "ingest", { points: [{ x: 1, y: 2, flux: 3 }, { x: 2, y: 2, flux: 4 }], run_uids: [], best: [] });
  assert.deepEqual([...folded(byHand, byHand).measured.values()].map((one) => one.outcome.flux), [3, 4]);
});

test("a fate of a suggestion nobody knows is passed over", () => {
  assert.equal(folded(fate(1, "approved")).suggestions.size, 0);
});

test("the time left is a range, by the pace of the last runs, or is not told", () => {
  const paced = (...ends) => folded(ends.map((end, i) => oneRun(end, `s${i}`, i, 1)).flat());
  const even = paced(1, 11, 21, 31, 41);
  assert.deepEqual(progress(status(), even).left_s, [80, 80]);
  assert.equal(progress(status({ state: "paused" }), even).left_s, null);
  assert.equal(progress(status({ progress: { done: 2, total: null } }), even).left_s, null);
  assert.equal(progress(status(), paced(1, 11, 21)).left_s, null, "three runs tell nothing yet");
  assert.deepEqual(progress(status(), paced(1, 11, 31, 41, 61)).left_s, [80, 160]);
  assert.equal(progress(status(), paced(1, 11, 21, 121, 321)).left_s, null, "a pace that wild tells nothing");
});

test("nobody can tell when a person will look", () => {
  const fold = folded(oneRun(1, "s0", 0, 1), oneRun(11, "s1", 1, 1), birth(30, "s9"));
  const asks = status({ spec: { ...status().spec, loop: { approval: "required" } } });
  assert.deepEqual([progress(asks, fold).left_s, progress(asks, fold).waiting], [null, 1]);
  assert.equal(progress(status(), fold).waiting, 0);
});

const of = (limits) => ({ limits, spec: {} });

test("the inbox says what is outside", () => {
  const [outside, inside] = folded(birth(1, "s1", 5), birth(2, "s2", 0.5)).openIn("proposed");
  assert.equal(entry(outside, of({ x: [-1, 1] })).note, "x is outside -1 to 1");
  assert.ok(entry(outside, of({ x: [-1, 1] })).outside);
  assert.deepEqual([entry(inside, of({ x: [-1, 1] })).note, entry(inside, of({})).point], ["", { x: 0.5, y: 0 }]);
  assert.equal(entry(outside, of({ x: [null, 1] })).note, "x is above 1");
  assert.equal(entry(outside, of({ x: [9, null] })).note, "x is below 9");
  const pressed = entry(inside, of({}), "not approved: the device refuses x = 0.5");
  assert.deepEqual([pressed.note, pressed.outside], ["not approved: the device refuses x = 0.5", true]);
});

test("a whole number that a browser rounds is not edited there", () => {
  const of = (turns) => entry({ ...fate(1, "proposed", "s1").data, point: { turns, x: 1e20 }, created_at: at(0) }, { limits: {}, spec: { space: { turns: { type: "int" }, x: { type: "float" } } } });
  assert.deepEqual([of(2 ** 53 - 1), of(2 ** 53), of(-(2 ** 62))].map((one) => one.rounded), [false, true, true]);
  assert.match(of(2 ** 53).note, /edit it from Python/);
});

test("the inbox says who proposed a point and why, and what its brain expects there", () => {
  const extra = { _reason: "a flank", _prediction: { flux: [1.23456, 0.1], loss: 3 } };
  const [one] = folded(fate(1, "proposed", "s1", { point: { x: 1 }, by: "bob", by_hand: true, extra })).openIn("proposed");
  assert.equal(entry(one, of({})).note, "proposed by bob: a flank; expects flux 1.235 ± 0.1, loss 3");
});

test("the history is what was measured, what came to nothing and why, what was done, and by whom", () => {
  const failed = [birth(21, "s2", 4), fate(22, "approved", "s2", { word: true, by: "bob" }), fate(23, "failed", "s2", { reason: "the shutter is closed", run_uid: "u7", traceback: "at the shutter" })];
  const done = [event(30, "agent.state", { state: "failed", reason: "it broke", error: { traceback: "Traceback" } }), event(31, "config", { variable: "xi", value: 0.12345678, by: "amy" }), event(32, "ingest", { points: [{ x: 7, y: 8, flux: 9 }], by: "eve" })];
  const rows = records(folded(oneRun(1, "s1", 1, 0.5), failed, done));
  assert.deepEqual(rows.map(({ run, what, why, who, bad }) => [run, what, why, who, bad]), [
    [2, "measured", "", "eve", false],
    [null, "xi set to 0.1235", "", "amy", false],
    [null, "failed", "it broke", "", true],
    [null, "failed", "the shutter is closed", "the agent, approved by bob", true],
    [1, "measured", "", "the agent", false],
  ]);
  assert.deepEqual([rows[2].traceback, rows[3].traceback, rows[3].run_uid, rows[3].point.x, rows[4].outcome.flux], ["Traceback", "at the shutter", "u7", 4, 0.5]);
  const x = { name: "x", of: "actuator", unit: "mm" };
  assert.deepEqual(sorted(rows, x, false).map((row) => row.point.x), [1, 4, 7, undefined, undefined], "what has no value there comes last");
  assert.equal(sorted(rows, x, true)[0].point.x, 7);
  assert.equal(asText(rows.slice(0, 1), [{ name: "run", title: "run" }, { name: "at" }, x]), "run\tat\tx (mm)\n2\t2026-01-01T00:00:32.000Z\t7");
});

test("what became of the point under way is told while all is held", () => {
  const cut = (...facts) => progress(status({ state: "paused", held: true }), folded(oneRun(1, "s1", 1, 0.5), facts)).cut;
  const point = { x: 2, y: 0 };
  assert.equal(cut(), null);
  assert.deepEqual(cut(birth(20, "s2", 2), fate(21, "abandoned", "s2", { reason: "aborted" })), { point, state: "abandoned" });
  assert.deepEqual(cut(birth(20, "s2", 2), fate(21, "approved", "s2")), { point, state: "approved" });
  assert.equal(progress(status(), folded(birth(20, "s2", 2), fate(21, "failed", "s2"))).cut, null);
});

test("the best by the model says whether its outcome was measured", () => {
  const fold = folded(oneRun(1, "s1", 1, 0.5), oneRun(11, "s2", 2, 0.7));
  const of = (flux) => byModel({ best: { point: { x: 2, y: 0 }, outcome: { flux: 0.7 } }, best_by_model: { point: { x: 1, y: 0 }, outcome: { flux } } }, fold).measured;
  assert.deepEqual([of(0.5), of(0.52)], [true, false]);
});

test("the history says what was suggested where somebody edited it, who rejected, and who started", () => {
  const edited = oneRun(1, "s1", 1, 0.5);
  Object.assign(edited[1].data, { word: true, by: "amy", point: { y: 0, x: 3 }, reason: "edited by amy" });
  const rejected = [birth(11, "s2", 4), fate(12, "rejected", "s2", { by: "owner", reason: "rejected by a person: too far" })];
  const same = [birth(21, "s3", 5), fate(22, "approved", "s3", { word: true, by: "bob", point: { y: 0, x: 5 } }), fate(23, "failed", "s3")];
  const starts = [event(31, "agent.state", { state: "starting", by: "eve" }), event(32, "agent.state", { state: "running" }), event(33, "agent.state", { state: "stopped" })];
  const fold = folded(edited, rejected, same, starts);
  const told = (rows) => rows.map(({ what, why, who, point }) => [what, why, who, point.x]);
  assert.deepEqual(told(records(fold, { x: "mm" })), [
    ["stopped", "", "", undefined],
    ["running", "", "eve", undefined],
    ["failed", "", "the agent, approved by bob", 5],
    ["rejected", "too far", "the agent, rejected by owner", 4],
    ["measured", "was x 1 mm, y 0", "the agent, edited by amy", 3],
  ]);
  const again = new AgentFold();
  again.look(asSuggestions(fold), starts);
  assert.deepEqual(told(records(again, { x: "mm" })), told(records(fold, { x: "mm" })), "so it is for who comes later");
});

test("a change of the configuration says what it changed", () => {
  const spec = { loop: { approval: "required", max_runs: null }, config: { bounds: { my_x: [0, 1] }, xi: 0.01 }, guardrails: {} };
  const born = event(1, "agent.state", { state: "created", spec });
  const loop = event(2, "config", { loop: { approval: "auto", max_runs: null }, by: "bob" });
  const more = event(3, "config", { loop: { max_runs: 9, approval: "auto" }, config: { bounds: { my_x: [0, 2] }, xi: 0.01 } });
  const what = (labels) => records(folded(born, loop, more), {}, labels).map((row) => row.what);
  assert.deepEqual(what({ "loop.max_runs": "runs at most" }).slice(0, 2), ["config and loop changed: bounds my_x [0,1] -> [0,2], runs at most none -> 9", "loop changed: approval required -> auto"]);
});

test("numbers of a column have their points below each other", () => {
  assert.deepEqual([[1.5, 12.25, null], [1, 2, 300], [0.01234, 0.5], [0.8, -0.25], [1e9], []].map(decimals), [2, 0, 4, 2, 0, 0]);
  assert.equal(decimals([1.5e9]), 0);
  assert.equal(decimals([1e-9, 2.5e-8]), null);
});

test("facts in words", () => {
  assert.equal(described(event(1, "config", { loop: {}, config: {}, by: "bob" })), "config and loop changed");
  assert.equal(described(event(1, "queue.state", { command: "claim", suggestion: "s", state: "idle", by: "bob" })), null);
  assert.equal(described(fate(1, "failed")), null);
  assert.equal(described(event(null, "heartbeat")), null);
});

test("the plots' numbers", () => {
  const best = { point: { x: 1, y: 0 }, outcome: { flux: 2 } };
  const model = { point: { x: 0.5, y: 0.5 }, outcome: { flux: 1.9 } };
  const fold = folded(oneRun(1, "s0", 0, 1), oneRun(11, "s1", 1, 2), birth(30, "s9", 0.25));
  const found = plotted(status({ best, best_by_model: model, objective: "flux", limits: { y: [0, 9] }, spec: { ...status().spec, config: { bounds: { x: [-2, 2] } } } }), fold);
  assert.deepEqual(found.rows, [[0, 0, 1], [1, 0, 2]]);
  assert.deepEqual(found.suggested, [{ id: "s9", state: "proposed", values: [0.25, 0] }]);
  assert.deepEqual([found.best, found.model], [[1, 0, 2], [0.5, 0.5, 1.9]]);
  assert.deepEqual(found.allowed, [[-1, 1], null]);
  assert.deepEqual([found.units, found.present], [{}, []]);
  assert.deepEqual(plotted(status(), new AgentFold(), { positions: { x: 0.5 } }).present, [0.5, null]);
  assert.deepEqual([found.search, found.limits], [[[-2, 2], null], [null, [0, 9]]]);
  assert.deepEqual([found.first, found.so_far, found.total, found.objective, found.maximize], [1, [[1], [2]], 10, 0, true]);
  assert.deepEqual(found.ranges, [[1, 2]]);
});

test("points that came to nothing are drawn where they are, with why", () => {
  const refused = [birth(20, "s2", 7), fate(21, "rejected", "s2", { reason: "guardrails.bounds: x = 7 is outside [-1, 1]" })];
  const found = plotted(status(), folded(oneRun(1, "s0", 0, 1), refused));
  assert.deepEqual(found.unhappy, [{ state: "rejected", why: "x = 7 is outside [-1, 1]", values: [7, 0] }]);
});

test("the best begins with the outcome that it is the best of", () => {
  const best = { point: { x: 1, y: 0 }, outcome: { background: 7, flux: 2 } };
  assert.deepEqual(Object.keys(row(status({ best, objective: "flux" })).best), ["flux", "background"]);
  assert.deepEqual(Object.keys(row(status({ best, objective: null })).best), ["background", "flux"]);
});

test("before the first run it is told where it will measure", () => {
  const spec = { ...status().spec, config: { bounds: { x: [-2, 2] } } };
  const told = region(status({ spec, limits: { x: [-1, 1] }, units: { x: "mm" } }), { positions: { x: 0.5 } });
  assert.deepEqual(told, [{ name: "x", unit: "mm", search: [-2, 2], allowed: [-1, 1], at: 0.5 }, { name: "y", unit: "", search: null, allowed: null, at: null }]);
});

test("what is searched is told though the brain has another word for the actuator", () => {
  const spec = { ...status().spec, config: { bounds: { "stage.x": [-2, 2] } }, names: { x: "stage.x" } };
  assert.deepEqual(region(status({ spec, limits: {} }), { positions: {} }).map((one) => one.search), [[-2, 2], null]);
});

test("many outcomes are cut, and the best before them is told", () => {
  const best = { point: { x: 0, y: 0 }, outcome: { flux: 7 } };
  const points = [7, ...Array(MAX_ROWS).fill(1)].map((flux, i) => ({ x: i, y: 0, flux }));
  const found = plotted(status({ best, objective: "flux" }), folded(event(1, "ingest", { points, run_uids: [], best: [] })));
  assert.deepEqual([found.rows.length, found.first, found.so_far[0], found.ranges], [MAX_ROWS, 2, [7], [[1, 7]]]);
  assert.equal(found.so_far.length, MAX_ROWS);
});

test("a best that was not seen begins the line and is in the colours", () => {
  const best = { point: { x: 0, y: 0 }, outcome: { flux: 9 } };
  const found = plotted(status({ best, objective: "flux" }), folded(oneRun(1, "s0", 0, 1), oneRun(11, "s1", 1, 2)));
  assert.deepEqual([found.so_far, found.ranges, found.best], [[[9], [9]], [[1, 9]], [0, 0, 9]]);
});

test("the best so far is that of the service: targets, weights, limits; of several objectives there is none", () => {
  const told = [[1, 5], [9, 2], [4, 3], [3.5, 9]].map(([flux, loss], i) => ({ x: i, y: 0, flux, loss }));
  const line = (more, objective = "flux") => {
    const { so_far, judged } = plotted(status({ objective, direction: "maximize", spec: { ...status().spec, outcome: ["flux", "loss"], ...more } }), folded(event(1, "ingest", { points: told, run_uids: [], best: [] })));
    return [so_far.map((one) => one && one[judged[0]]), judged];
  };
  const [up, down] = [{ direction: "maximize" }, { direction: "minimize" }];
  assert.deepEqual(line({}), [[1, 9, 9, 9], [0]]);
  assert.deepEqual(line({ objectives: { loss: down } }, "loss"), [[5, 2, 2, 2], [1]]);
  assert.deepEqual(line({ objectives: { flux: { target: 3.6 } } }), [[1, 1, 4, 3.5], [0]]);
  assert.deepEqual(line({ objectives: { flux: { ...up, weight: 1 }, loss: { ...up, weight: 2 } } }), [[1, 9, 9, 3.5], [0, 1]]);
  assert.deepEqual(line({ objectives: { flux: up }, outcome_constraints: { loss: { min: 3, max: 4 } } }), [[null, null, 4, 4], [0]]);
  assert.deepEqual(line({ objectives: { flux: up, loss: down } }), [[], []]);
});

test("an agent made anew begins with what it was told of the last one", () => {
  const points = [0, 1, 2].map((x) => ({ x, y: 0, flux: 1 }));
  const born = (seq) => event(seq, "agent.state", { state: "created", spec: {} });
  const earlier = [born(1), ...points.map((one, i) => event(2 + i, "ingest", { points: [{ ...one, _id: `s${i}` }], run_uids: [`r${i}`], best: [] }))];
  const anew = [born(10), event(11, "ingest", { points, run_uids: ["r0", "r1", "r2"], best: [] })];
  const looked = new AgentFold();
  looked.look([], [...earlier, ...anew]);
  assert.deepEqual([folded(earlier, anew).measured.size, looked.measured.size], [3, 3]);
});

test("a head says how far a call is", () => {
  const busy = { call: "suggest", since: at(0), progress: { done: 3, total: 12, message: "fitting" } };
  assert.equal(header(status({ busy }), {}).busy.progress, "3 of 12, fitting");
  assert.equal(header(status(), { guardrails: { approval: "required" } }).approval, "required");
});

test("values that are no numbers in an order stand on an axis of their own", () => {
  const space = { filt: { type: "choice", values: ["Ti", "Al", 5] }, lamp: { type: "bool" }, turns: { type: "int", low: 0, high: 8 } };
  const spec = { ...status().spec, actuators: ["filt", "lamp", "turns", "note"], space, guardrails: { bounds: {} } };
  const point = (filt, lamp, note) => ({ filt, lamp, turns: 3, note });
  const told = event(1, "ingest", { points: [{ ...point("Al", true, "b"), flux: 1 }, { ...point(5, false, "a"), flux: 2 }, { ...point("Fe", true, "b"), flux: 3 }], run_uids: [], best: [] });
  const { categories, rows, search } = plotted(status({ spec }), folded(told));
  assert.deepEqual(categories, [["Ti", "Al", 5], [false, true], null, ["a", "b"]]);
  assert.deepEqual(rows, [[1, 1, 3, 1, 1], [2, 0, 3, 0, 2], [null, 1, 3, 1, 3]], "a value that the space has no more is not drawn");
  assert.deepEqual(search, [null, null, [0, 8], null]);
});
