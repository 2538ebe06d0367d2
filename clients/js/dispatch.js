// Request a container from the dispatcher, with repetitions.

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 30000;
const ASK_TIMEOUT_MS = 32000;
const TIMEOUT_MS = 120000;
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Why there is no session. `status` is 0 where no answer came. */
export class DispatchError extends Error {
  constructor(message, { status = 0, code = "unreachable", id = null, cause } = {}) {
    super(message, { cause });
    this.name = "DispatchError";
    this.status = status;
    this.code = code;
    this.id = id;
  }
}

// Returns a session with an address: the body of the dispatcher's 200.
//
// After a 202 its Location is requested after Retry-After. Requests are repeated after 429, 503 and
// other transient errors, lost connections included, with the same Idempotency-Key, not before
// Retry-After, with backoff and jitter. Other refusals, a session that ended before it had an
// address, and the timeout throw a DispatchError; `signal` throws its own reason, and a
// session that is still coming is then stopped, so that nothing starts for nobody. With a `key`
// given it is not: others may wait for it.
//
//   headers    for the dispatcher, {"X-Api-Key": …}; or a function that returns or promises them
//   key        Idempotency-Key; a random one by default
//   timeout    milliseconds in total; 120000
//   signal     an AbortSignal that ends it
//   onState    ({phase, attempt, seconds, error, pending})  phase is "asking", "pending" or "waiting"
export async function dispatch(dispatcherUrl, options = {}) {
  const dispatcher = new URL(dispatcherUrl, globalThis.location?.href);
  const ends = Date.now() + (options.timeout ?? TIMEOUT_MS);
  const key = options.key ?? newKey();
  let place = dispatcher;
  let attempt = 0;
  tell(options, { phase: "asking", attempt });
  options.signal?.addEventListener("abort", () => {
    if (place !== dispatcher && options.key === undefined) stop(place, options);
  }, { once: true });
  for (;;) {
    options.signal?.throwIfAborted();
    let failure;
    let seconds;
    try {
      const [response, body] = await ask(place, place === dispatcher ? key : null, options, ends);
      seconds = retryAfter(response, body);
      if (body.url) {
        place = dispatcher;
        return body;
      }
      failure = problem(response, body);
      if (failure === null) {
        attempt = 0;
        place = new URL(`sessions/${encodeURIComponent(body.id)}`, dispatcher);
        const pending = { id: body.id, state: body.state };
        tell(options, { phase: "pending", attempt, seconds: seconds ?? 1, pending });
        await sleep((seconds ?? 1) * 1000, options.signal, ends, pending);
        continue;
      }
      if (!TEMPORARY.has(response.status)) throw failure;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof DispatchError) throw error;
      failure = new DispatchError(`${dispatcher.origin} does not answer`, { cause: error });
    }
    attempt += 1;
    const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 16));
    // Clients that were refused together must not return together.
    const pause = Math.max(ceiling * (0.5 + Math.random() / 2), (seconds ?? 0) * 1000);
    if (Date.now() + pause > ends) throw failure; // it would only be refused later
    tell(options, { phase: "waiting", attempt, seconds: pause / 1000, error: failure });
    await sleep(pause, options.signal, ends, null);
  }
}

async function ask(place, key, { headers, signal }, ends) {
  const given = typeof headers === "function" ? await headers() : headers;
  const own = key === null ? {} : { "Idempotency-Key": key };
  const limit = AbortSignal.timeout(Math.max(1, Math.min(ASK_TIMEOUT_MS, ends - Date.now())));
  const response = await fetch(place, {
    headers: { ...given, ...own },
    cache: "no-store",
    redirect: "error", // fetch would send X-Api-Key to another origin
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  });
  return [response, await response.json().catch(() => ({}))];
}

// Nobody waits for the answer, and a page that is closed sends it all the same. Unsent, the session
// ends at its deadline in the queue, or as its client never connects.
async function stop(place, { headers }) {
  try {
    const given = typeof headers === "function" ? await headers() : headers;
    await fetch(place, { method: "DELETE", headers: given, keepalive: true, redirect: "error" });
  } catch (error) {
    console.debug("the session that nobody waits for was not stopped", error);
  }
}

function retryAfter(response, body) {
  const told = Number(body.retryAfter ?? response.headers.get("Retry-After"));
  return told > 0 ? told : null;
}

// Null while the session has no address.
function problem(response, body) {
  const { status } = response;
  const { id = null } = body;
  if (/^(ENDED|STOPPING)$/.test(body.state)) {
    const why = body.detail ? `: ${body.detail}` : "";
    return new DispatchError(`the session ended (${body.reason})${why}`, { status, code: body.reason, id });
  }
  if (response.ok && id) return null;
  const { code = "unknown", message = `HTTP ${status}` } = body.error ?? {};
  return new DispatchError(message, { status, code, id });
}

function sleep(milliseconds, signal, ends, pending) {
  if (pending && Date.now() + milliseconds > ends) {
    throw new DispatchError(`still ${pending.state} when the time was up`, { code: "timeout", id: pending.id });
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(over, milliseconds);
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    function over() {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

function tell({ onState }, { seconds = null, error = null, pending = null, ...rest }) {
  onState?.({ ...rest, seconds, error, pending });
}

// crypto.randomUUID is missing on plain http beyond localhost.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
