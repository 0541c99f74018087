// The service itself: what it does, what is wrong, where its data go, and what this key may do.

import { button, h, say } from "./dom.js";
import { badge, lagText } from "./frame.js";
import { permissionElement } from "./notices.js";
import { sourceText } from "./service_panel.js";

const SCOPES = [
  ["read", "look at agents, suggestions and history"],
  ["propose", "propose a point to an agent, with a reason: it waits for somebody who may approve"],
  ["control", "create, change, start and stop agents; pause and resume the queue; stop everything"],
  ["approve", "approve and reject suggestions, go to a best point, loosen limits"],
  ["admin", "run code that a request names"],
];

/** Draw it in `el`, from the values of `model`; `leave()` logs out. Returns what ends that. */
export function serviceView(model, el, leave) {
  const lists = h("div", {});
  const asks = permissionElement();
  const draw = () => {
    const service = model.get("service");
    if (!service.version) return;
    const { queue, archive } = service;
    const scopes = new Set(service.scopes);
    lists.replaceChildren(
      section("Service", [
        ["version", service.version],
        ["since", new Date(service.started_at).toLocaleString()],
        ["state directory", service.state_dir],
        ["faults", service.faults.length ? h("span", { class: "as-bad" }, service.faults.join("; ")) : "none"],
      ]),
      section("What moves", [
        ["queue", [badge(queue.state), ` ${queue.reason ?? ""}`]],
        ["plans go to", queue.kind.replaceAll("_", " ")],
        ["plans that wait", String(queue.pending)],
        ...service.conditions.map((condition) => [`condition ${condition.name}`, condition.text]),
      ]),
      section("Data", [
        ["catalogue", [...new Set([archive.catalog, archive.state])].filter(Boolean).join(", ")],
        ["lag", lagText(archive)],
        ...service.sources.map((source) => [`documents ${source.kind === "posted" ? "that are posted" : `from ${source.kind.replaceAll("_", " ")}`}`, [badge(source.state), ` ${sourceText(source)}`]]),
        ...(service.suspects.length ? [["runs not whole", String(service.suspects.length)]] : []),
      ]),
      h("section", {}, h("h2", {}, "Keys"),
        h("p", {}, "You are logged in with the key ", h("b", {}, service.key), ", which may do what is marked. Others are made on the machine of the service: ",
          h("code", {}, "agent-service keys create NAME --scopes read,control,approve"), "; ", h("code", {}, "agent-service keys revoke NAME"), " ends one, and whoever is logged in with it."),
        h("ul", { class: "as-scopes" }, SCOPES.map(([name, meaning]) => h("li", {}, h("span", { class: scopes.has(name) ? "as-has" : "as-lacks" }, scopes.has(name) ? "✓ yes" : "– no"), h("b", {}, name), h("span", {}, meaning)))),
        h("div", { class: "as-row" }, button("Log out", leave))),
      h("section", {}, h("h2", {}, "Notifications"), asks));
  };
  const lost = h("div", { class: "as-strip as-warn", role: "alert" });
  const link = () => {
    const { state, message } = model.get("link");
    lost.hidden = state === "live" || !message;
    say(lost, message);
  };
  model.on("change:service", draw);
  model.on("change:link", link);
  el.replaceChildren(h("div", { class: "as-panel as-service" }, lost, lists));
  draw();
  link();
  return () => {
    model.off("change:service", draw);
    model.off("change:link", link);
  };
}

function section(title, rows) {
  return h("section", {}, h("h2", {}, title), h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}
