// A service that the page reaches itself: requests by fetch, its event stream read as it comes.

const GATHER_MS = 100; // least time between two updates
const SERVICE_MS = 2000; // the service's own status is no older when something happens
const SILENT_MS = 3000; // a stream that is silent so long: does the service still answer?
const ANSWERS_MS = 2000;
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5000;
const JOB_WAIT_S = 10;

/** What the service refuses; `answered` tells it from a connection that failed. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the service answered ${status}`);
    Object.assign(this, { status, answered: "code" in problem, problem, errors: problem.errors, traceback: problem.traceback });
  }
}

/**
 * The service at `base` (its API is below `/api/v1`) for whoever holds `key`. `onRefused` is called when it takes the key no
 * more; a model's `follow` begins the stream, and the last `end` ends it.
 */
export function webSource({ base, key, onRefused = () => {}, where = base }) {
  const followers = new Set();
  let link = { state: "connecting", message: "", url: where };
  let [stream, events, stale, due, lastSeq, askedAt] = [null, [], false, null, null, 0];

  const headers = (more = {}) => ({ Authorization: `Apikey ${key}`, ...more });

  async function call({ method = "GET", path, body = null, within = 0, prefer = null }) {
    const more = { ...(body && { "Content-Type": "application/json" }), ...(prefer && { Prefer: prefer }) };
    const signal = within ? AbortSignal.timeout(within) : undefined;
    const answer = await fetch(`${base}/api/v1/${path}`, { method, headers: headers(more), body: body && JSON.stringify(body), cache: "no-store", signal });
    const content = answer.status === 204 ? null : await answer.json(); // a page of somebody else's is no JSON
    if (!answer.ok) throw new Refusal(answer.status, content);
    return { status: answer.status, content };
  }

  /** The answer to a request; one that takes long is waited for. */
  async function ask(request) {
    const { status, content } = await call(request);
    if (status !== 202) return content;
    let job = content;
    while (!job.finished_at) job = (await call({ path: `jobs/${job.id}`, prefer: `wait=${JOB_WAIT_S}` })).content;
    if (job.problem) throw new Refusal(job.problem.status, job.problem);
    return job.result;
  }

  function become(state, message = "") {
    link = { state, message, url: where };
    followers.forEach((follower) => follower.take({ link }));
  }

  function gather(event) {
    if (event) events.push(event);
    due ??= setTimeout(update, GATHER_MS);
  }

  async function update() {
    const [gathered, anew] = [events, stale];
    [events, stale] = [[], false];
    const at = Date.now();
    const all = new Set([...followers].flatMap((follower) => follower.paths));
    if (!anew && at - askedAt < SERVICE_MS && !gathered.some((event) => event.agent === null)) all.delete("service");
    if (all.has("service")) askedAt = at;
    const answers = {};
    try {
      await Promise.all([...all].map(async (path) => {
        try {
          answers[path] = await ask({ path });
        } catch (error) {
          if (error.status !== 404) throw error;
          answers[path] = { problem: error.problem };
        }
      }));
      const eventsOf = ({ agent }) => gathered.filter((event) => !agent || !event.agent || event.agent === agent);
      followers.forEach((follower) => follower.take({ link, events: eventsOf(follower), answers, stale: anew }));
    } catch (error) {
      if (error.status === 401) onRefused(error);
      stale = true; // asked again with what comes next, or when the stream is back
      if (stream) setTimeout(gather, 1000);
    }
    due = null;
    if (stream && events.length) gather();
  }

  async function listen(signal) {
    let delay = FIRST_DELAY_MS;
    while (!signal.aborted) {
      try {
        await read(signal);
        delay = FIRST_DELAY_MS;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 401 || error.status === 403) {
          become("refused", error.message);
          onRefused(error);
          delay = LONGEST_DELAY_MS;
        } else {
          delay = link.state === "live" ? FIRST_DELAY_MS : Math.min(2 * delay, LONGEST_DELAY_MS);
          become("reconnecting", error.answered ? error.message : "The service does not answer; it is asked again.");
        }
      }
      await new Promise((go) => { setTimeout(go, delay); });
    }
  }

  async function read(signal) {
    const quiet = new AbortController();
    const watch = watchSilence(quiet);
    try {
      const more = { Accept: "text/event-stream", ...(lastSeq !== null && { "Last-Event-ID": String(lastSeq) }) };
      const answer = await fetch(`${base}/api/v1/events`, { headers: headers(more), cache: "no-store", signal: AbortSignal.any([signal, quiet.signal]) });
      if (!answer.ok) throw new Refusal(answer.status, await answer.json());
      for await (const piece of pieces(answer.body)) {
        watch.heard();
        take(piece);
      }
    } finally {
      watch.end();
    }
    if (!signal.aborted) throw new Error("the stream ended");
  }

  /** End a stream that is silent while the service does not answer. */
  function watchSilence(quiet) {
    let at = Date.now();
    const timer = setInterval(async () => {
      if (Date.now() - at < SILENT_MS) return;
      at = Date.now();
      try {
        await fetch(`${base}/healthz`, { cache: "no-store", signal: AbortSignal.timeout(ANSWERS_MS) });
      } catch {
        quiet.abort();
      }
    }, 500);
    return { heard: () => { at = Date.now(); }, end: () => clearInterval(timer) };
  }

  function take({ id, data }) {
    const event = JSON.parse(data);
    if (event.kind === "reset") lastSeq = null;
    if (id !== null) lastSeq = id;
    if (link.state !== "live") {
      stale = true;
      become("live");
    }
    if (event.kind === "reset" || event.kind === "service.state") stale = true;
    if (event.kind !== "heartbeat" || stale) gather(event.kind === "heartbeat" ? null : event);
  }

  return {
    ask,
    call,
    get link() { return link; },
    follow: ({ agent = null, paths, take: tell }) => {
      const follower = { agent, paths, take: tell };
      followers.add(follower);
      tell({ link });
      if (!stream) {
        stream = new AbortController();
        listen(stream.signal);
      } else if (link.state === "live") {
        stale = true;
        gather();
      }
      return () => {
        followers.delete(follower);
        if (followers.size) return;
        stream?.abort();
        [stream, lastSeq] = [null, null];
        clearTimeout(due);
        due = null;
        link = { ...link, state: "connecting" };
      };
    },
    press: async (request, show) => {
      const slow = setTimeout(() => show("wait", `${request.title}: not done after 2 s; the answer is waited for.`), ANSWERS_MS);
      try {
        const answer = await ask(request);
        gather();
        return { answer };
      } catch (error) {
        if (error.status === 401) onRefused(error);
        throw error.answered ? error : new Error(`${request.title} was not done: the service does not answer.`);
      } finally {
        clearTimeout(slow);
      }
    },
    apiPage: () => `${base}/docs`,
    blocked: (action) => (link.state === "live" || action === "stop-everything" ? "" : "Not while the service does not answer"),
  };
}

/** The events of a stream of server-sent events, as `{id, data}`. */
export async function* pieces(body) {
  const decoder = new TextDecoder();
  let text = "";
  const reader = body.getReader();
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = block.split("\n").map((line) => /^(\w+): ?(.*)$/.exec(line)).filter(Boolean);
      const data = fields.filter(([, name]) => name === "data").map(([, , rest]) => rest).join("\n");
      const id = fields.find(([, name]) => name === "id")?.[2];
      if (data) yield { id: id === undefined ? null : Number(id), data };
    }
  }
}
