// A panel's line: what it shows and what is pressed go by its kernel, and straight to the service when that does not hear.

import { direct, ROUTES } from "./direct.js";
import { button } from "./dom.js";

const TICK_MS = 500;
// Ticks without a beat of the kernel, which come twice a second: ticks, for a clock goes on while a page sleeps.
const SILENT = 5;
// Ticks between two signs of life of this page: the kernel beats for pages that are there.
const HERE = 60;
const ANSWERS_MS = 2000;
const TRIES = 5;
const STOPS = ["stop-everything", "stop", "pause"];

/** Wrap a widget's model: its `get`, `on` and `off`, a `send` that does not fail in silence, and `blocked`. */
export function connect(raw, look) {
  const instead = new Map();
  const listeners = new Map();
  const pressed = new Map();
  const service = direct();
  let silent = 0;
  let ticks = 0;
  let beat = null;
  let looking = false;
  let newest = null;
  let shownAt = "when the notebook was saved";

  const heard = () => silent < SILENT;
  const get = (name) => (instead.has(name) ? instead.get(name) : raw.get(name));
  const changed = (name) => listeners.get(`change:${name}`)?.forEach((act) => act());
  const show = (name, value) => {
    instead.set(name, value);
    changed(name);
  };
  const kernelsOwn = (names) => names.forEach((name) => instead.delete(name) && changed(name));
  const notice = (kind, text) => show("notice", { kind, text, at: Date.now() / 1000 });
  const send = (content) => {
    try {
      Promise.resolve(raw.send(content)).catch(() => {});
    } catch {
      // its kernel is gone; that no beat comes says so
    }
  };

  // without the kernel
  const showLink = (found) => {
    const link = { ...raw.get("link"), state: found ? "direct" : "unheard" };
    const { text, ended } = unheard(raw.widget_manager?.kernel);
    link.message = `${text} ${found ? "Start, Stop, Pause and Approve go straight to the service meanwhile; the plots stand still." : `Shown is how it was ${shownAt}. ${noWay(raw, ended)}`}`;
    if (JSON.stringify(link) !== JSON.stringify(get("link"))) show("link", link);
  };
  const lookStraight = async () => {
    if (looking) return;
    looking = true;
    showLink(service.found());
    try {
      const status = await service.find();
      const seen = status ? { service: status, ...await look(service, raw) } : {};
      if (heard()) return;
      showLink(Boolean(status));
      Object.entries(seen).forEach(([name, value]) => show(name, value));
    } catch (error) {
      if (!heard()) showLink(Boolean(error.answered));
    } finally {
      looking = false;
    }
  };
  // whether the service was reached
  const straight = async (content) => {
    const what = named(content);
    if (!(content.action in ROUTES)) {
      notice("error", `${what} was not done: it needs the kernel, which does not answer.`);
      return false;
    }
    const slow = setTimeout(() => notice("wait", `${what}: the service has not answered for 2 s.`), ANSWERS_MS);
    try {
      await service.act({ name: raw.get("agent")?.name, ...content });
      notice("done", `${what} went straight to the service, without the kernel.`);
      return true;
    } catch (error) {
      notice("error", error.answered ? error.message : `${what} was not done. ${noWay(raw, false)}`);
      return Boolean(error.answered);
    } finally {
      clearTimeout(slow);
      if (!heard()) lookStraight();
    }
  };

  // by the kernel
  const press = (content, tries = 1) => {
    if (instead.has("notice")) show("notice", {});
    if (!heard()) {
      straight(content);
      return;
    }
    const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    const one = { content, tries, heard: false, straight: false, waits: true };
    one.timer = setTimeout(() => unanswered(one), ANSWERS_MS);
    pressed.set(id, one);
    newest = one;
    send({ ...content, press: id, beat });
  };
  const unanswered = (one) => {
    const what = named(one.content);
    one.waits = false;
    if (one.heard) {
      notice("wait", `${what}: nothing was done in 2 s. The service was asked; this line goes when it has answered.`);
    } else if (service.found() && one.content.action in ROUTES) {
      one.straight = true;
      straight(one.content).then((done) => { one.straight = done; });
    } else if (STOPS.includes(one.content.action)) {
      notice("error", `${what}: the kernel has not heard it in 2 s; it is done as soon as it does. Sooner, in a terminal: ${command(raw)}`);
    } else {
      notice("error", `${what} was not done: the kernel has not heard it in 2 s. Press it again when its cell has ended.`);
    }
  };
  const answered = (id) => {
    clearTimeout(pressed.get(id)?.timer);
    if (pressed.delete(id) && get("notice").kind === "wait") show("notice", {});
  };
  const late = (id) => {
    const one = pressed.get(id);
    answered(id);
    if (!one || one.straight) return;
    // it was not done: again, by a kernel that is awake now, unless a person was told that it will not be, or pressed on
    const stops = STOPS.includes(one.content.action);
    if (one.tries < TRIES && (stops || (one.waits && one === newest))) press(one.content, one.tries + 1);
    else if (stops || one.waits) notice("error", `${named(one.content)} was not done: the kernel heard it too late. Press it again.`);
  };
  const take = (message) => {
    if ("beat" in message) { // one that is late tells the time too
      const back = !heard();
      silent = 0;
      beat = message.beat;
      shownAt = `at ${new Date().toLocaleTimeString([], { hour12: false })}`;
      if (back) kernelsOwn(["link", "service", "agent", "agents", "progress", "inbox"]);
    }
    if (message.way?.origin === location.origin) service.learn(message.way);
    if (pressed.has(message.heard)) pressed.get(message.heard).heard = true;
    if ("done" in message) answered(message.done);
    if ("late" in message) late(message.late);
  };
  const newer = () => instead.delete("notice");
  const tick = () => {
    if (ticks++ % HERE === 0) send({ here: location.origin });
    silent += 1;
    if (!heard()) lookStraight();
  };
  raw.on("change:notice", newer);
  raw.on("msg:custom", take);
  const ticking = setInterval(tick, TICK_MS);
  tick();

  return {
    get,
    send: (content) => press(content),
    on: (event, act) => {
      listeners.set(event, (listeners.get(event) ?? new Set()).add(act));
      raw.on(event, act);
    },
    off: (event, act) => {
      listeners.get(event)?.delete(act);
      raw.off(event, act);
    },
    /** Why an action would come to nothing now, whatever the agent does; an empty text when it would not. */
    blocked: (action) => {
      const { state } = get("link");
      if (state === "live" || (state === "direct" && action in ROUTES)) return "";
      if (state === "direct") return "Not without the kernel";
      if (state === "unheard") return "Nobody hears this panel";
      return action === "stop-everything" ? "" : "Not while the service does not answer";
    },
    end: () => {
      clearInterval(ticking);
      pressed.forEach((one) => clearTimeout(one.timer));
      raw.off("change:notice", newer);
      raw.off("msg:custom", take);
    },
  };
}

