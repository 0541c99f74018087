// What steers an agent: one action that comes next, Stop beside it, the rest in a menu that explains itself.

import { actionButton, keepFocus, menu, permit } from "./controls.js";
import { h, say } from "./dom.js";
import { nextCommand, runsMore, whyNot } from "./words.js";

const NEXT = { start: "Start", pause: "Pause", resume: "Resume", continue: "More runs" };
const HELP = {
  pause: "Pause this agent alone: the point under way is measured, and it suggests no other. Pause queue stops the plans of all agents.",
};
const MENU = [
  ["start-paused", "Start paused", "Build its brain, and tell it all that was measured. It can be asked what it believes, and measures nothing."],
  ["restart", "Restart", "Build its brain anew, tell it all that was measured, and go on."],
  ["suggest", "Suggest a point", "Ask it for a point now. It waits in the inbox; nothing moves before somebody approves it."],
  ["report", "Ask for a report", "Ask its brain what it has found out; the answer stands under Report."],
];

/** Draw the commands of an agent; `halt` is the button that stops everything, if it stands here. `{bar, why}`: the reasons stand in `why`. */
export function commands(model, panel, halt) {
  let more = 0;
  const send = (action) => (event) => event.detail > 1 || model.send({ action, runs: more }); // a second click met the next command
  const next = Object.entries(NEXT).map(([action, label]) => [action, actionButton(model, action, label, send(action), "as-first", HELP[action])]);
  const stop = actionButton(model, "stop", "Stop", () => model.send({ action: "stop" }));
  const others = MENU.map(([action, label, words]) => [actionButton(model, action, label, () => model.send({ action })), words]);
  const rest = menu("More", "More commands", others);
  panel.ends.push(rest.end);
  const why = h("div", { class: "as-whys" }, next.map(([, command]) => command.why), stop.why);
  const bar = h("div", { class: "as-commands", role: "group", "aria-label": "Commands", tabindex: -1 }, next.map(([, command]) => command), stop, rest.element, halt);
  panel.on(["agent", "progress", "link", "service"], () => {
    const agent = model.get("agent");
    const queue = model.get("service").queue?.state;
    more = runsMore(agent, model.get("progress"));
    const now = nextCommand(agent, more);
    keepFocus(bar, () => next.forEach(([action, command]) => {
      command.hidden = action !== now;
      const reason = command.hidden ? "" : whyNot(action, agent, queue);
      permit(command, model, reason && `${NEXT[action]}: ${reason}`);
    }));
    say(next.at(-1)[1], `${more} more runs`);
    const reason = whyNot("stop", agent, queue);
    permit(stop, model, reason && `Stop: ${reason}`);
    others.forEach(([command]) => permit(command, model, whyNot(command.dataset.action, agent, queue)));
    rest.draw();
  });
  return { bar, why };
}
