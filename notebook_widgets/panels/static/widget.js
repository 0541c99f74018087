// A widget: which view it is, over the line of its kernel.

import { agentPanel } from "./agent_panel.js";
import { h } from "./dom.js";
import { keepPicture } from "./last_picture.js";
import { kernelSource } from "./line.js";
import { agentModel, inboxModel, serviceModel } from "./model.js";
import { servicePanel } from "./service_panel.js";
import { suggestionsPanel } from "./suggestions_panel.js";

function render({ model: raw, el }) {
  const source = kernelSource(raw);
  const { kind, name } = raw.get("view");
  const ends = [];
  const show = (make, panel, at) => {
    const model = make(source);
    ends.push(panel(model, at), model.end);
    return model;
  };
  if (kind === "agent") show((from) => agentModel(from, name), agentPanel, el);
  else if (kind === "inbox") show(inboxModel, suggestionsPanel, el);
  else overview(source, el, ends);
  ends.push(keepPicture(raw, el), keepKeys(el));
  return () => [...ends.reverse(), source.end].forEach((end) => end());
}

/** Keep the keys that are pressed in `el` from the notebook, where "b" is a new cell; those with Ctrl, as for saving, it gets. */
function keepKeys(el) {
  const mark = ({ target, ctrlKey, metaKey, altKey }) => {
    if (el.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || metaKey || altKey));
  };
  addEventListener("keydown", mark, true); // before the notebook looks whether this attribute is there
  return () => removeEventListener("keydown", mark, true);
}

/** A service, with the agents that are opened below it. */
function overview(source, el, ends) {
  const [whole, below] = [h("div", {}), h("div", {})];
  const opened = new Map();
  el.append(whole, below);
  const model = serviceModel(source);
  const open = (name) => {
    if (opened.has(name)) {
      opened.get(name)();
      opened.delete(name);
    } else {
      const [place, agent] = [h("div", {}), agentModel(source, name)];
      below.append(place);
      const end = agentPanel(agent, place);
      opened.set(name, () => {
        end();
        agent.end();
        place.remove();
      });
    }
    model.set({ opened: [...opened.keys()] });
  };
  ends.push(servicePanel(model, whole, open), model.end, () => opened.forEach((end) => end()));
}

export default { render };
