// The models of the views over a real service: what they show, and what a press does to the service.

import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";

const { agentModel, inboxModel, serviceModel } = await import(`${process.env.VIEW}/model.js`);
const { records } = await import(`${process.env.VIEW}/records.js`);
const { webSource } = await import(`${process.env.VIEW}/web.js`);
const { URL: base, KEY: key } = process.env;
const WITHIN_MS = Number(process.env.WITHIN_MS ?? 60_000);

const source = webSource({ base, key });
const ends = [];
after(() => ends.forEach((end) => end()));

const agentOf = (name) => keep(agentModel(source, name));

function keep(model) {
  ends.push(model.end);
  return model;
}

async function until(condition, what) {
  const deadline = Date.now() + WITHIN_MS;
  while (Date.now() < deadline) {
    const found = condition();
    if (found) return found;
    await new Promise((go) => { setTimeout(go, 20); });
  }
  assert.fail(`waited in vain for ${what}`);
}

const shows = (model, state) => until(() => model.get("agent").state === state, `the view ${state}, not ${model.get("agent").state}`);

async function press(model, action, more = {}) {
  await model.send({ action, ...more });
  assert.notEqual(model.get("notice").kind, "error", model.get("notice").text);
}

async function refused(model, action, more = {}) {
  await model.send({ action, ...more });
  assert.equal(model.get("notice").kind, "error");
  assert.ok(!model.get("notice").text.includes("\n"));
  return model.get("notice").text;
}

async function create(name, more = {}) {
  const told = { name, type: "brainbox:Walker", actuators: ["x", "y"], sensors: ["signal"], outcome: "signal" };
  return source.ask({ method: "POST", path: "agents", body: { ...told, ...more } });
}

const history = (model) => records(model.get("lines").fold).map((row) => row.what);

const status = (name) => source.ask({ path: `agents/${name}` });

beforeEach(async () => { // let no agent of an earlier test move what a later one looks at
  for (const one of (await source.ask({ path: "agents?limit=1000" })).items) {
    if (one.legal.includes("stop")) await source.ask({ method: "POST", path: `agents/${one.name}/stop` });
  }
});

test("the buttons are the service's commands", async () => {
  await create("life", { loop: { approval: "required" } });
  const model = agentOf("life");
  await shows(model, "created");
  assert.ok(model.get("agent").legal.includes("start"));
  assert.deepEqual([model.get("agent").type, model.get("agent").executor], ["brainbox:Walker", "thread"]);
  for (const [command, state] of [["start", "running"], ["pause", "paused"], ["resume", "running"], ["restart", "running"], ["stop", "stopped"], ["start-paused", "paused"], ["stop", "stopped"]]) {
    await press(model, command);
    assert.equal((await status("life")).state, state);
    await shows(model, state);
  }
  assert.equal(model.get("agent").reason, "stopped by a person");
  assert.match(await refused(model, "stop"), /cannot stop; it can start/);
  await press(model, "start");
  assert.deepEqual(model.get("notice"), {});
  assert.match(await refused(model, "fly"), /no action fly/);
});

test("stop everything latches", async () => {
  await create("hold", { plan: "gated" });
  const model = agentOf("hold");
  await shows(model, "created");
  await press(model, "start");
  await until(() => model.get("progress").measuring, "what is measured");
  await press(model, "stop-everything");
  await until(() => model.get("service").queue.state === "held", "a held queue");
  await shows(model, "paused");
  assert.match(model.get("agent").reason, /held/);
  await press(model, "stop-everything"); // twice is once
  assert.match(await refused(model, "resume"), /queue is held/);
  await press(model, "stop"); // its plan would wait for ever
  await press(model, "resume-queue");
  await until(() => model.get("service").queue.state !== "held", "a queue that goes on");
});

