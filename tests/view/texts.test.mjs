// What the lines of a view say.

import assert from "node:assert/strict";
import { test } from "node:test";

const { conditionText, isUnmet, lagText, stillText } = await import(`${process.env.VIEW}/frame.js`);
const { sourceText } = await import(`${process.env.VIEW}/service_panel.js`);
const { may } = await import(`${process.env.VIEW}/actions.js`);
const { doneText, endedBadly, nextCommand, rangeText, reasonText, runsMore, shownState, stateText, typeText, waitText, whyNot } = await import(`${process.env.VIEW}/words.js`);
const { pieces } = await import(`${process.env.VIEW}/web.js`);

const LAGS = [
  [{ state: "none" }, "no archive"],
  [{ state: "ready" }, "archive up to date"],
  [{ state: "ready", runs_behind: 1 }, "archive 1 run behind"],
  [{ state: "ready", runs_behind: 2, runs_refused: 1 }, "archive refused 1 run, kept in the spool; archive 2 runs behind"],
  [{ state: "ready", runs_refused: 3 }, "archive refused 3 runs, kept in the spool"],
  [{ state: "ready", reason: "the agents' decisions cannot be written: no" }, "archive: the agents' decisions cannot be written: no"],
  [{ state: "starting", runs_behind: 4 }, "archive starting, 4 to write"],
  [{ state: "unavailable", reason: "it does not answer" }, "archive unavailable: it does not answer"],
];
for (const [archive, said] of LAGS) test(`the foot tells: ${said}`, () => assert.equal(lagText({ runs_behind: 0, runs_refused: 0, reason: null, ...archive }), said));

const STILL = [
  [{ state: "idle" }, ""],
  [{ state: "running", reason: null }, ""],
  [{ state: "suspended", reason: "no beam" }, "It goes on by itself when this is over: no beam"],
  [{ state: "paused", reason: "paused by request" }, "The plan queue is paused: the plans of all agents wait."],
  [{ state: "paused", reason: "paused by amy" }, "The plan queue is paused by amy: the plans of all agents wait."],
  [{ state: "paused", reason: "paused by request; besides, it is suspended: no beam" }, "The plan queue is paused by request; besides, it is suspended: no beam"],
  [{ state: "paused", reason: "paused by request; nothing further begins" }, "The plan queue is paused by request; nothing further begins"],
  [{ state: "paused", reason: "somebody paused our plan" }, "The plan queue is paused: somebody paused our plan"],
  [{ state: "held", reason: "smoke" }, "Nothing moves: smoke."],
];
for (const [queue, said] of STILL) test(`the strip tells why nothing moves: ${said}`, () => assert.equal(stillText(queue), said));

test("beside a queue that is held it stands who goes on when it is resumed", () => {
  const agent = (name, held, state = "paused") => ({ name, held, state });
  const after = (...agents) => stillText({ state: "held", reason: "smoke" }, agents).replace("Nothing moves: smoke. Resume queue: ", "");
  assert.equal(after(agent("a", false), agent("b", true, "stopped")), "no agent goes on by it.");
  assert.equal(after(agent("align_flux", true), agent("b", false)), "align_flux goes on.");
  assert.equal(after(...["a", "b", "c"].map((name) => agent(name, true))), "a, b and c go on.");
  assert.equal(after(...["a", "b", "c", "d", "e"].map((name) => agent(name, true))), "a, b, c and 2 others go on.");
  assert.equal(whyNot("resume", { state: "paused", held: true, legal: ["resume"] }, "held"), "it goes on when the queue is resumed");
});

test("an agent that ended by failures is told from one that is done", () => {
  const ended = [["stopped", "3 failures in a row (max_failures); the last: no"], ["stopped", "100 suggestions in a row were rejected; the last: no"], ["stopped", "stopped by a person"], ["failed", "it broke"]];
  assert.deepEqual(ended.map(([state, reason]) => [endedBadly({ state, reason }), ...shownState({ state, reason })]), [
    [true, "failed", "stopped: failures"], [true, "failed", "stopped: rejections"], [false, "stopped", "stopped"], [true, "failed", "failed"]]);
  assert.deepEqual([{ failed: 3 }, { done: 5, failed: 3 }, { done: 0, total: 9, failed: 1 }, { done: 1 }].map(doneText), ["3 failed", "5 runs, 3 failed", "0 of 9, 1 failed", "1 run"]);
});

test("a condition that is not met is a line", () => {
  const found = [{ state: "lost", text: "ring 0.3 mA" }, { state: "settling", text: "ring 300 mA" }, { state: "off", text: "switched off by amy" }];
  assert.deepEqual(found.map((one) => [isUnmet(one), conditionText(one)]), [[true, "held: ring 0.3 mA"], [true, "held: ring 300 mA"], [false, "switched off by amy"]]);
});