/** A button that acts; greyed, with the reason, while it is not legal or would come to nothing; else `help` says more. */
export function acting(model, action, label, act, look = "", help = "") {
  const one = button(label, act, look);
  one.dataset.help = help;
  one.dataset.action = action;
  settle(one, model);
  return one;
}

/** Say why a button may not be pressed now, whoever would hear it; an empty text: it may. */
export function permit(one, model, why) {
  one.dataset.why = why;
  settle(one, model);
}

/** Grey a button, or not. */
export function settle(one, model) {
  const why = model.blocked(one.dataset.action) || one.dataset.why || "";
  one.disabled = Boolean(why);
  one.title = why || one.dataset.help;
}

function named(content) {
  const what = content.action.replaceAll("-", " ");
  return what.charAt(0).toUpperCase() + what.slice(1);
}

/** Why the kernel does not hear a panel, as far as its page can tell, and whether it has ended. */
function unheard(kernel) {
  if (kernel && kernel.status !== "dead" && kernel.connectionStatus !== "connected") {
    return { text: "This page has lost its connection to the kernel, and tries again by itself.", ended: false };
  }
  if (kernel?.status === "busy") return { text: "The kernel is busy and does not answer.", ended: false };
  return { text: "The kernel of this panel has ended or was restarted: run its cell again for a new panel.", ended: true };
}

function noWay(raw, ended) {
  if (ended && raw.get("link").own) return "The service ended with its kernel: it begins no other move; a motor under way goes on to where it was sent.";
  return `No way leads from this page to the service. What stops it, in a terminal on its machine: ${command(raw)}`;
}

function command(raw) {
  const { url } = raw.get("link");
  const state = raw.get("service").state_dir;
  const quoted = (text) => (/[^\w@%+=:,./-]/.test(text) ? `'${text.replaceAll("'", "'\\''")}'` : text);
  return `agent-service stop --everything ${state ? `--state ${quoted(state)}` : `--url ${quoted(url)}`}`;
}
