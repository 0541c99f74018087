// Units where the service's status has none yet: asked of the devices, once for each agent; and in words.

import assert from "node:assert/strict";
import { test } from "node:test";

const { request } = await import(`${process.env.VIEW}/actions.js`);
const { described } = await import(`${process.env.VIEW}/fold.js`);
const { inboxModel, serviceModel } = await import(`${process.env.VIEW}/model.js`);

/** A source of two agents without units, whose devices say them. */
function source() {
  const of = (name) => ({ name, state: "stopped", best: { outcome: { flux: 2 } }, progress: {}, limits: {}, spec: { actuators: ["m"], outcome: "flux" } });
  const asked = [];
  return {
    asked,
    ask: async ({ path }) => {
      asked.push(path);
      return { positions: {}, units: { m: "mm", flux: "Hz" } };
    },
    follow: ({ paths, take }) => {
      const proposed = { items: [{ id: "s", agent: "a", point: { m: 1 }, created_at: "2026-01-01T00:00:00Z" }] };
      take({ answers: Object.fromEntries(paths.map((path) => [path, path.startsWith("agents") ? { items: [of("a"), of("b")] } : path.startsWith("suggestions") ? proposed : { problem: {} }])) });
      return () => {};
    },
  };
}

const settled = () => new Promise((go) => { setTimeout(go); });

test("the list and the inbox have the units that devices say, and ask for them once", async () => {
  const from = source();
  const list = serviceModel(from);
  await settled();
  assert.deepEqual(list.get("agents").map((one) => one.units), [{ m: "mm", flux: "Hz" }, { m: "mm", flux: "Hz" }]);
  assert.deepEqual(inboxModel(from).get("inbox")[0].units, { m: "mm", flux: "Hz" });
  assert.deepEqual(from.asked, ["agents/a/devices", "agents/b/devices"]);
});

test("where something was moved to is said with units", () => {
  const data = { command: "moved", begun: true, point: { m: 1.23456 } };
  assert.equal(described({ kind: "queue.state", data }, { m: "mm" }), "moved to m 1.235 mm");
  const { done } = request({ action: "go-to-best" }, { name: "a", status: { units: { m: "mm" } } });
  assert.equal(done({ point: { m: 1.23456 } }), "moved to m 1.235 mm");
});
