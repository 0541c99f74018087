// By which address this page reaches the service without the kernel: its own, or through the notebook server.

import { waysTo } from "./api_link.js";

const FINDS_WITHIN_MS = 1500;

/** The first address that answers to `key` of the service at `url`, `last` tried before the others; or null. */
export async function wayTo({ url, key }, last) {
  for (const base of new Set([last, ...waysTo(url)].filter(Boolean))) {
    try {
      const headers = { Authorization: `Apikey ${key}` };
      const answer = await fetch(`${base}/api/v1/service`, { headers, cache: "no-store", signal: AbortSignal.timeout(FINDS_WITHIN_MS) });
      if (answer.ok && (await answer.json()).scopes) return base;
    } catch {
      // not this way, or not any more
    }
  }
  return null;
}
