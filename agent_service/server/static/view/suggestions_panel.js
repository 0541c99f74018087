// The inbox of all agents.

import { h, say } from "./dom.js";
import { beginPanel, foot, noticeStrips, stopper } from "./frame.js";
import { inboxTable } from "./inbox.js";

/** Draw the inbox of all agents in `el`; returns what ends that. */
export function suggestionsPanel(model, el) {
  const panel = beginPanel(model, el);
  const halt = stopper(model, panel);
  const inbox = inboxTable(model);
  const count = h("span", { class: "as-count" });
  panel.root.append(
    h("header", { class: "as-head" },
      h("div", { class: "as-title" }, h("h3", {}, "Inbox"), count),
      h("div", { class: "as-commands" }, halt.stop)),
    halt.strip,
    ...noticeStrips(model, panel),
    h("div", { class: "as-pane as-lined" }, inbox.element),
    foot(model, panel));
  panel.on(["inbox", "heard"], () => {
    const items = model.get("inbox");
    count.hidden = !items.length;
    say(count, String(items.length));
    inbox.show(items, null, model.get("heard") ? "Nothing waits for approval." : "What waits is not known yet.");
  });
  panel.on(["notice"], inbox.free);
  return panel.end;
}
