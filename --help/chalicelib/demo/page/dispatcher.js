// Requests the first session from the dispatcher and waits for its address; the client library, which
// is loaded from a container, requests later ones. No DOM.

import { ending, refusal } from "./words.js";

const WAIT_SECONDS = 20; // the dispatcher accepts 25, API Gateway ends a request at 29
const MAX_RETRIES = 6;
const BLINK_SECONDS = 0.3; // browsers break off requests when a network interface comes or goes
const LONGEST_PAUSE_SECONDS = 60;
const TEMPORARY = new Set([429, 502, 503, 504]);

/** Why there is no session, in words for people; `retryAfter` in seconds where waiting helps. */
export class Refusal extends Error {
  constructor({ title, text = "", code = "", retryAfter = null }) {
    super(title);
    this.title = title;
    this.text = text;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/**
 * Resolve with the session (its `url` is where to connect) or reject with a Refusal.
 *
 * `report` is told {phase: "asking"}, {phase: "queued" | "starting", id} and, before a pause,
 * {phase: "retrying", refusal, seconds}. One key covers all attempts, so a lost answer costs no
 * second container. Abort `signal` to give up.
 */
export async function askForSession({ base, app, key, signal, report }) {
  const url = new URL("session", base);
  url.searchParams.set("wait", String(WAIT_SECONDS));
  if (app) url.searchParams.set("app", app);
  const headers = { "Idempotency-Key": key };
  report({ phase: "asking" });
  let answer = await patiently(() => call(url, { headers, signal }), { signal, report });
  while (!answer.body.url) {
    const { id, state } = answer.body;
    if (!id) throw new Refusal({ title: "The dispatcher gave an answer without a session." });
    if (/^(ended|stopping)$/i.test(state)) throw ended(answer.body);
    report({ phase: /^queued$/i.test(state) ? "queued" : "starting", id });
    await pause(pauseSeconds(answer, 1), signal);
    // Location begins at the host's root, without the stage's prefix: use the id.
    const place = new URL(`sessions/${encodeURIComponent(id)}`, base);
    answer = await patiently(() => call(place, { signal }), { signal, report });
  }
  return answer.body;
}

async function patiently(attempt, { signal, report }) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Refusal) || error.retryAfter === null) throw error;
      if (tries === MAX_RETRIES) throw error;
      if (tries === 0 && error.code === "unreachable") {
        await pause(BLINK_SECONDS, signal);
        continue;
      }
      const seconds = Math.min(Math.max(error.retryAfter, 2 ** tries), LONGEST_PAUSE_SECONDS);
      report({ phase: "retrying", refusal: error, seconds });
      await pause(seconds, signal);
    }
  }
}

async function call(url, { headers = {}, signal }) {
  let response;
  try {
    response = await fetch(url, { headers, signal, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw unreachable();
  }
  const body = await response.json().catch(() => ({}));
  const answer = { body, headers: response.headers };
  if (response.ok) return answer;
  const { status } = response;
  const retryAfter = TEMPORARY.has(status) ? pauseSeconds(answer, 2) : null;
  throw refused({ ...body.error, status }, retryAfter);
}

/**
 * What went wrong with the dispatcher, in words for people: `status` is HTTP's, `code` alone is the
 * reason of a session that ended on the way, neither means that there was no answer.
 */
export function refused({ status, code, message }, retryAfter = null) {
  if (status) return new Refusal({ title: refusal(status), text: message ?? "", code: code ?? `http_${status}`, retryAfter });
  if (typeof code === "string") return ended({ reason: code, detail: message });
  return unreachable();
}

function unreachable() {
  return new Refusal({
    title: "The dispatcher does not answer.",
    text: navigator.onLine ? "It may be down, or the network may be." : "This device is offline.",
    code: "unreachable",
    retryAfter: 1,
  });
}

function ended({ reason, detail }) {
  return new Refusal({
    title: "There is no container for you this time.",
    text: detail ? `${ending(reason)} ${detail}` : ending(reason),
    code: reason ?? "ended",
  });
}

function pauseSeconds({ body, headers }, otherwise) {
  const seconds = Number(body.retryAfter ?? headers.get("Retry-After") ?? otherwise);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, LONGEST_PAUSE_SECONDS) : otherwise;
}

/** Resolve after so many seconds, or reject as soon as the signal is aborted. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** A key no other attempt has; crypto.randomUUID is missing on plain http beyond localhost. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The client library of the container behind a ws: or wss: address. */
export function libraryUrl(url) {
  const library = new URL(url);
  library.protocol = library.protocol === "wss:" ? "https:" : "http:";
  library.pathname = `${library.pathname.replace(/\/$/, "")}/client.js`;
  library.search = "";
  return library;
}
