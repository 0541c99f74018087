// What a view is drawn from: values by name, with `get`, `on` and `off`, and `send` for what is pressed.
//
// A source brings a service to it: `follow({agent, paths, take})`, `ask(request)` and `press(request, show)`, whichever home
// it is in. See web.js, and the notebook's line.js.

import { actionTitle, request } from "./actions.js";
import { AgentFold, born } from "./fold.js";
import { agentForm, messages } from "./forms.js";
import { byModel, entry, header, lines, outcomesOf, plotted, progress, region, reported, row } from "./shown.js";
import { reasonText } from "./words.js";

const RETRY_MS = 1000;
const PAGE = 1000; // most items that the service puts on a page
const LOOKS_BACK = 3000; // how many of the last facts are read for points by hand, and of others' runs
const OF_VARIABLES = ["ingest", "config", "agent.state"];

/** Values by name, and who is told when they change. */
class Values {
  constructor(source, values) {
    this.source = source;
    this.home = source.home ?? "notebook";
    this.values = { link: { state: "connecting", message: "" }, service: {}, notice: {}, ...values };
    this.listeners = new Map();
    this.refused = new Map(); // why a suggestion was not approved when somebody pressed last, by its id
  }

  get = (name) => this.values[name];

  on = (event, act) => this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(act));

  off = (event, act) => this.listeners.get(event)?.delete(act);

  blocked = (action) => this.source.blocked(action);

  /** Where the page of the API is, or null. */
  apiPage = () => this.source.apiPage();

  /** Set values; who listens to one that changed is told. */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      if (JSON.stringify(value) !== JSON.stringify(this.values[name])) this.put(name, value);
    }
  }

  put(name, value) {
    this.values[name] = value;
    this.listeners.get(`change:${name}`)?.forEach((act) => act());
  }

  /** Do what a button says; resolves when the service did it, or a notice says why not. */
  send = async (content) => {
    const say = (kind, text, more = {}) => this.put("notice", { kind, text: text.split(/\s+/).join(" ").trim(), at: Date.now() / 1000, ...more });
    const before = this.get("notice");
    if (before.text) this.put("notice", {});
    const quiet = this.get("notice");
    try {
      if ("form_errors" in this.values && content.action === "configure") this.set({ form_errors: {} });
      const toSend = request(content, { home: this.home, ...this.facts() });
      if (!toSend) {
        say("done", "nothing to change");
        return;
      }
      const press = (step) => this.source.press({ title: actionTitle(content.action), action: content.action, ...step }, say);
      const { answer, way } = await press(toSend);
      if (toSend.then) await press(toSend.then);
      this.refused.delete(content.id);
      const text = way ?? toSend.done?.(answer);
      if (text) say("done", text);
      else if (this.get("notice") === quiet || this.get("notice").kind === "wait") this.put("notice", {}); // another one is of another press, and stays
    } catch (error) {
      let message = reasonText(error.message);
      if (content.action === "approve" && error.answered) this.refused.set(content.id, `not approved: ${message}`);
      if (content.action === "configure" && error.errors?.length) {
        const byField = messages(error.errors, this.get("form"));
        this.set({ form_errors: Object.fromEntries(Object.entries(byField).filter(([path]) => path)) });
        if (!("" in byField)) message = "the configuration was not changed: see the fields marked below";
      }
      say("error", message, { traceback: error.traceback ?? null });
    }
    this.redraw();
  };

  facts() {
    return {};
  }

  redraw() {}

  /** Follow the source; `take` gets its updates. */
  follow(paths, agent, take) {
    return this.source.follow({ agent, paths, take: (update) => {
      if (update.link) this.set({ link: update.link });
      if (update.answers?.service && !update.answers.service.problem) this.set({ service: withoutUptime(update.answers.service) });
      take(update);
    } });
  }
}

function withoutUptime({ uptime_s: _, ...service }) {
  return service;
}

/** The pages of a list, one after the other, `most` items at most. */
async function allPages(source, path, most = Infinity) {
  const items = [];
  let cursor = null;
  do {
    const more = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await source.ask({ path: `${path}${path.includes("?") ? "&" : "?"}limit=${PAGE}${more}` });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < most);
  return items;
}

/**
 * The units that the devices of agents say, asked once for each agent whose status lacks some: no run told them yet. Returns what
 * gives a status all that are known; `redraw` is called when there are more.
 */
function unitsOf(source, redraw) {
  const unitsByAgent = (source.units ??= new Map());
  return (status) => {
    const { name, units = {}, spec } = status;
    if (!unitsByAgent.has(name) && [...spec.actuators, ...outcomesOf(spec)].some((column) => !(column in units))) {
      unitsByAgent.set(name, {});
      source.ask({ path: `agents/${encodeURIComponent(name)}/devices` }).then((devices) => { unitsByAgent.set(name, devices.units); redraw(); }, () => unitsByAgent.delete(name));
    }
    return { ...status, units: { ...unitsByAgent.get(name), ...units } };
  };
}