test("what was measured is plotted", async () => {
  await create("plot", { loop: { max_runs: 3 }, guardrails: { bounds: { x: [-5, 5] } } });
  const model = agentOf("plot");
  await shows(model, "created");
  await press(model, "start");
  await shows(model, "stopped");
  await until(() => model.get("plot").rows?.length === 3, "three outcomes");
  assert.deepEqual(model.get("plot").rows, [[0, 0, -0.25], [1, 0, 0.75], [2, 0, -0.25]]);
  assert.deepEqual(model.get("plot").allowed, [[-5, 5], null]);
  await until(() => model.get("best")?.outcome.signal === 0.75, "the best");
  assert.equal(model.get("agent").reason, "max_runs reached (3 of 3)");
  const again = agentOf("plot"); // from the service's answers alone
  await until(() => JSON.stringify(again.get("plot").rows) === JSON.stringify(model.get("plot").rows), "the same plot");
  await until(() => JSON.stringify(records(again.get("lines").fold)) === JSON.stringify(records(model.get("lines").fold)), "the same history");
  await press(model, "go-to-best");
  assert.equal(model.get("notice").text, "moved to x 1, y 0");
  await until(() => history(model).includes("moved to x 1, y 0"), "the move in the history");
  await press(model, "continue", { runs: 2 });
  await until(() => model.get("progress").done === 5 && model.get("agent").state === "stopped", "two more runs");
});

test("the inbox", async () => {
  await create("inbox", { loop: { approval: "required", n_points: 3 }, guardrails: { bounds: { x: [-1, 5] } } });
  const [model, everyone] = [agentOf("inbox"), keep(inboxModel(source))];
  await shows(model, "created");
  await press(model, "start");
  await until(() => model.get("inbox").length === 3, "three suggestions");
  const [first, second, third] = model.get("inbox").map((one) => one.id);
  const ids = (of) => of.get("inbox").map((one) => one.id);
  await until(() => [first, second, third].every((id) => ids(everyone).includes(id)), "them in the other inbox");
  await press(model, "approve", { id: first });
  await press(everyone, "reject", { id: second });
  assert.match(await refused(model, "approve", { id: third, point: { x: "", y: "0" } }), /must be a number/);
  assert.match(await refused(model, "approve", { id: third, point: { x: "9", y: "0" } }), /outside \[-1, 5\]/);
  await until(() => model.get("inbox").find((one) => one.id === third)?.note.includes("outside [-1, 5]"), "the reason, in place");
  await press(model, "approve", { id: third, point: { x: "1.0", y: "-0.5" } });
  assert.equal((await source.ask({ path: `suggestions/${second}` })).state, "rejected");
  await until(() => model.get("plot").rows?.some((row) => `${row}` === "1,-0.5,1"), "the edited point measured");
  await until(() => ![first, second, third].some((id) => ids(everyone).includes(id)), "an inbox without them");
  assert.match(await refused(everyone, "reject", { id: "nobody" }), /no suggestion/);
});

test("the form changes the agent, and messages stand beside their fields", async () => {
  await create("form", { type: "sobol", config: { bounds: { x: [0, 1], y: [0, 1] } } });
  const model = agentOf("form");
  const field = (path) => model.get("form").flatMap((group) => group.fields).find((one) => one.path === path);
  await until(() => field("loop.max_runs") && field("config.seed"), "the form");
  await press(model, "configure", { values: { "loop.max_runs": "7", "config.seed": "4", "guardrails.bounds.x": ["-3", "3"] } });
  const { spec } = await status("form");
  assert.deepEqual([spec.loop.max_runs, spec.config.seed, spec.guardrails.bounds], [7, 4, { x: [-3, 3] }]);
  await until(() => field("loop.max_runs").value === 7 && `${field("guardrails.bounds.x").value}` === "-3,3", "the new form");
  await press(model, "configure", { values: { "loop.max_runs": "7" } });
  assert.equal(model.get("notice").text, "nothing to change");
  assert.match(await refused(model, "configure", { values: { "loop.max_runs": "0" } }), /fields marked/);
  assert.deepEqual(Object.keys(model.get("form_errors")), ["loop.max_runs"]);
  await refused(model, "configure", { values: { "config.bounds.x": ["3", "1"], "config.seed": "-1" } });
  assert.deepEqual(Object.keys(model.get("form_errors")).sort(), ["config.bounds.x", "config.seed"]);
  await refused(model, "configure", { values: { "config.bounds.x": ["3", ""] } });
  assert.deepEqual(model.get("form_errors"), { "config.bounds.x": "needs both ends" });
  await press(model, "configure", { values: { "config.seed": "5" } });
  assert.equal(model.get("notice").text, "config changed: seed 4 -> 5");
  assert.deepEqual(model.get("form_errors"), {});
});

