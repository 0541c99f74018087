async ([runs, agents, what]) => {
  const [{ agentPanel }, { servicePanel }, { agentModel, serviceModel }] = await Promise.all(["agent_panel", "service_panel", "model"].map((name) => import(`./${name}.js`)));
  document.head.innerHTML = '<link rel="stylesheet" href="panel.css">';
  document.body.innerHTML = "<div></div>";
  const actuators = Array.from({ length: 12 }, (_, i) => `axis_${i + 1}`);
  const outcomes = ["flux", "width", "height", "drift"];
  const bounds = Object.fromEntries(actuators.map((name) => [name, [-1, 1]]));
  const random = (names) => Object.fromEntries(names.map((name) => [name, 2 * Math.random() - 1]));
  const iso = (second) => new Date(1.76e12 + 1000 * second).toISOString();
  const made = [];
  let seq = 0;
  const make = (fails) => {
    const number = made.length + 1;
    const at = iso(number);
    const one = { id: `s${number}`, agent: "many", state: fails ? "failed" : "ingested", point: random(actuators), outcome: fails ? null : { ...random(outcomes), flux: number }, run_uid: `run-${number}`, reason: fails ? "the shutter is closed" : null, extra: {}, created_at: at, updated_at: at };
    made.push(one);
    return one;
  };
  for (let i = 0; i < runs; i += 1) make(i % 10 === 9);
  const status = (name = "many") => {
    const best = made.findLast((one) => one.outcome);
    return { name, state: "running", type: "bayes", executor: "thread", legal: ["pause", "stop", "restart"], spec: { actuators, outcome: outcomes, config: { bounds }, loop: { approval: "auto", max_runs: 10000 }, guardrails: { bounds } }, progress: { done: made.length, total: 10000 }, counts: { failed: 500 }, best: { point: best.point, outcome: best.outcome }, best_by_model: null, objective: "flux", direction: "maximize", busy: null, last_error: null, no_limits: [], limits: bounds, units: { axis_1: "mm" }, to_approve: 0 };
  };
  const schema = { properties: { bounds: { type: "object", additionalProperties: { type: "array", minItems: 2, maxItems: 2, items: { type: "number" } } } } };
  const answers = () => ({ service: { queue: { state: "running" }, version: "1" }, "agents/many": status(), "agents?limit=1000": { items: Array.from({ length: agents }, (_, i) => status(`agent-${i}`)) } });
  const known = [[/suggestions/, () => ({ items: made, next: null })], [/agent-types/, () => ({ items: [{ name: "bayes", config_schema: schema }], loop_schema: {} })], [/devices/, () => ({ positions: {}, units: {} })], [/./, () => ({ items: [], next: null })]];
  let take;
  const source = {
    home: "page", blocked: () => "", apiPage: () => null, press: async () => ({}),
    ask: async ({ path }) => known.find(([asked]) => asked.test(path))[1](),
    follow: (one) => {
      take = one.take;
      setTimeout(() => take({ link: { state: "live", url: "" }, answers: answers(), stale: true }));
      return () => {};
    },
  };
  if (what === "agents") servicePanel(serviceModel(source), document.body.firstChild, () => {});
  else agentPanel(agentModel(source, "many"), document.body.firstChild);
  await new Promise((done) => { setTimeout(done, 1500); });
  if (what && what !== "agents") [...document.querySelectorAll("[role=tab]")].find((one) => one.textContent.startsWith(what)).click();
  window.update = () => {
    const one = make(false);
    const event = (kind, data) => ({ seq: (seq += 1), time: iso(made.length), agent: "many", kind, data });
    const fate = (state, more = {}) => event("suggestion.state", { id: one.id, state, ...more });
    const events = [fate("proposed", { point: one.point }), fate("running", { run_uid: one.run_uid }), fate("measured", { outcome: one.outcome }), event("ingest", { points: [{ ...one.point, ...one.outcome, _id: one.id }] }), fate("ingested")];
    take({ link: { state: "live", url: "" }, answers: answers(), events });
  };
}
