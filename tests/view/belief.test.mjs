// What is asked of an agent's belief while somebody looks, and what is shown of its answer.

import assert from "node:assert/strict";
import { test } from "node:test";

const { Belief, curveOf, effectsOf, grid, places } = await import(`${process.env.VIEW}/belief.js`);

const { scale, strips } = await import(`${process.env.VIEW}/drawing.js`);

const WANTED = { layer: "mean", outcome: "flux", across: { name: "x", low: 0, high: 29 }, up: { name: "y", low: -1, high: 1 }, others: { z: 5 } };
const answer = (points) => ({ mean: { flux: points.map((one) => one.x) }, std: { flux: points.map(() => 1) }, acquisition: null });
const settle = () => new Promise((go) => { setTimeout(go, 0); });

function looking(ask) {
  const [asked, shown] = [[], []];
  const belief = new Belief((points) => { asked.push(points); return ask(points); }, (found) => shown.push(found));
  return { belief, asked, shown };
}

test("a grid goes row by row upwards, with the others where they are", () => {
  const { xs, ys, points } = grid(WANTED.across, WANTED.up, WANTED.others);
  assert.deepEqual([xs.length, ys.length, points.length], [30, 30, 900]);
  assert.deepEqual([points[0], points[1], points[30]], [{ z: 5, x: 0, y: -1 }, { z: 5, x: 1, y: -1 }, { z: 5, x: 0, y: ys[1] }]);
  assert.deepEqual(points[899], { z: 5, x: 29, y: 1 });
});

test("an actuator of whole numbers is asked about at whole numbers alone, in equal steps", () => {
  assert.deepEqual(places({ low: -1.5, high: 3, whole: true }, 30), [-1, 0, 1, 2, 3]);
  assert.deepEqual(places({ low: 0, high: 100, whole: true }, 30), Array.from({ length: 26 }, (_, i) => 4 * i));
  assert.deepEqual(places({ low: 2, high: 2, whole: true }, 30), [2]);
  const { points } = grid({ name: "n", low: 0, high: 4, whole: true }, WANTED.up, {});
  assert.equal(points.length, 5 * 30);
  assert.ok(points.every((one) => Number.isInteger(one.n)));
  assert.deepEqual(curveOf({ outcome: "flux", across: { name: "n", low: 0, high: 2, whole: true }, others: {} }).about.xs, [0, 1, 2]);
});

test("it is asked once for what is shown, and anew once more was measured", async () => {
  const { belief, asked, shown } = looking(async (points) => answer(points));
  belief.look(WANTED, 1);
  belief.look(WANTED, 1);
  await settle();
  assert.equal(asked.length, 1);
  assert.deepEqual([shown.at(-1).values[3], shown.at(-1).why], [3, ""]);
  belief.look(WANTED, 2);
  await settle();
  assert.equal(asked.length, 2);
  belief.look(null);
  assert.equal(shown.at(-1), null);
});

test("of what changes while it is asked, only the last is asked and shown", async () => {
  const answers = [];
  const { belief, asked, shown } = looking((points) => new Promise((done) => { answers.push(() => done(answer(points))); }));
  belief.look(WANTED, 1);
  belief.look({ ...WANTED, layer: "std" }, 1);
  belief.look({ ...WANTED, others: { z: 7 } }, 1);
  answers[0]();
  await settle();
  assert.equal(asked.length, 2);
  assert.deepEqual([shown.length, asked[1][0].z], [0, 7]);
  answers[1]();
  await settle();
  assert.deepEqual([shown.length, shown[0].layer], [1, "mean"]);
});

test("that there is nothing to show is said", async () => {
  for (const [given, layer, said] of [
    [async () => ({ mean: {}, std: {}, acquisition: null }), "mean", "it knows too little yet"],
    [async (points) => answer(points), "acquisition", "it says no worth of measuring"],
    [async () => { throw new Error("agent type 'sobol' has no predict method"); }, "mean", "agent type 'sobol' has no predict method"],
  ]) {
    const { belief, shown } = looking(given);
    belief.look({ ...WANTED, layer }, 1);
    await settle();
    assert.deepEqual([shown.at(-1).values, shown.at(-1).why], [null, said]);
  }
});

test("a curve has the mean and its deviation along one actuator", async () => {
  const shown = [];
  const belief = new Belief(async (points) => answer(points), (found) => shown.push(found), curveOf);
  belief.look({ outcome: "flux", across: { name: "x", low: 0, high: 119 }, others: { z: 5 } }, 1);
  await settle();
  const { xs, values } = shown[0];
  assert.deepEqual([xs.length, values.mean[7], values.std[7]], [120, 7, 1]);
});

test("how much each actuator matters: the share of the variance that each takes part in", async () => {
  const { points, read, about } = effectsOf({ outcome: "flux", actuators: [
    { name: "x", low: -1, high: 1 }, { name: "y", low: -1, high: 1 }, { name: "none", low: 0, high: 9, whole: true }, { name: "kind", names: ["a", "b"] },
  ] });
  assert.ok(points.length <= 900);
  assert.ok(points.every((one) => Number.isInteger(one.none) && one.none >= 0 && one.none <= 9 && ["a", "b"].includes(one.kind)));
  const shares = read({ mean: { flux: points.map((one) => 3 * one.x + one.y + (one.kind === "a" ? 1 : 0)) }, std: {} });
  assert.deepEqual(about.names, ["x", "y", "none", "kind"]);
  const exact = [3, 1 / 3, 0, 1 / 4].map((each) => each / (3 + 1 / 3 + 1 / 4)); // variances of 3x, y, nothing and a coin
  shares.forEach((share, i) => assert.ok(Math.abs(share - exact[i]) < 0.12, `${shares} are not ${exact}`));
  assert.equal(shares[2], 0);
});

test("the cells of a map end where its axes do", () => {
  const [across, up] = [scale([0, 10], [48, 148]), scale([0, 10], [210, 10])];
  assert.deepEqual(strips(across, [0, 5, 10]), [[48, 25.25], [72.75, 50.5], [122.75, 25.25]]);
  assert.deepEqual(strips(up, [0, 10]), [[109.75, 100.25], [10, 100.25]]);
});
