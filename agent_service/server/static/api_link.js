// Where this browser finds a service's API page; null when it cannot reach it.
//
// A service on loopback is on the notebook server's machine. Only trying tells whether that server can pass requests on
// (jupyter-server-proxy): behind JupyterHub and Binder, and through a tunnel to one port, there is no other way.

export async function apiPage(service) {
  const [first, straight] = waysTo(service);
  if (!onThisMachine(new URL(service))) return `${first}/docs`;
  try {
    const answer = await fetch(`${first}/healthz`);
    if (answer.ok && (await answer.json()).status === "ok") return `${first}/docs`;
  } catch {
    // no notebook server that speaks HTTP, or one that answers with a page: there is no proxy
  }
  return straight ? `${straight}/docs` : null;
}

/** By which addresses this page may reach a service: on this machine through the notebook server first. */
export function waysTo(service) {
  const target = new URL(service);
  const straight = `${target.origin}${target.pathname.replace(/\/$/, "")}`;
  if (!onThisMachine(target)) return [straight];
  const configText = document.getElementById("jupyter-config-data")?.textContent;
  const base = (configText ? JSON.parse(configText).baseUrl : document.body.dataset.baseUrl) ?? "/";
  const proxied = `${location.origin}${base.replace(/\/$/, "")}/proxy/${target.port || 80}`;
  return onThisMachine(location) ? [proxied, straight] : [proxied];
}

function onThisMachine({ hostname }) {
  return ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
}