test("a source says why it is away, and how far it is behind", () => {
  assert.equal(sourceText({ where: "tcp://p:5568", reason: null }), "tcp://p:5568");
  assert.equal(sourceText({ where: "tcp://p:5568", reason: "no broker answers" }), "tcp://p:5568: no broker answers");
  assert.equal(sourceText({ where: "k:9092", reason: null, lag: 7 }), "k:9092, 7 behind");
});

test("what a scope may not do is told by the action", () => {
  assert.deepEqual(["start", "approve", "go-to-best", "open"].map((action) => may(["read", "control"], action)), [true, false, false, true]);
  assert.ok(may(undefined, "approve"), "who it is may not be known yet");
});

test("one action comes next, and what is not possible says why", () => {
  const at = (state, ...legal) => ({ state, legal });
  assert.deepEqual(["created", "running", "paused", "stopped", "failed"].map((state) => nextCommand({ state }, 0)), ["start", "pause", "resume", "start", "start"]);
  assert.equal(nextCommand({ state: "stopped" }, 12), "continue");
  assert.equal(whyNot("start", at("created", "start")), "");
  assert.equal(whyNot("start", at("created", "start"), "held"), "the queue is held: resume it first");
  assert.equal(whyNot("continue", at("stopped", "start")), "");
  assert.equal(whyNot("continue", at("paused", "stop")), "it is paused");
  assert.equal(whyNot("stop", at("stopped", "start")), "it has stopped");
  assert.equal(whyNot("go-to-best", at("running", "stop")), "pause it first: it moves the motors itself");
  assert.equal(whyNot("report", at("stopped", "start")), "start it, or start it paused");
  assert.equal(whyNot("predict", at("stopped", "start")), "start it, or start it paused");
  assert.equal(whyNot("start-paused", at("stopped", "start")), "");
});

test("more runs are offered where all are made", () => {
  assert.deepEqual([[12, 12], [11, 12], [300, 300], [5, null]].map(([done, total]) => runsMore({ state: "stopped" }, { done, total })), [12, 0, 10, 0]);
  assert.equal(runsMore({ state: "running" }, { done: 12, total: 12 }), 0);
});

const RANGES = [[[20, 40], "20 to 40 s"], [[80, 80], "about 80 s"], [[100, 200], "1.5 to 3.5 min"], [[600, 1500], "10 to 25 min"], [[4000, 9000], "1 to 2.5 h"]];
for (const [range, said] of RANGES) test(`a range of time: ${said}`, () => assert.equal(rangeText(range), said));

test("words instead of code", () => {
  assert.equal(reasonText("guardrails.bounds.x: x = -4.1071910969913 is outside [-4, 4]; device.y: no"), "x = -4.107 is outside [-4, 4]; no");
  assert.deepEqual(["max_runs reached (12 of 12)", null, "it broke: 1.5"].map(reasonText), ["all 12 runs are made", "", "it broke: 1.5"]);
  assert.deepEqual([stateText("created"), stateText("running")], ["not started", "running"]);
  assert.deepEqual(["bayes", "brainbox:Walker", "live:Walker-0badcafe", "live:mine"].map(typeText), ["bayes", "Walker", "Walker", "mine"]);
});

test("a stream is cut where its events end, wherever its parts do", async () => {
  const text = "event: log\ndata: {\"a\": \"ü\"}\n\nevent: x\ndata: {}\nid: 7\n\ndata: half";
  const bytes = new TextEncoder().encode(text);
  const parts = Array.from(bytes, (_, i) => bytes.slice(i, i + 1));
  const body = new ReadableStream({ pull: (to) => (parts.length ? to.enqueue(parts.shift()) : to.close()) });
  const found = [];
  for await (const one of pieces(body)) found.push(one);
  assert.deepEqual(found, [{ id: null, data: "{\"a\": \"ü\"}" }, { id: 7, data: "{}" }]);
});

test("why an agent waits is said once", () => {
  const waits = "the agent waits: the Dask cluster cannot be reached";
  assert.equal(waitText({ state: "starting", waits }, {}), "it waits: the Dask cluster cannot be reached");
  assert.equal(waitText({ state: "stopped", waits }), "");
  assert.equal(waitText({ state: "running" }, {}), "");
  assert.equal(waitText({ state: "running", waits: "no beam" }, { queue: { state: "suspended" } }), "");
  assert.equal(waitText({ state: "running", waits: "no beam" }, { conditions: [{ state: "lost" }] }), "");
});
