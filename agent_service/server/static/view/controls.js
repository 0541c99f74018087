// Buttons that act: greyed, with the reason beside them, while they would come to nothing; not there for who may not.

import { may } from "./actions.js";
import { button, h, say } from "./dom.js";

let made = 0;

/** A button that acts; its `why`, to be placed beside it, says why it may not be pressed now. `help` says more of what it does. */
export function acting(model, action, label, act, look = "", help = "") {
  const one = button(label, act, look);
  one.why = h("span", { class: "as-why", id: `as-why-${made += 1}` });
  one.dataset.help = help;
  one.dataset.action = action;
  settle(one, model);
  return one;
}

/** Give a button a name that tells it from the others of its label: "Approve x 1.3". */
export function named(one, of) {
  one.setAttribute("aria-label", `${one.textContent} ${of}`);
  return one;
}

/** Say why a button may not be pressed now, whoever would hear it; an empty text: it may. */
export function permit(one, model, why) {
  one.dataset.why = why;
  say(one.why, why);
  settle(one, model);
}

/** Grey a button, or not; hide it from who may not. */
export function settle(one, model) {
  const why = model.blocked(one.dataset.action) || one.dataset.why || "";
  const lacks = !may(model.get("service").scopes, one.dataset.action);
  one.disabled = Boolean(why);
  one.title = one.dataset.help;
  if (one.dataset.why) one.setAttribute("aria-describedby", one.why.id);
  else one.removeAttribute("aria-describedby");
  one.classList.toggle("as-forbidden", lacks);
  one.why.classList.toggle("as-forbidden", lacks);
}

/** A menu behind a button; each of `items` is a button that acts, with what it does in words. Escape and a press elsewhere close it. */
export function menu(label, name, items) {
  const rows = items.map(([one, words]) => h("li", {}, one, h("span", { class: "as-help" }, words), one.why));
  const list = h("ul", { class: "as-menu-list" }, rows);
  const head = h("summary", { class: "as-button", "aria-label": name }, label);
  const element = h("details", { class: "as-menu" }, head, list);
  const close = () => { element.open = false; };
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    close();
    head.focus();
  });
  element.addEventListener("focusout", (event) => { if (event.relatedTarget && !element.contains(event.relatedTarget)) close(); });
  list.addEventListener("click", (event) => { if (event.target.closest("button")) close(); });
  const away = (event) => { if (!element.contains(event.target)) close(); };
  document.addEventListener("pointerdown", away);
  const draw = () => { element.hidden = items.every(([one]) => one.classList.contains("as-forbidden")); };
  return { element, draw, end: () => document.removeEventListener("pointerdown", away) };
}
