// The inbox of all agents.

import { h, say } from "./dom.js";
import { begin, foot, notices, stopper } from "./frame.js";
import { inboxTable, waiting } from "./inbox.js";

function render({ model: raw, el }) {
  const panel = begin(raw, el, look);
  const { model } = panel;
  const halt = stopper(model, panel);
  const inbox = inboxTable(model);
  const count = h("span", { class: "as-count" });
  panel.root.append(
    h("header", { class: "as-head" },
      h("div", { class: "as-title" }, h("h3", {}, "Inbox"), count),
      h("div", { class: "as-commands" }, halt.stop)),
    halt.strip,
    ...notices(model, panel),
    h("div", { class: "as-pane as-lined" }, inbox.element),
    foot(model, panel));
  panel.on(["inbox"], () => {
    const items = model.get("inbox");
    count.hidden = !items.length;
    say(count, String(items.length));
    inbox.show(items, null, "Nothing waits for approval.");
  });
  panel.on(["notice"], inbox.free);
  return panel.end;
}

/** What the kernel would show, from the service itself. */
async function look(service, model) {
  const proposed = await service.get("suggestions?state=proposed&limit=1000");
  return { inbox: waiting(model.get("inbox"), proposed.items) };
}

export default { render };
