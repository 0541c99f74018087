// Where this browser finds a service's API page; null when it cannot reach it.
//
// A service on loopback is on the notebook server's machine. Only trying tells whether that server can pass requests on
// (jupyter-server-proxy): behind JupyterHub and Binder, and through a tunnel to one port, there is no other way.

export async function apiPage(service) {
  const here = ["localhost", "127.0.0.1", "[::1]"];
  const target = new URL(service);
  if (!here.includes(target.hostname)) return `${target.origin}${target.pathname.replace(/\/$/, "")}/docs`;
  const told = document.getElementById("jupyter-config-data")?.textContent;
  const base = (told ? JSON.parse(told).baseUrl : document.body.dataset.baseUrl) ?? "/";
  const proxied = `${location.origin}${base.replace(/\/$/, "")}/proxy/${target.port || 80}`;
  try {
    const answer = await fetch(`${proxied}/healthz`);
    if (answer.ok && (await answer.json()).status === "ok") return `${proxied}/docs`;
  } catch {
    // no notebook server that speaks HTTP, or one that answers with a page: there is no proxy
  }
  return here.includes(location.hostname) ? `${target.origin}/docs` : null;
}
