// The browser's own notifications, for who has the page open and looks elsewhere: a point waits, an agent failed, all is held.

import { button, h, pointText } from "./dom.js";

const WAITS_MS = 2000; // a point that needs no person is approved sooner

/** Show them from what the models of the inbox and of the service say; returns what ends that. */
export function notices(inbox, service) {
  const [seen, failed] = [new Set(), new Set()];
  let [held, first] = [null, true];
  const waits = () => {
    const fresh = inbox.get("inbox").filter((suggestion) => !seen.has(suggestion.id));
    fresh.forEach((suggestion) => seen.add(suggestion.id));
    if (fresh.length && inbox.get("heard")) setTimeout(() => {
      const open = inbox.get("inbox").filter((suggestion) => fresh.some(({ id }) => id === suggestion.id));
      if (open.length) notify("#/inbox", `${open[0].agent} waits for approval`, open.length > 1 ? `${open.length} points` : pointText(open[0].point, open[0].units));
    }, WAITS_MS);
  };
  const fails = () => {
    for (const { name, state, reason } of service.get("agents")) {
      if (state !== "failed") failed.delete(name);
      else if (!failed.has(name)) {
        failed.add(name);
        if (!first) notify(`#/agents/${encodeURIComponent(name)}`, `${name} failed`, reason ?? "");
      }
    }
    first = false;
  };
  const holds = () => {
    const { state, reason } = service.get("service").queue ?? {};
    if (state === "held" && held === false) notify("#/", "Nothing moves", reason ?? "");
    if (state) held = state === "held";
  };
  const listens = [[inbox, "inbox", waits], [service, "agents", fails], [service, "service", holds]];
  listens.forEach(([model, name, act]) => model.on(`change:${name}`, act));
  return () => listens.forEach(([model, name, act]) => model.off(`change:${name}`, act));
}

function notify(to, title, body) {
  if (!document.hidden || globalThis.Notification?.permission !== "granted") return;
  try {
    const notification = new Notification(title, { body, tag: to });
    notification.onclick = () => {
      focus();
      location.hash = to;
      notification.close();
    };
  } catch {
    // a telephone's browser lets no page show them: `[notify]` of the service sends e-mail
  }
}

/** What asks for them, or says what they are. */
export function permissionElement() {
  const element = h("p", {});
  const draw = () => {
    const may = globalThis.isSecureContext ? globalThis.Notification?.permission : undefined;
    const content = {
      granted: "This browser shows a notification when a point waits, an agent failed, or all is held, while the page is open and you look elsewhere.",
      denied: "This browser was told to show no notifications of this page.",
      default: button("Allow notifications", async () => { await Notification.requestPermission(); draw(); }),
    }[may] ?? "This browser shows notifications only of a page by HTTPS, or of this machine.";
    element.replaceChildren(content);
  };
  draw();
  return element;
}
