// The dispatcher's API for the pages. The key is stored in this tab only: its memory and sessionStorage.

import { parseJson } from "./text.js";

const KEY = "usher-key";
const HEADER = { api_key: "X-Api-Key", jwt: "Authorization" };
const TIMEOUT_MS = 29000;

export const base = new URL("../../", import.meta.url);
export const ROOT = document.querySelector('meta[name="usher-root"]').content;
export const mode = document.querySelector('meta[name="usher-mode"]').content;
export const stageName = document.querySelector('meta[name="usher-stage"]').content;

/** An answer other than success, in the dispatcher's words; status 0 means there was none. */
export class Refusal extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, or null
  }
}

export const session = {
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  },
  set key(key) {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  },
};

/** Whether the caller proves who they are by a secret that can be typed. */
export function asksForKey() {
  return mode in HEADER;
}

/** One request. Resolves with the body; rejects with a Refusal, or the signal's reason. */
export async function call(method, path, options = {}) {
  return (await exchange(method, path, options)).answer;
}

/**
 * A reader of one record, which is asked for again only where it has changed. `read(seconds)` waits so long for a change
 * on the dispatcher's side, and resolves with the record as it is then.
 */
export function conditionalReader(path, signal) {
  let tag = null, answer = null;
  return async (seconds, abort) => {
    const read = await exchange("GET", path, { tag, signal: abort ? AbortSignal.any([signal, abort]) : signal, query: tag && seconds ? { wait: String(seconds) } : {} });
    if (!read.isUnchanged) ({ tag, answer } = read);
    return answer;
  };
}

async function exchange(method, path, { query = {}, body, signal, repeatable, tag } = {}) {
  const url = new URL(path.replace(/^\//, ""), base);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const headers = {};
  if (session.key && asksForKey()) headers[HEADER[mode]] = session.key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (tag) headers["If-None-Match"] = tag;
  if (repeatable) headers["Idempotency-Key"] = repeatable;
  const patience = AbortSignal.timeout(TIMEOUT_MS);
  let response, text;
  try {
    response = await fetch(url, { method, headers, body, cache: "no-store", credentials: "omit", redirect: "error",
      signal: signal ? AbortSignal.any([signal, patience]) : patience });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "unreachable", navigator.onLine ? "The dispatcher does not answer." : "This device is offline.");
  }
  if (response.status === 304) return { isUnchanged: true };
  let answer;
  try {
    answer = parseJson(text);
  } catch {
    throw new Refusal(response.status, "no_json", `The answer (${response.status}) cannot be read.`);
  }
  if (response.ok) return { answer, tag: response.headers.get("ETag") };
  throw new Refusal(response.status, answer.error?.code ?? "", answer.error?.message ?? answer.message ?? "",
    response.headers.has("Retry-After") ? Number(response.headers.get("Retry-After")) : null);
}

/** A key that makes a repeated request the same one. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
