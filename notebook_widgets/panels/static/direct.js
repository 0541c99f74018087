// The service without the kernel: by its address, or through the notebook server, with a key of this page's own.
//
// The key comes in a message of the kernel's and stays in a variable here: neither the notebook nor the widget's saved
// state ever holds it.

import { waysTo } from "./api_link.js";

const GIVES_UP_MS = 5000;
const FINDS_WITHIN_MS = 1500;

/** What can be pressed without the kernel: its path below the API, and its body. */
export const ROUTES = {
  "stop-everything": () => ["queue/abort", { reason: "Stop everything was pressed in a panel" }],
  "resume-queue": () => ["queue/resume"],
  "destroy-environment": () => ["queue/destroy-environment"],
  approve: ({ id, point }) => [`suggestions/${id}/approve`, point ? { point: numbers(point) } : {}],
  reject: ({ id }) => [`suggestions/${id}/reject`, {}],
  ...Object.fromEntries(["start", "pause", "resume", "stop", "restart"].map((command) => [command, ({ name }) => [`agents/${encodeURIComponent(name)}/${command}`]])),
};

/** A client of the service that knows no address and no key until it `learn`s them. */
export function direct() {
  let way = null;
  let base = null;

  const ask = async (at, path, { body, method = "GET", within = GIVES_UP_MS } = {}) => {
    const headers = { Authorization: `Apikey ${way.key}` };
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(`${at}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(within) });
    const said = await answer.json(); // a page of somebody else's is no JSON
    if (answer.ok) return said;
    throw Object.assign(new Error(said.detail ?? answer.statusText), { answered: "code" in said });
  };
  const find = async () => {
    if (!way) return null;
    for (const at of new Set([base, ...waysTo(way.url)])) {
      if (!at) continue;
      try {
        const status = await ask(at, "service", { within: FINDS_WITHIN_MS });
        if (!status.scopes) continue;
        base = at;
        return status;
      } catch {
        // not this way, or not any more
      }
    }
    base = null;
    return null;
  };
  return {
    find,
    found: () => base !== null,
    learn: (told) => {
      const known = way?.key === told.key && base !== null;
      way = told;
      if (!known) find(); // tried while all is well: when it is not, a person must not wait
    },
    get: (path) => ask(base, path),
    act: async ({ action, ...content }) => {
      if (base === null && !(await find())) throw new Error("no way");
      const [path, body] = ROUTES[action](content);
      return ask(base, path, { method: "POST", body });
    },
  };
}

function numbers(point) {
  return Object.fromEntries(Object.entries(point).map(([name, value]) => [name, Number(value)]));
}
