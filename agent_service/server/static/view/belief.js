// What an agent believes of points that nobody measured: which are asked for, when, and what is read from the answer. Pure.

const ACROSS = 30; // points along each side of a map: 900 are asked for in one request
const ALONG = 120; // points of a curve
const AT_ONCE = 900;

/** What may lie behind the measured points, by the name that a person chooses; `""` is nothing. */
export const LAYERS = { "": "nothing", mean: "mean", std: "uncertainty", acquisition: "worth of measuring" };

/** At most `most` places in equal steps from one end of an actuator to the other; whole ones where it is `whole`. */
export function places({ low, high, whole }, most) {
  if (!whole) return Array.from({ length: most }, (_, i) => low + ((high - low) * i) / (most - 1));
  const [first, last] = [Math.ceil(low), Math.floor(high)];
  const step = Math.max(1, Math.ceil((last - first) / (most - 1)));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
}

/** The points of a map over the actuators `across` and `up`, row by row upwards, with the others where they are. */
export function grid(across, up, others) {
  const [xs, ys] = [places(across, ACROSS), places(up, ACROSS)];
  return { xs, ys, points: ys.flatMap((y) => xs.map((x) => ({ ...others, [across.name]: x, [up.name]: y }))) };
}

/** The values of a layer in an answer, one for each point; null where the brain says none. */
export function layerOf(answer, layer, outcome) {
  if (layer === "acquisition") return answer.acquisition;
  return answer[layer][outcome] ?? Object.values(answer[layer])[0] ?? null;
}

/** A map over two actuators: `values` of a layer at `xs` and `ys`. */
export function mapOf({ layer, outcome, across, up, others }) {
  const { xs, ys, points } = grid(across, up, others);
  return { about: { layer, outcome, across: across.name, up: up.name, xs, ys }, points, read: (answer) => layerOf(answer, layer, outcome) };
}

/** A curve along one actuator: `values` are the mean and its standard deviation at `xs`. */
export function curveOf({ outcome, across, others }) {
  const xs = places(across, ALONG);
  const read = (answer) => ({ mean: layerOf(answer, "mean", outcome), std: layerOf(answer, "std", outcome) });
  return { about: { outcome, across: across.name, xs }, points: xs.map((x) => ({ ...others, [across.name]: x })), read };
}

/**
 * How much each actuator matters: `values` are, in the order of `actuators`, the shares of the mean's variance within their
 * ends that each takes part in, alone or with others; together they may be more than 1. Each actuator has `low` and `high`, or
 * `names`; one that is `whole` has whole numbers alone.
 *
 * The total-effect index of Jansen (Computer Physics Communications 117, 35, 1999).
 */
export function effectsOf({ outcome, actuators }) {
  const many = Math.floor(AT_ONCE / (actuators.length + 1));
  const place = (actuator, at) => {
    if (actuator.names) return actuator.names[Math.floor(at * actuator.names.length)];
    return actuator.whole ? Math.min(actuator.high, Math.floor(actuator.low + at * (actuator.high - actuator.low + 1))) : actuator.low + at * (actuator.high - actuator.low);
  };
  const next = randomNumbers();
  const [samples, otherSamples] = [0, 1].map(() => Array.from({ length: many }, () => actuators.map((actuator) => place(actuator, next()))));
  const sets = [-1, ...actuators.keys()]; // all as they are; then each one at another place
  const points = sets.flatMap((k) => samples.map((row, i) => Object.fromEntries(actuators.map((actuator, j) => [actuator.name, (j === k ? otherSamples : samples)[i][j]]))));
  const read = (answer) => {
    const mean = layerOf(answer, "mean", outcome);
    const first = mean.slice(0, many);
    const middle = first.reduce((sum, value) => sum + value, 0) / many;
    const variance = first.reduce((sum, value) => sum + (value - middle) ** 2, 0) / many;
    return actuators.map((_, j) => (variance ? first.reduce((sum, value, i) => sum + (value - mean[(j + 1) * many + i]) ** 2, 0) / (2 * many * variance) : 0));
  };
  return { about: { outcome, names: actuators.map((actuator) => actuator.name) }, points, read };
}

/** Numbers from 0 to 1 as if by chance, the same each time (mulberry32): what did not change is not drawn anew. */
function randomNumbers() {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What changes when the agent may believe something else: more was measured, or its brain is there, or no more. */
export function versionOf(data) {
  return `${data.first}/${data.rows.length}/${data.predicts}`;
}

/**
 * Asks for what is believed while somebody looks, one request at a time, and anew once more was measured. `ask` takes points;
 * `of` says what to ask for what is wanted; `show` gets what it knows, with `values` and `why`: values are null, and `why` says
 * it, while there are none.
 */
export class Belief {
  constructor(ask, show, of = mapOf) {
    Object.assign(this, { ask, show, of, wanted: null, key: null, asking: false });
  }

  /** Look at what is wanted; null: at nothing. `version` changes when more was measured. */
  look(wanted, version) {
    const key = wanted && JSON.stringify([wanted, version]);
    if (key === this.key) return;
    [this.wanted, this.key] = [wanted, key];
    if (!wanted) this.show(null);
    else if (!this.asking) this.next();
  }

  async next() {
    this.asking = true;
    for (let key = null; this.wanted && key !== this.key;) {
      key = this.key;
      const { about, points, read } = this.of(this.wanted);
      let [values, why] = [null, ""];
      try {
        const answer = await this.ask(points);
        values = Object.keys(answer.mean).length ? read(answer) : null;
        if (!values) why = Object.keys(answer.mean).length ? "it says no worth of measuring" : "it knows too little yet";
      } catch (error) {
        why = error.message;
      }
      if (key === this.key) this.show({ ...about, values, why });
    }
    this.asking = false;
  }
}