/** The model of one agent, for `agentPanel`; `end()` ends it. */
export function agentModel(source, name) {
  const path = `agents/${encodeURIComponent(name)}`;
  const fold = new AgentFold();
  const model = new Values(source, { agent: { name, legal: [] }, progress: {}, best: null, by_model: null, plot: {}, region: [], inbox: [], form: [], form_errors: {}, variables: [], reports: [], lines: {} });
  let [status, variables, reports, types, devices] = [null, [], [], null, {}];
  let [looking, again, looked, drawn, retry, ended] = [false, false, false, "", null, false];
  let waiting = []; // events that come while it looks
  let [asking, askAgain] = [false, false]; // the devices, once more after the answer

  const form = () => agentForm(status, types?.items.find((type) => type.name === status.type)?.config_schema, types?.loop_schema);
  model.facts = () => ({ name, status, form: model.get("form") });
  model.redraw = draw;

  function draw() {
    if (!status) return;
    if (devices.units) status.units = { ...devices.units, ...status.units };
    const key = JSON.stringify([fold.version, devices, { ...status, beam_idle: null, think_s: null }]);
    model.set({
      agent: header(status, model.get("service")),
      progress: progress(status, fold),
      best: status.best,
      region: fold.measured.size || !looked ? [] : region(status, devices),
      by_model: byModel(status, fold),
      inbox: fold.openIn("proposed").map((suggestion) => entry(suggestion, status, model.refused.get(suggestion.id))),
      form: form(),
      variables: variables.map((variable) => ({ name: variable.name, value: variable.problem ?? variable.value, writable: variable.writable })),
      reports: reported(reports),
    });
    if (key === drawn || !looked) return;
    drawn = key;
    model.put("plot", plotted(status, fold, devices));
    model.put("lines", lines(fold));
  }

  async function look() {
    if (looking) {
      again = true;
      return;
    }
    [looking, again] = [true, false];
    if (!types) loadTypes();
    askDevices();
    try {
      const [suggestions, history, ...rest] = await Promise.all([
        allPages(source, `${path}/suggestions`),
        allPages(source, `${path}/history?newest_first=true`, LOOKS_BACK),
        source.ask({ path: `${path}/variables` }),
        allPages(source, `${path}/reports`),
      ]);
      [variables, reports] = [rest[0].items, rest[1]];
      fold.look(suggestions, history.reverse());
      looked = true;
      waiting.forEach((event) => fold.take(event));
      refresh(waiting.map((event) => event.kind));
      waiting = [];
    } catch (error) {
      if (error.status !== 404 && !ended) retry = setTimeout(look, RETRY_MS);
    } finally {
      looking = false;
    }
    draw();
    if (again && !ended) look();
  }

  /** The first who asks for the types waits until their libraries are looked at: the form comes later than the rest. */
  async function loadTypes() {
    try {
      types = await source.ask({ path: "agent-types" });
      draw();
    } catch {
      // the next look asks again
    }
  }

  /** Where the actuators are, while they rest; and units, which come with the status. */
  async function askDevices() {
    askAgain = true;
    if (asking) return;
    for (asking = true; askAgain && !ended;) {
      askAgain = false;
      try {
        devices = await source.ask({ path: `${path}/devices` });
        rest();
        draw();
      } catch {
        // no older service says it
      }
    }
    asking = false;
  }

  /** While one moves, where it was is not where it is. */
  function rest() {
    if (fold.moving.length) devices = { ...devices, positions: {} };
    return !fold.moving.length;
  }

  async function refresh(kinds) {
    try {
      if (kinds.some((kind) => OF_VARIABLES.includes(kind))) variables = (await source.ask({ path: `${path}/variables` })).items;
      if (kinds.includes("report")) reports = await allPages(source, `${path}/reports`);
      draw();
    } catch {
      // the next update asks again
    }
  }

  const stop = model.follow(["service", path], name, ({ events = [], answers = {}, stale }) => {
    const own = events.filter((event) => event.agent === name);
    own.forEach((event) => (looking ? waiting.push(event) : fold.take(event)));
    const now = answers[path];
    if (stale || (now && !now.problem && !status)) look();
    if (now?.problem) {
      status = null;
      model.set({ agent: { name, state: "missing", reason: now.problem.detail, legal: [] }, inbox: [] });
    } else if (now) status = now;
    if (own.length && status && rest() && (status.state !== "running" || fold.openIn("proposed").length)) askDevices();
    if (own.length && !looking) refresh(own.map((event) => event.kind));
    draw();
  });
  return Object.assign(model, { end: () => {
    ended = true;
    clearTimeout(retry);
    stop();
  } });
}

/** The model of a service and its agents, for `servicePanel`. */
export function serviceModel(source) {
  const model = new Values(source, { agents: [], opened: [], heard: false });
  const path = `agents?limit=${PAGE}`;
  const united = unitsOf(source, draw);
  let statuses = null;
  function draw() {
    if (statuses) model.set({ heard: true, agents: statuses.map((status) => row(status.best ? united(status) : status)) });
  }
  model.end = model.follow(["service", path], null, ({ answers = {} }) => {
    statuses = answers[path]?.items ?? statuses;
    draw();
  });
  return model;
}

/** The model of the inbox of all agents, for `suggestionsPanel`. */
export function inboxModel(source) {
  const model = new Values(source, { inbox: [], heard: false });
  const [agents, proposed] = [`agents?limit=${PAGE}`, `suggestions?state=proposed&limit=${PAGE}`];
  const byId = new Map();
  const united = unitsOf(source, () => model.redraw());
  let statuses = {};
  const statusOf = ({ agent }) => (statuses[agent] ? united(statuses[agent]) : { limits: {}, spec: {} });
  model.redraw = () => model.set({ inbox: [...byId.values()].map((suggestion) => entry(suggestion, statusOf(suggestion), model.refused.get(suggestion.id))) });
  model.end = model.follow(["service", agents, proposed], null, ({ answers = {}, events = [] }) => {
    if (answers[agents]) statuses = Object.fromEntries(answers[agents].items.map((status) => [status.name, status]));
    events.filter((event) => event.kind === "suggestion.state").forEach((event) => {
      if (event.data.state === "proposed") byId.set(event.data.id, born(event));
      else byId.delete(event.data.id);
    });
    if (answers[proposed]) {
      byId.clear();
      answers[proposed].items.forEach((suggestion) => byId.set(suggestion.id, suggestion));
    }
    model.redraw();
    if (answers[proposed]) model.set({ heard: true });
  });
  return model;
}
