// The page of a service: logged in, a bar that is always in reach, and one view below it.

import { agentPanel } from "./agent_panel.js";
import { actionButton, keepFocus, permit, settle } from "./controls.js";
import { h, say } from "./dom.js";
import { badge, destroyButton, stillText } from "./frame.js";
import { forgetSession, keptSession, logIn, sessionByCode } from "./login.js";
import { agentModel, inboxModel, serviceModel } from "./model.js";
import { newAgent } from "./new_agent.js";
import { notices } from "./notices.js";
import { servicePanel } from "./service_panel.js";
import { serviceView } from "./service_view.js";
import { suggestionsPanel } from "./suggestions_panel.js";
import { webSource } from "./web.js";

// wherever this page is, behind a proxy too, the API is beside it
const base = new URL(".", location.href.split("#")[0]).href.replace(/\/$/, "");
const root = document.getElementById("page");
const printed = h("p", { class: "as-printed" });
addEventListener("beforeprint", () => say(printed, `${location.host}, as it was at ${new Date().toLocaleString()}`));
const PLACES = [["#/", "Agents"], ["#/inbox", "Inbox"], ["#/service", "Service"]];

async function start() {
  try {
    const session = (await sessionByCode(base)) ?? keptSession(base);
    if (session) enter(session);
    else logIn(root, base, enter);
  } catch (error) {
    logIn(root, base, enter, error.message);
  }
}

function enter(session) {
  let gone = false;
  const leave = (why, wished = false) => {
    if (gone) return;
    gone = true;
    removeEventListener("hashchange", route);
    shown?.();
    bar.end();
    forgetSession();
    logIn(root, base, enter, why, wished);
  };
  const logOut = async () => {
    await source.ask({ method: "DELETE", path: "sessions" }).catch(() => {});
    leave("You are logged out.", true);
  };
  const onRefused = (error) => error.status === 401 && leave("Your session has ended: its key was revoked, or the service was started anew. Log in again.");
  const source = Object.assign(webSource({ base, key: session, onRefused, where: location.host }), { home: "page" });
  const bar = topBar(source);
  const view = h("main", { id: "as-view", tabindex: "-1" });
  let shown = null;

  const show = (model, draw) => {
    const end = draw(model);
    return () => {
      end();
      model.end();
    };
  };
  function route(event) {
    shown?.();
    view.replaceChildren();
    const [, name, encodedName] = /^#\/(\w*)\/?(.*)$/.exec(location.hash) ?? [null, "", ""];
    bar.at(name);
    document.title = `${name === "agents" ? decodeURIComponent(encodedName) : PLACES.find(([to]) => to === `#/${name}`)?.[1] ?? "Agents"} · Agent service`;
    const at = h("div", {});
    view.append(at);
    if (name === "agents") shown = show(agentModel(source, decodeURIComponent(encodedName)), (model) => agentPanel(model, at));
    else if (name === "inbox") shown = show(inboxModel(source), (model) => suggestionsPanel(model, at));
    else if (name === "new") shown = show(serviceModel(source), (model) => newAgent(model, at, (created) => { location.hash = created ? `#/agents/${encodeURIComponent(created)}` : "#/"; }));
    else if (name === "service") shown = serviceView(bar.model, at, logOut);
    else shown = show(serviceModel(source), (model) => servicePanel(model, at, (agent) => { location.hash = `#/agents/${encodeURIComponent(agent)}`; }));
    if (event && document.activeElement === document.body) view.focus({ preventScroll: true }); // what led here is gone
  }
  root.replaceChildren(h("a", { class: "as-skip", href: "#as-view", onclick: (event) => { event.preventDefault(); view.focus(); } }, "Skip to the view"), bar.element, printed, view);
  addEventListener("hashchange", route);
  route();
}

/** Where one is, what moves, and what stops it. */
function topBar(source) {
  const [model, whole] = [inboxModel(source), serviceModel(source)];
  const ends = [notices(model, whole), model.end, whole.end];
  const count = h("span", { class: "as-count", hidden: true });
  const links = PLACES.map(([to, name]) => h("a", { href: to }, name, name === "Inbox" ? count : null));
  const queue = h("span", { class: "as-queue" });
  const why = h("span", { class: "as-grow" });
  const strip = h("div", { class: "as-strip as-warn", role: "alert", hidden: true }, why);
  const notice = h("div", { class: "as-strip", role: "status", hidden: true });
  const press = (action, label, look = "", help = "") => actionButton(model, action, label, () => model.send({ action }), look, help);
  const pause = press("pause-queue", "Pause queue", "", "For all agents: let the plan under way pause at its next checkpoint, and hold the next ones. Pause beside an agent pauses that one alone");
  const resume = press("resume-queue", "Resume queue");
  const stop = press("stop-everything", "Stop everything", "as-danger", "Abort the plan under way, and let nothing move until somebody resumes the queue");
  const commands = h("div", { class: "as-commands", role: "group", "aria-label": "Queue", tabindex: -1 }, pause, pause.why, resume, stop);
  const destroy = destroyButton(model);
  strip.append(destroy);
  const draw = () => {
    const queueStatus = model.get("service").queue ?? {};
    const still = stillText(queueStatus, whole.get("heard") ? whole.get("agents") : null);
    const state = model.get("link").state === "live" ? queueStatus.state ?? "unknown" : "unknown"; // as it was is not as it is
    queue.replaceChildren(badge(state, state === "unknown" ? "queue not known" : `queue ${state}`));
    strip.hidden = !still;
    say(why, still);
    destroy.hidden = !queueStatus.can_destroy;
    keepFocus(commands, () => {
      pause.hidden = ["paused", "held"].includes(queueStatus.state);
      resume.hidden = !pause.hidden;
    });
    permit(pause, model, queueStatus.state ? "" : "The queue is not known yet");
    [resume, stop, destroy].forEach((command) => settle(command, model));
  };
  const waits = () => {
    const { length } = model.get("inbox");
    count.hidden = !length;
    say(count, String(length));
  };
  const tell = () => {
    const { kind, text } = model.get("notice");
    notice.hidden = !text;
    notice.className = `as-strip ${{ error: "as-error", wait: "as-warn" }[kind] ?? "as-done"}`;
    say(notice, text ?? "");
  };
  const listens = [["service", draw], ["link", draw], ["inbox", waits], ["notice", tell]];
  listens.forEach(([name, act]) => model.on(`change:${name}`, act));
  whole.on("change:agents", draw);
  draw();
  const element = h("div", { class: "as-bar as-panel" },
    h("header", { class: "as-top" },
      h("nav", { "aria-label": "Views" }, links),
      queue,
      commands),
    strip,
    notice);
  const at = (name) => links.forEach((link, i) => {
    const here = PLACES[i][0] === `#/${["agents", "new"].includes(name) ? "" : name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  return { element, at, model, end: () => ends.forEach((end) => end()) };
}

start();
