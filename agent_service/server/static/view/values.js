// Fields for the values of a point, and what they are on an axis: numbers, whole numbers, choices, true and false, texts.

import { h, number } from "./dom.js";

/** Whether an actuator has values in no order of numbers, as far as its space says. */
export function isCategory(dimension) {
  return ["choice", "bool", "text"].includes(dimension?.type);
}

/**
 * The names along the axis of an actuator whose values are no numbers in an order, else null. `seen` are values that occurred,
 * for texts of which the space says no more.
 */
export function categories(dimension, seen) {
  if (dimension?.type === "bool") return [false, true];
  if (dimension?.type === "choice") return dimension.values;
  const others = seen.filter((value) => typeof value === "string" || typeof value === "boolean");
  return others.length ? [...new Set(others)].sort() : null;
}

/** A field for a value; `now` is the present one, or undefined. `value()` is what stands there: "" when nothing does. */
export function valueField(name, dimension, now) {
  const labelled = { "aria-label": name, class: "as-input" };
  if (dimension?.type === "choice") {
    const first = now === undefined ? [h("option", { value: "" }, "choose")] : [];
    const element = h("select", labelled, first, dimension.values.map((value, i) => h("option", { value: i }, String(value))));
    const present = dimension.values.indexOf(now);
    if (present >= 0) element.value = String(present);
    return { element, value: () => (element.value === "" ? "" : dimension.values[Number(element.value)]), text: dimension.values.some((value) => typeof value === "string") };
  }
  if (dimension?.type === "bool" || typeof now === "boolean") {
    const element = h("input", { "aria-label": name, type: "checkbox", checked: now });
    return { element, value: () => element.checked };
  }
  if (dimension?.type === "text" || typeof now === "string") {
    const element = h("input", { ...labelled, type: "text", value: now });
    return { element, value: () => element.value, text: true };
  }
  const whole = dimension?.type === "int";
  const ends = { step: whole ? 1 : "any", min: dimension?.low, max: dimension?.high };
  const element = h("input", { ...labelled, ...ends, type: "number", value: now === undefined ? null : number(now, 6) });
  // what was not touched goes back with all its digits, not with those that are shown
  return { element, value: () => (now !== undefined && element.value === element.defaultValue ? now : element.value) };
}
