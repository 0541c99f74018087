// Elements, numbers and times for all panels. No framework: a panel is a few hundred elements that rarely change.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element; `on...` properties are listeners, null children are left out. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "disabled" || name === "checked" || name === "hidden") element.toggleAttribute(name, Boolean(value));
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button with a plain name. */
export function button(label, onclick, look = "") {
  return h("button", { type: "button", class: `as-button ${look}`, onclick }, label);
}

/** Set text only when it changed, so that a selection in it survives. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Copy a text; rejected where the browser does not let a page do that. Also where a page is not served by HTTPS. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { class: "as-hidden" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("not copied");
}

/** A number with as many digits as a person reads. */
export function number(value, digits = 4) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

/** A point, or outcomes, as text: "mirror_x 1.093 mm, mirror_y -0.486 mm". */
export function pointText(point, units = {}) {
  const measured = (name, value) => (typeof value === "number" && units[name] ? `${number(value)} ${/^\d/.test(units[name]) ? "× " : ""}${units[name]}` : number(value));
  return Object.entries(point).map(([name, value]) => `${name} ${measured(name, value)}`).join(", ");
}

/** The name of an agent: a link to it where it has a page. */
export function nameOf({ home }, name) {
  return home === "page" ? h("a", { href: `#/agents/${encodeURIComponent(name)}` }, name) : name;
}

/** How long ago, roughly: 12 s, 3 min, 2 h, 4 d. */
export function age(at) {
  const seconds = Math.max(0, Date.now() / 1000 - at);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

/** The time of the day; of another day with its date. */
export function clock(at) {
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString([], { hour12: false });
  return then.toDateString() === new Date().toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}

/** An element that shows a time; `tick` adds the date when the day is over. */
export function clocked(at) {
  return h("time", { class: "as-clock", "data-at": at }, clock(at));
}

/** An element that shows an age; `tick` keeps it true. */
export function aged(at) {
  return h("span", { class: "as-age", "data-at": at, title: new Date(at * 1000).toLocaleString() }, age(at));
}

/** Bring all ages and times below an element up to date, and show what has lasted long enough to be worth saying. */
export function tick(root) {
  for (const element of root.querySelectorAll(".as-age")) say(element, age(Number(element.dataset.at)));
  for (const element of root.querySelectorAll(".as-clock")) say(element, clock(Number(element.dataset.at)));
  for (const element of root.querySelectorAll("[data-since]")) element.hidden = Date.now() / 1000 - Number(element.dataset.since) < 2;
}

/** Let a parent's children be those of `items`, by key: kept, made, updated, removed, in order. */
export function keyed(parent, items, key, make, update = () => {}) {
  const names = new Set(items.map((item) => String(key(item))));
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  for (const [name, child] of old) if (!names.has(name)) child.remove(); // first: an element that is moved loses the focus
  items.forEach((item, i) => {
    const name = String(key(item));
    let child = old.get(name);
    old.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
}

const DRAWS_MS = 8;
const waiting = new Set();

/** Draw what waits, some of it at a time: in between the browser hears who presses and types. */
function drawSome() {
  const until = performance.now() + DRAWS_MS;
  try {
    for (const draw of waiting) {
      waiting.delete(draw);
      draw();
      if (performance.now() > until) break;
    }
  } finally {
    if (waiting.size) setTimeout(drawSome);
  }
}

/** Call `draw` now and soon after one of the traits changes; returns what ends that. */
export function watch(model, traits, draw) {
  const later = () => {
    if (!waiting.size) setTimeout(drawSome);
    waiting.add(draw);
  };
  for (const trait of traits) model.on(`change:${trait}`, later);
  draw();
  return () => {
    waiting.delete(draw);
    traits.forEach((trait) => model.off(`change:${trait}`, later));
  };
}
