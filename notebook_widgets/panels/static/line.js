// A panel's line: the service by its kernel, and straight when that does not hear. A source as view/model.js wants it.

import { apiPage } from "./api_link.js";
import { wayTo } from "./direct.js";
import { Refusal, webSource } from "./web.js";

const TICK_MS = 500;
// Ticks without a beat of the kernel, which come twice a second: ticks, for a clock goes on while a page sleeps.
const SILENT = 5;
// Ticks between two signs of life of this page: the kernel beats for pages that are there.
const HERE = 60;
const ANSWERS_MS = 2000;
const TRIES = 5;
const STOPS = ["stop-everything", "stop", "pause"];
const AGENTS = "agents?limit=1000";

/** The source of a widget's model. */
export function kernelSource(raw) {
  const followers = new Map(); // each with what ends its share of the straight way, while that is gone
  const questions = new Map();
  let [silent, ticks, beat, way, base, straight, finding, newest] = [0, 0, null, null, null, null, null, null];
  let shownAt = "when the notebook was saved";
  let link = raw.get("link");

  const heard = () => silent < SILENT;
  const send = (content) => {
    try {
      Promise.resolve(raw.send(content)).catch(() => {});
    } catch {
      // its kernel is gone; that no beat comes says so
    }
  };
  const become = (now) => {
    if (JSON.stringify(now) === JSON.stringify(link)) return;
    link = now;
    followers.forEach((_, follower) => follower.take({ link }));
  };
  const answersTo = (paths) => {
    const answers = raw.get("answers");
    const answerTo = (path) => answers[path] ?? answers[AGENTS]?.items.find((agent) => path === `agents/${encodeURIComponent(agent.name)}`);
    return Object.fromEntries(paths.map((path) => [path, answerTo(path)]).filter(([, answer]) => answer));
  };
  const byKernel = (more = {}) => followers.forEach((_, follower) => follower.take({ link, answers: answersTo(follower.paths), ...more }));

  // without the kernel
  const find = () => {
    const tried = way;
    finding ??= (tried ? wayTo(tried, base) : Promise.resolve(null)).then((address) => {
      if (address !== base || tried.key !== straight?.key) leave();
      base = address;
      if (base && !straight) straight = Object.assign(webSource({ base, key: tried.key, where: tried.url }), { key: tried.key });
      return base;
    }).finally(() => { finding = null; });
    return finding;
  };
  // what was asked of a kernel that hears no more has no answer: who asked asks again
  const forget = () => questions.forEach((question) => {
    if (question.show) return;
    clearTimeout(question.timer);
    questions.delete(question.id);
    question.no(new Error("the kernel did not answer"));
  });
  const leave = () => {
    followers.forEach((end, follower) => {
      end?.();
      followers.set(follower, null);
    });
    straight = null;
  };
  const showUnheard = () => {
    const { text, ended } = unheard(raw.widget_manager?.kernel);
    const consequence = base ? "Everything goes straight to the service meanwhile." : `Shown is how it was ${shownAt}. ${noWay(raw, ended)}`;
    become({ ...raw.get("link"), state: base ? "direct" : "unheard", message: `${text} ${consequence}` });
  };
  const goStraight = async () => {
    showUnheard();
    if (!(await find()) || heard()) return heard() || showUnheard();
    showUnheard();
    forget();
    followers.forEach((end, follower) => end ?? followers.set(follower, straight.follow({ ...follower, take: ({ link: _, ...update }) => heard() || follower.take(update) })));
  };
  const press = async (request, show) => {
    try {
      if (!base && !(await find())) throw new Error("no way");
      const { answer } = await straight.press(request, show);
      return { answer, way: `${request.title} went straight to the service, without the kernel.` };
    } catch (error) {
      throw error.answered ? error : new Error(`${request.title} was not done. ${noWay(raw, false)}`);
    }
  };

  // by the kernel
  const askKernel = (request, more) => {
    const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    const { method = "GET", path, body = null } = request;
    const question = { id, request, ...more };
    question.promise = new Promise((ok, no) => Object.assign(question, { ok, no }));
    question.timer = setTimeout(() => question.slow(), ANSWERS_MS);
    questions.set(id, question);
    send({ ask: id, method, path, body, ...(more.show && { beat }) });
    return question;
  };
  const ask = async (request) => {
    if (!heard()) {
      if (!base && !(await find())) throw new Error("no way leads to the service");
      return straight.ask(request);
    }
    const question = askKernel(request, { slow: async () => {
      // its cell goes on: the service itself knows; and if there is no way to it, the kernel will answer some time
      if (await find()) straight.ask(request).then(question.ok, question.no);
    } });
    return question.promise;
  };
  const pressed = (request, show, tries = 1) => {
    const question = askKernel(request, { show, tries, heard: false, straight: false, waits: true, slow: () => {
      const { title, action } = request;
      question.waits = false;
      if (question.heard) show("wait", `${title}: nothing was done in 2 s. The service was asked; this line goes when it has answered.`);
      else if (base) {
        question.straight = true;
        press(request, show).then(question.ok, (error) => (error.answered ? question.no(error) : Object.assign(question, { straight: false }) && show("error", error.message)));
      } else if (STOPS.includes(action)) show("error", `${title}: the kernel has not heard it in 2 s; it is done as soon as it does. Sooner, in a terminal: ${command(raw)}`);
      else show("error", `${title} was not done: the kernel has not heard it in 2 s. Press it again when its cell has ended.`);
    } });
    newest = question;
    return question.promise;
  };
  const late = (question) => {
    if (!question || question.straight) return;
    // it was not done: again, by a kernel that is awake now, unless a person was told that it will not be, or pressed on
    const { request, show, tries } = question;
    const stops = STOPS.includes(request.action);
    if (tries < TRIES && (stops || (question.waits && question === newest))) pressed(request, show, tries + 1).then(question.ok, question.no);
    else if (stops || question.waits) question.no(new Error(`${request.title} was not done: the kernel heard it too late. Press it again.`));
  };
  const take = (message) => {
    if ("beat" in message) { // one that is late tells the time too
      const back = !heard();
      silent = 0;
      beat = message.beat;
      shownAt = `at ${new Date().toLocaleString([], { hour12: false })}`;
      if (back) {
        leave();
        forget();
        become(raw.get("link"));
        byKernel({ stale: true });
      }
    }
    if (message.way?.origin === location.origin) {
      way = message.way;
      if (way.key !== straight?.key) find(); // tried while all is well: when it is not, a person must not wait
    }
    if (message.events && heard()) {
      const eventsOf = ({ agent }) => message.events.filter((event) => !agent || !event.agent || event.agent === agent);
      followers.forEach((_, follower) => follower.take({ link, stale: message.stale, events: eventsOf(follower) }));
    }
    const question = questions.get(message.answer ?? message.heard ?? message.late);
    if (!question) return;
    if ("heard" in message) {
      question.heard = true;
      return;
    }
    clearTimeout(question.timer);
    questions.delete(question.id);
    if ("late" in message) late(question);
    else if (message.problem) question.no(new Refusal(message.problem.status, message.problem));
    else question.ok(question.show ? { answer: message.said } : message.said);
  };
  const linked = () => heard() && become(raw.get("link"));
  const answered = () => heard() && byKernel();
  const tick = () => {
    if (ticks++ % HERE === 0) send({ here: location.origin });
    silent += 1;
    if (!heard()) goStraight();
  };
  raw.on("change:link", linked);
  raw.on("change:answers", answered);
  raw.on("msg:custom", take);
  const ticking = setInterval(tick, TICK_MS);
  tick();

  return {
    ask,
    press: (request, show) => (heard() ? pressed(request, show) : press(request, show)),
    follow: (follower) => {
      followers.set(follower, null);
      follower.take({ link, answers: answersTo(follower.paths) });
      return () => {
        followers.get(follower)?.();
        followers.delete(follower);
      };
    },
    apiPage: () => apiPage(raw.get("link").url),
    /** Why an action would come to nothing now, whatever the agent does; an empty text when it would not. */
    blocked: (action) => {
      if (["live", "direct"].includes(link.state)) return "";
      if (link.state === "unheard") return "Nobody hears this panel";
      return action === "stop-everything" ? "" : "Not while the service does not answer";
    },
    end: () => {
      clearInterval(ticking);
      leave();
      questions.forEach((question) => clearTimeout(question.timer));
      raw.off("change:link", linked);
      raw.off("change:answers", answered);
      raw.off("msg:custom", take);
    },
  };
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
  const state = raw.get("answers").service?.state_dir;
  const quoted = (text) => (/[^\w@%+=:,./-]/.test(text) ? `'${text.replaceAll("'", "'\\''")}'` : text);
  return `agent-service stop --everything ${state ? `--state ${quoted(state)}` : `--url ${quoted(url)}`}`;
}