test("who lets an agent do without approval is told what follows", async () => {
  await create("freed", { loop: { approval: "required" } });
  const model = agentOf("freed");
  await shows(model, "created");
  await press(model, "start");
  await until(() => model.get("inbox").length === 1 && model.get("form").length, "a point that waits");
  await press(model, "configure", { values: { "loop.approval": "auto" } });
  assert.equal(model.get("notice").text, "loop changed: approval required -> auto; 1 point that waited needs no approval now and is measured");
  await until(() => model.get("progress").done > 0, "its run");
  await press(model, "stop");
  assert.ok(history(model).includes("loop changed: approval required -> auto"));
});

test("variables, reports and points by hand", async () => {
  await create("hand", { loop: { approval: "required" } });
  const model = agentOf("hand");
  await shows(model, "created");
  await press(model, "start");
  await until(() => model.get("variables").length === 2, "the variables");
  await press(model, "set-variable", { name: "gain", value: 2.5 });
  assert.equal(model.get("notice").text, "gain is 2.5 now");
  await until(() => model.get("variables").some((one) => one.name === "gain" && one.value === 2.5), "the new value");
  await press(model, "suggest", { n_points: "2" });
  await until(() => model.get("inbox").length === 3, "three that wait, one of them of the loop");
  await press(model, "ingest", { point: { x: "1", y: "2", signal: "0.5" } });
  await until(() => `${model.get("plot").rows?.[0]}` === "1,2,0.5", "the point");
  assert.match(await refused(model, "ingest", { point: { x: "1", y: "", signal: "2" } }), /y must be filled in/);
  await press(model, "report");
  await until(() => model.get("reports")[0]?.report.n === 1, "the report");
  await until(() => ["measured", "gain set to 2.5", "reported"].every((what) => history(model).includes(what)), "the history");
});

test("a failed agent shows its error and traceback", async () => {
  await create("ill", { type: "brainbox:Faulty", config: { where: "suggest" } });
  const model = agentOf("ill");
  await shows(model, "created");
  await model.send({ action: "start" });
  await shows(model, "failed");
  assert.match(model.get("agent").reason, /singular matrix/);
  assert.match(model.get("agent").error.traceback, /Traceback/);
});

test("an unknown agent, a new one and a removed one", async () => {
  const model = agentOf("later");
  await shows(model, "missing");
  assert.match(model.get("agent").reason, /no agent 'later'/);
  assert.match(await refused(model, "start"), /no agent 'later'/);
  await create("later");
  await shows(model, "created");
  await source.ask({ method: "DELETE", path: "agents/later" });
  await shows(model, "missing");
});

test("a service and its agents", async () => {
  await create("first", { loop: { max_runs: 2 } });
  const model = keep(serviceModel(source));
  const row = () => model.get("agents").find((one) => one.name === "first");
  await until(row, "the agent in the table");
  await press(model, "start", { name: "first" });
  await until(() => row().state === "stopped" && row().done === 2, "its end");
  assert.deepEqual(row().best, { signal: 0.75 });
  assert.match(await refused(model, "pause", { name: "first" }), /cannot pause/);
});
