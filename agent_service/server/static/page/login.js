// Logging in: a code in the address's fragment, or a key, for a session that is kept in this tab alone.

import { h, say } from "./dom.js";
import { Refusal } from "./web.js";

const KEPT = "agent-service.session";

/** Begin a session at the service at `base`, by `{code}` or `{key}`; it is kept until the tab is closed. */
async function beginSession(base, { code, key }) {
  const headers = { ...(code && { "Content-Type": "application/json" }), ...(key && { Authorization: `Apikey ${key}` }) };
  const answer = await fetch(`${base}/api/v1/sessions`, { method: "POST", headers, body: code && JSON.stringify({ code }), cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refusal(answer.status, body);
  sessionStorage.setItem(KEPT, JSON.stringify({ base, key: body.key }));
  return body.key;
}

/** The session of this tab, or null. */
export function keptSession(base) {
  const session = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  return session?.base === base ? session.key : null;
}

/** Forget the session of this tab. */
export function forgetSession() {
  sessionStorage.removeItem(KEPT);
}

/** Take a one-time code out of the address, so that nobody reads it there, and log in with it; null when there is none. */
export async function sessionByCode(base) {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  if (!code) return null;
  history.replaceState(null, "", `${location.pathname}${location.search}`);
  return beginSession(base, { code });
}

/** Ask for a key in `el`; `enter(session)` when it was good. `why` is what led here, if anything did; `wished`: a person asked for it. */
export function logIn(el, base, enter, why = "", wished = false) {
  const wrong = h("p", { class: wished ? "" : "as-bad", role: "alert" }, why);
  const field = h("input", { id: "as-key", class: "as-input", type: "password", autocomplete: "off", spellcheck: "false", required: "" });
  const go = h("button", { type: "submit", class: "as-button as-main" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    wrong.className = "as-bad";
    field.value = "";
    if (!/^[\x21-\x7e]+$/.test(key)) return say(wrong, "A key has letters, digits and signs, and no spaces. Paste it again.");
    go.disabled = true;
    try {
      enter(await beginSession(base, { key }));
    } catch (error) {
      say(wrong, error.answered ? "The service does not know this key: it is wrong, or was revoked." : "The service does not answer. Try again.");
      go.disabled = false;
      field.focus();
    }
  };
  el.replaceChildren(h("main", { class: "as-login as-panel" },
    h("h1", {}, "Agent service"),
    wrong,
    h("form", { onsubmit: submit }, h("label", { for: "as-key" }, "Key"), h("div", { class: "as-row" }, field, go)),
    h("p", { class: "as-help" }, "On the machine of the service, ", h("code", {}, "agent-service open"), " opens this page without asking. A key of your own is made there with ",
      h("code", {}, "agent-service keys create NAME"), ".")));
  document.title = "Log in · Agent service";
  field.focus();
}
