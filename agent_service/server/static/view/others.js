// Where the actuators are that a picture of a belief does not go along: at the best point, unless a person says otherwise.

import { h, number } from "./dom.js";

/** Fields for these actuators. `at(data, drawn)` are their values by name, for all but the numbers `drawn`; null: none is shown. */
export function otherActuators(changed) {
  const set = new Map();
  const element = h("span", { class: "as-others", hidden: true });
  let shape = "";

  const field = (name, kinds, unit) => {
    const keep = (value) => {
      if (value === "") set.delete(name);
      else set.set(name, kinds ? kinds[Number(value)] : Number(value));
      changed();
    };
    const common = { "aria-label": `${name} in the picture`, onchange: (event) => keep(event.target.value) };
    const control = kinds ? h("select", { ...common, class: "as-select" }, h("option", { value: "" }), kinds.map((kind, i) => h("option", { value: i }, String(kind))))
      : h("input", { ...common, type: "number", step: "any", class: "as-input as-short" });
    return h("label", { "data-name": name }, h("span", {}, `${name} `), control, unit ? h("span", { class: "as-unit" }, unit) : "");
  };

  const at = (data, drawn) => {
    element.hidden = !drawn;
    if (!drawn) return null;
    const best = data.best ?? data.model ?? data.rows.at(-1) ?? [];
    const others = data.actuators.map((name, k) => ({ name, k, kinds: data.categories[k], best: data.categories[k]?.[best[k]] ?? best[k] })).filter(({ k }) => !drawn.includes(k));
    const now = JSON.stringify(others.map(({ name, kinds }) => [name, kinds, data.units[name]]));
    if (now !== shape) {
      shape = now;
      element.replaceChildren(...others.map(({ name, kinds }) => field(name, kinds, data.units[name])));
    }
    others.forEach((actuator, i) => {
      const control = element.children[i].children[1];
      const text = actuator.best === undefined || actuator.best === null ? "" : `${number(actuator.best, 3)}`;
      if (actuator.kinds) control.firstChild.textContent = text;
      else control.placeholder = text;
    });
    return Object.fromEntries(others.map((actuator) => [actuator.name, set.get(actuator.name) ?? actuator.best]).filter(([, value]) => value !== null && value !== undefined));
  };
  return { element, at };
}
