// Buttons that act: greyed, with the reason beside them, while they would come to nothing; not there for who may not.

import { may } from "./actions.js";
import { button, h, say } from "./dom.js";

let made = 0;

/** A button that acts; its `why`, to be placed beside it, says why it may not be pressed now. `help` says more of what it does. */
export function actionButton(model, action, label, act, look = "", help = "") {
  const command = button(label, act, look);
  command.why = h("span", { class: "as-why", id: `as-why-${made += 1}` });
  command.dataset.help = help;
  command.dataset.action = action;
  command.addEventListener("keydown", (event) => event.repeat && event.preventDefault()); // a key that is held down presses once
  settle(command, model);
  return command;
}

/** Give a button a name that tells it from the others of its label: "Approve x 1.3". */
export function named(command, whose) {
  command.setAttribute("aria-label", `${command.textContent} ${whose}`);
  return command;
}

/** Say why a button may not be pressed now, whoever would hear it; an empty text: it may. */
export function permit(command, model, why) {
  command.dataset.why = why;
  say(command.why, why);
  settle(command, model);
}

/** Grey a button, or not; hide it from who may not. */
export function settle(command, model) {
  const why = model.blocked(command.dataset.action) || command.dataset.why || "";
  const lacks = !may(model.get("service").scopes, command.dataset.action);
  command.disabled = Boolean(why);
  command.title = command.dataset.help;
  if (command.dataset.why) command.setAttribute("aria-describedby", command.why.id);
  else command.removeAttribute("aria-describedby");
  command.classList.toggle("as-forbidden", lacks);
  command.why.classList.toggle("as-forbidden", lacks);
}

/** Let keys in the fields of a form press its buttons; `buttonOf(key)` is the button, if there is one. */
export function pressByKeys(form, buttonOf) {
  form.addEventListener("keydown", (event) => {
    const command = buttonOf(event.key);
    if (!command || event.repeat || event.isComposing || (event.key === "Enter" && !event.target.matches("input"))) return;
    event.preventDefault();
    command.click();
  });
}

/** Draw; where the element with the focus is gone by it, `group` around it has the focus, and Tab goes on from there. */
export function keepFocus(group, draw) {
  const focused = group.contains(document.activeElement) ? document.activeElement : null;
  draw();
  if (focused && (focused.hidden || !group.contains(focused))) group.focus({ preventScroll: true });
}

/** A menu behind a button; each of `items` is a button that acts, with what it does in words. Escape and a press elsewhere close it. */
export function menu(label, name, items) {
  const rows = items.map(([command, words]) => h("li", {}, command, h("span", { class: "as-help" }, words), command.why));
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
  const draw = () => { element.hidden = items.every(([command]) => command.classList.contains("as-forbidden")); };
  return { element, draw, end: () => document.removeEventListener("pointerdown", away) };
}
