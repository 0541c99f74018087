// Forms: fields from JSON Schema, what was filled in back into a configuration, messages back to their fields.

import assert from "node:assert/strict";
import { test } from "node:test";

const { WrongFields, agentForm, assemble, changes, fields, messages, removing } = await import(`${process.env.VIEW}/forms.js`);
const { bayes, loop } = JSON.parse(process.env.SCHEMAS);

const BOUNDS = { bounds: { x: [-1, 2] } };
const LOOP = { n_points: 1, max_runs: null, approval: "auto" };

function form(config, schema = bayes, bounds = {}) {
  const spec = { actuators: ["x", "motor.y"], config, loop: LOOP, guardrails: { bounds } };
  return agentForm({ type: "bayes", spec, limits: {}, no_limits: [] }, schema, loop);
}

const byPath = (groups) => Object.fromEntries(groups.flatMap((group) => group.fields).map((field) => [field.path, field]));

test("the fields of a real brain", () => {
  const found = byPath(form(BOUNDS));
  assert.deepEqual([found["config.bounds.x"].kind, found["config.bounds.x"].value], ["range", [-1, 2]]);
  assert.equal(found["config.bounds.motor.y"].value, null, "an actuator that has no bounds yet");
  assert.deepEqual(found["config.bounds.motor.y"].keys, ["bounds", "motor.y"]);
  assert.deepEqual([found["config.maximize"].kind, found["config.maximize"].value], ["boolean", true]);
  assert.deepEqual([found["config.objective"].kind, found["config.objective"].nullable], ["text", true]);
  assert.deepEqual([found["config.xi"].minimum, found["config.xi"].maximum], [0, 10]);
  assert.deepEqual([found["loop.approval"].kind, found["loop.approval"].value], ["approval", "auto"]);
  assert.equal(found["guardrails.bounds.x"].kind, "range");
});

test("an actuator has one field, by the brain's word for it", () => {
  const spec = { actuators: ["stage_x"], names: { stage_x: "stage.x" }, config: { bounds: { "stage.x": [0, 5] } }, loop: LOOP, guardrails: { bounds: {} } };
  const found = byPath(agentForm({ type: "bayes", spec, limits: {}, no_limits: [] }, bayes, loop));
  assert.deepEqual(Object.keys(found).filter((path) => path.startsWith("config.bounds")), ["config.bounds.stage.x"]);
  assert.ok(found["guardrails.bounds.stage_x"]);
});

test("a type that the service does not list shows what it is configured with", () => {
  const found = byPath(form({ step: 1.5, on: false, label: "a", table: [1, 2] }, {}));
  assert.deepEqual(["step", "on", "label", "table"].map((name) => found[`config.${name}`].kind), ["number", "boolean", "text", "json"]);
  assert.equal(found["config.table"].value, "[1,2]");
});

test("references, nested models and choices", () => {
  const schema = {
    $defs: { Inner: { type: "object", properties: { depth: { type: "integer", default: 3 } } } },
    properties: { inner: { $ref: "#/$defs/Inner" }, mode: { anyOf: [{ type: "string" }, { type: "null" }], enum: ["slow", "fast"], default: "slow" } },
  };
  const found = Object.fromEntries(fields(schema, { inner: { depth: 5 } }, "config").map((field) => [field.path, field]));
  assert.equal(found["config.inner.depth"].value, 5);
  assert.equal(found["config.mode"].kind, "choice");
});

test("what is filled in becomes a configuration", () => {
  const [config, loopGroup, guardrails] = form(BOUNDS);
  const filled = {
    "config.bounds.x": ["-3", "4.5"], "config.bounds.motor.y": [0, 1], "config.n_initial": "12", "config.objective": null, "config.xi": null,
    "guardrails.bounds.x": ["0", "1"], "loop.max_runs": null,
  };
  assert.deepEqual(assemble(config, filled, BOUNDS), { bounds: { x: [-3, 4.5], "motor.y": [0, 1] }, n_initial: 12, objective: null });
  assert.deepEqual(assemble(guardrails, filled, { bounds: {} }), { bounds: { x: [0, 1] } });
  assert.deepEqual(assemble(loopGroup, filled, { max_runs: 3, n_points: 2 }), { max_runs: null, n_points: 2 });
});

test("only what changed is sent, and a limit that is gone is null", () => {
  const groups = form(BOUNDS, bayes, { x: [0, 1] });
  const spec = { config: BOUNDS, loop: LOOP, guardrails: { bounds: { x: [0, 1] } } };
  assert.deepEqual(changes(groups, { "config.bounds.x": ["-1", "2"] }, spec), {});
  assert.deepEqual(changes(groups, { "guardrails.bounds.x": ["", ""], "loop.n_points": "2" }, spec), {
    loop: { ...LOOP, n_points: 2 }, guardrails: { bounds: { x: null } },
  });
  assert.deepEqual(spec.guardrails, { bounds: { x: [0, 1] } });
  assert.deepEqual(removing({ bounds: {}, plans: null }, { bounds: { x: [0, 1] }, plans: null }), { bounds: { x: null }, plans: null });
  assert.deepEqual(removing({ bounds: { y: [0, 1] } }, { bounds: { x: [0, 1] } }), { bounds: { y: [0, 1], x: null } });
});

for (const [filled, bounds] of [[["", "5"], [null, 5]], [["-1", ""], [-1, null]], [["-1", "5"], [-1, 5]]]) {
  test(`the allowed region may be open at one end: ${filled}`, () => {
    const [, , guardrails] = form(BOUNDS, bayes, { x: [null, 5] });
    assert.deepEqual(guardrails.fields[0].value, [null, 5]);
    assert.deepEqual(assemble(guardrails, { "guardrails.bounds.x": filled }, { bounds: {} }), { bounds: { x: bounds } });
  });
}

for (const [value, said] of [[["1", ""], "needs both ends"], [["1", "two"], "is no number"]]) {
  test(`a range that cannot be read: ${value}`, () => {
    const [config] = form(BOUNDS);
    assert.throws(() => assemble(config, { "config.bounds.x": value }, BOUNDS), (error) => {
      assert.ok(error instanceof WrongFields);
      assert.deepEqual(error.errors, [{ field: "config.bounds.x", message: said }]);
      return true;
    });
  });
}

test("JSON that cannot be read", () => {
  const [config] = form({ table: [1] }, {});
  assert.throws(() => assemble(config, { "config.table": "[1," }, { table: [1] }), /no JSON/);
});

test("messages find their field", () => {
  const errors = [["config.bounds.x.1", "too high"], ["config.bounds.x.0", "too low"], ["config.bounds", "names nothing"], ["loop.max_runs", "too few"], ["elsewhere", "odd"], ["", "of no field"]];
  const found = messages(errors.map(([field, message]) => ({ field, message })), form(BOUNDS));
  assert.equal(found["config.bounds.x"], "too high; too low; names nothing");
  assert.equal(found["loop.max_runs"], "too few");
  assert.equal(found[""], "elsewhere: odd; of no field");
});

test("fields are called in words, with their units; names of actuators keep their spelling", () => {
  const status = { type: "bayes", spec: { actuators: ["mirror_x"], config: {}, loop: {}, guardrails: { bounds: {} } }, limits: {}, no_limits: [], units: { mirror_x: "mm" } };
  const schema = { properties: { n_initial: { type: "integer", title: "N Initial" }, bounds: { additionalProperties: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 2 } } } };
  const labels = agentForm(status, schema, loop).flatMap((group) => group.fields.map((one) => one.label));
  for (const said of ["n initial", "bounds mirror_x (mm)", "runs at most", "mirror_x (mm)"]) assert.ok(labels.includes(said), `${said} of ${labels}`);
});
