// The client library of this image: served at /<uuid>/client.js, so that page and container have
// the same version. An ES module without dependencies, for browsers and other runtimes with a
// global WebSocket and fetch; elsewhere pass the option `WebSocket`. The npm package in clients/js
// contains this file.
//
//   connect(url, options)               one connection to one container
//   follow(dispatcherUrl, options)      one feed over any number of connections and containers

export const version = "0.1.0";

const CLOSE_NORMAL = 1000;
const OPEN = 1; // readyState

// Connect to a session. `url` is that of the dispatcher's answer (ws://host:port/<uuid>).
//
//   cursor     resume after it; by default the feed begins with new records
//   WebSocket  a class like the browsers', for runtimes without a global one (that of package `ws`)
//   onHello    ({session, app, revision, feed, graceSeconds, cursor})
//   onRecords  (records, cursor)  each {data, partitionKey, sequenceNumber, arrivedAt}
//   onGap      ({shards, cursor})  history that the cursor refers to is missing
//   onMessage  (message)  from the session app
//   onBye      ({reason, cursor, detail})  the container is about to close
//   onClose    ({code, reason, wasClean, opened, bye, cursor})  always the last call
//
// Returns {send(object), close(), cursor, state, url}: `state` is "connecting", "open", "closing" or
// "closed", `cursor` the latest one seen. An exception in a handler is reported and has no other effect.
export function connect(url, options = {}) {
  const { onHello, onRecords, onGap, onMessage, onBye, onClose } = options;
  let cursor = options.cursor || null;
  let state = "connecting";
  let opened = false;
  let bye = null;

  const target = new URL(url);
  if (cursor) target.searchParams.set("cursor", cursor);
  const Socket = options.WebSocket ?? globalThis.WebSocket;
  if (!Socket) throw new Error("no WebSocket here: use Node.js 22, or the option WebSocket with the class of package ws");
  const socket = new Socket(target.href);

  function receive(message) {
    if (typeof message.cursor === "string") cursor = message.cursor;
    switch (message.type) {
      case "hello":
        return call(onHello, message);
      case "records":
        return call(onRecords, message.records, message.cursor);
      case "gap":
        return call(onGap, message);
      case "app":
        return call(onMessage, message);
      case "bye":
        bye = message;
        return call(onBye, message);
      default:
        return undefined; // of a later version: ignored
    }
  }

  socket.onopen = () => {
    opened = true;
    if (state === "connecting") state = "open";
  };
  socket.onmessage = (event) => {
    let message;
    try {
      message = JSON.parse(event.data);
    } catch (error) {
      console.error("session client: a message is not JSON", error);
      return;
    }
    receive(message);
  };
  function closed({ code = 1006, reason = "", wasClean = false }) {
    if (state === "closed") return;
    state = "closed";
    call(onClose, { code, reason, wasClean, opened, bye, cursor });
  }
  socket.onclose = closed;
  // A close event follows, except in Node.js 20 after a failed handshake.
  socket.onerror = () => opened || setTimeout(closed, 0, {});

  return {
    get cursor() {
      return cursor;
    },
    get state() {
      return state;
    },
    get url() {
      return url;
    },
    // Send to the session app. False if the connection is not open: nothing was sent.
    send(object) {
      if (socket.readyState !== OPEN) return false;
      socket.send(JSON.stringify({ ...object, type: "app" }));
      return true;
    },
    close() {
      if (state === "closed") return;
      state = "closing";
      socket.close(CLOSE_NORMAL);
    },
  };
}

// Follow a feed: request a container from the dispatcher, connect, and after each lost connection
// resume after the last record, in the same container during its grace period, else in a new one.
// Each record is delivered exactly once; onGap reports missing history.
//
// `dispatcherUrl` is that of GET /session, with its query (…/session?app=listings). Options are
// those of `connect`, without onClose, and
//
//   session     an answer of the dispatcher: the first container
//   headers     for the dispatcher, {"X-Api-Key": …}; or a function that returns or promises them
//   rejoin      milliseconds for which the same container is tried again after an interruption;
//               0: never. By default its grace period, and at most 5000
//   again       reasons of a bye after which the feed continues: "stopped", "expired",
//               "disconnected", "app_failed"
//   onSession   (session)  the dispatcher returned a container
//   onState     (state)  {phase, attempt, seconds, error, bye, cursor, pending}, whenever it changes:
//               "asking"      requests a container; `pending` is {id, state} while it has no address
//               "joining"     connecting to one
//               "live"        the container said hello
//               "waiting"     for `seconds` before the next try (429, 503, no answer, lost connection)
//               "offline"     the device has no network; or the page is in the browser's
//                             back/forward cache
//               "ended"       after close(), a refusal or a final bye; always the last
//
// Returns {send(object), close(), retry(), cursor, phase, session}. `retry` ends a wait. App messages
// reach the present container only: send what each container needs in onHello.
export function follow(dispatcherUrl, options = {}) {
  return new Following(new URL(dispatcherUrl, globalThis.location?.href), options).begin();
}

const REJOIN_MS = 5000;
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 30000;
const ASK_TIMEOUT_MS = 32000;
const HELLO_TIMEOUT_MS = 15000;
const STEADY_MS = 5000; // a connection that lasted this long resets the count of failures
const LOOK_MS = 5000;
const FROZEN_MS = 40000; // after this time a container disconnects a client that answers no pings
const ASLEEP_MS = 120000; // timers of a hidden tab run once a minute: a longer pause means sleep
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);
const FINAL = new Set(["stopped", "expired", "disconnected", "app_failed"]);

class Following {
  #dispatcher;
  #options;
  #connection = null;
  #session = null;
  #cursor;
  #phase = null;
  #key = newKey();
  #attempt = 0; // failures in a row
  #graceMs = REJOIN_MS; // the container's grace period, if known
  #droppedAt = null; // monotonic time since which the previous container is tried again
  #wake = null; // ends a pause
  #asking = null;
  #isAway = false; // the page is in the back/forward cache
  #unlisten = () => {};

  constructor(dispatcher, options) {
    this.#dispatcher = dispatcher;
    this.#options = options;
    this.#cursor = options.cursor || null;
    this.#session = options.session || null;
  }

  begin() {
    this.#listen();
    this.#run().catch((error) => this.#end({ error }));
    const self = this;
    return {
      get cursor() {
        return self.#cursor;
      },
      get phase() {
        return self.#phase;
      },
      get session() {
        return self.#session;
      },
      send: (object) => self.#phase === "live" && self.#connection.send(object),
      retry: () => self.#wake?.(),
      close: () => self.#end({}),
    };
  }

  get #ended() {
    return this.#phase === "ended";
  }

  async #run() {
    while (!this.#ended) {
      await this.#untilOnline();
      const session = this.#session ?? (await this.#ask());
      if (this.#ended) return;
      if (!session) continue;
      this.#session = session;
      this.#droppedAt ??= performance.now();
      const close = await this.#join(session);
      if (this.#ended) return;
      await this.#afterClose(close);
    }
  }

  async #afterClose({ bye, liveAt }) {
    const reason = bye?.reason;
    if (FINAL.has(reason) && !this.#options.again?.includes(reason)) {
      this.#end({ bye });
      return;
    }
    const now = performance.now();
    if (liveAt !== null) {
      this.#droppedAt = now;
      if (now - liveAt > STEADY_MS) this.#attempt = 0;
    }
    const rejoin = this.#options.rejoin ?? Math.min(REJOIN_MS, this.#graceMs);
    if (reason || now - this.#droppedAt >= rejoin) this.#leave();
    if (liveAt !== null && !reason && this.#attempt === 0) {
      this.#attempt = 1; // most interruptions are short: the first try has no pause
      return;
    }
    await this.#pause({ bye });
  }

  // Give the container up: a new key makes the next request return another one.
  #leave() {
    this.#session = null;
    this.#droppedAt = null;
    this.#graceMs = REJOIN_MS;
    this.#key = newKey();
  }

  // A session with an address, or null if the request is to be repeated.
  async #ask() {
    this.#tell("asking");
    let place = new URL(this.#dispatcher);
    let headers = { "Idempotency-Key": this.#key };
    while (!this.#ended) {
      let response;
      let body;
      try {
        [response, body] = await this.#fetch(place, headers);
      } catch (error) {
        await this.#pause({ error });
        return null;
      }
      if (this.#ended) return null;
      if (body.url) {
        call(this.#options.onSession, body);
        return body;
      }
      const told = Number(body.retryAfter ?? response.headers.get("Retry-After"));
      const seconds = told > 0 ? Math.min(told, LONGEST_PAUSE_MS / 1000) : null;
      if (!response.ok || !body.id) {
        await this.#refused(response, body, seconds);
        return null;
      }
      if (/^(ENDED|STOPPING)$/.test(body.state)) {
        this.#leave();
        await this.#pause({ error: { code: body.reason, message: body.detail } });
        return null;
      }
      this.#tell("asking", { pending: { id: body.id, state: body.state } });
      place = new URL(`sessions/${encodeURIComponent(body.id)}`, this.#dispatcher);
      headers = {};
      await this.#sleep((seconds ?? 1) * 1000);
    }
    return null;
  }

  async #refused(response, body, seconds) {
    const error = { status: response.status, code: body.error?.code, message: body.error?.message };
    if (TEMPORARY.has(response.status)) await this.#pause({ error, seconds });
    else this.#end({ error });
  }

  async #fetch(place, headers) {
    const given = this.#options.headers;
    const own = typeof given === "function" ? await given() : given;
    this.#asking = new AbortController();
    const timer = setTimeout(() => this.#asking?.abort(), ASK_TIMEOUT_MS);
    try {
      const response = await fetch(place, {
        headers: { ...own, ...headers },
        cache: "no-store",
        redirect: "error", // fetch would send X-Api-Key to another origin
        signal: this.#asking.signal,
      });
      return [response, await response.json().catch(() => ({}))];
    } finally {
      clearTimeout(timer);
      this.#asking = null;
    }
  }

  // Resolves when the connection is closed.
  #join(session) {
    this.#tell("joining");
    return new Promise((resolve) => {
      let liveAt = null;
      const { onHello, onRecords, onGap, onMessage, onBye } = this.#options;
      // Records of a connection that was given up are ignored: they are delivered again.
      const current = (handler) => (...values) => {
        if (this.#ended || this.#connection !== connection) return;
        this.#cursor = connection.cursor ?? this.#cursor;
        handler(...values);
      };
      const over = (close) => {
        clearTimeout(timer);
        if (this.#connection === connection) this.#connection = null;
        resolve({ bye: close.bye, liveAt });
      };
      const connection = connect(session.url, {
        cursor: this.#cursor,
        WebSocket: this.#options.WebSocket,
        onHello: current((hello) => {
          liveAt = performance.now();
          this.#graceMs = (hello.graceSeconds ?? Infinity) * 1000;
          clearTimeout(timer);
          this.#tell("live");
          call(onHello, hello);
        }),
        onRecords: current((records, cursor) => call(onRecords, records, cursor)),
        onGap: current((gap) => call(onGap, gap)),
        onMessage: current((message) => call(onMessage, message)),
        onBye: current((bye) => call(onBye, bye)),
        onClose: over,
      });
      this.#connection = connection;
      const timer = setTimeout(() => this.#giveUp(over), HELLO_TIMEOUT_MS);
      this.#drop = () => this.#giveUp(over);
    });
  }

  #drop = () => {};

  // The close of a dead connection may take minutes: do not wait for it.
  #giveUp(over) {
    const connection = this.#connection;
    if (connection === null) return;
    this.#connection = null;
    connection.close();
    over({ bye: null });
  }

  async #pause({ error, bye, seconds = null }) {
    if (this.#ended) return;
    this.#attempt += 1;
    const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#attempt - 1, 16));
    // Clients that were refused together must not return together.
    const milliseconds = Math.max(ceiling * (0.5 + Math.random() / 2), (seconds ?? 0) * 1000);
    this.#tell("waiting", { seconds: milliseconds / 1000, error, bye });
    await this.#sleep(milliseconds);
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  async #untilOnline() {
    if (!this.#isAway && globalThis.navigator?.onLine !== false) return;
    this.#tell("offline");
    await this.#sleep(LONGEST_PAUSE_MS);
  }

  // These events report sleep, a new network and a return at once; sockets notice them late.
  #listen() {
    if (typeof globalThis.addEventListener !== "function") return;
    const wake = () => this.#wake?.();
    const offline = () => this.#drop();
    const shown = () => globalThis.document?.visibilityState === "visible" && wake();
    const left = (event) => {
      if (!event.persisted) return; // it is discarded, and the browser closes the connection
      this.#isAway = true;
      this.#drop();
    };
    const returned = () => {
      this.#isAway = false;
      wake();
    };
    // After a long freeze a connection may be dead although it looks open.
    let frozenAt = null;
    const freeze = () => {
      frozenAt = Date.now();
    };
    const resume = () => {
      if (frozenAt !== null && Date.now() - frozenAt > FROZEN_MS) this.#drop();
      frozenAt = null;
      wake();
    };
    let looked = Date.now();
    const clock = setInterval(() => {
      const slept = Date.now() - looked > ASLEEP_MS;
      looked = Date.now();
      if (slept) this.#drop(); // the container has disconnected this client meanwhile
    }, LOOK_MS);
    globalThis.addEventListener("online", wake);
    globalThis.addEventListener("pageshow", returned);
    globalThis.addEventListener("pagehide", left);
    globalThis.addEventListener("offline", offline);
    globalThis.document?.addEventListener("visibilitychange", shown);
    globalThis.document?.addEventListener("freeze", freeze);
    globalThis.document?.addEventListener("resume", resume);
    this.#unlisten = () => {
      clearInterval(clock);
      globalThis.removeEventListener("online", wake);
      globalThis.removeEventListener("pageshow", returned);
      globalThis.removeEventListener("pagehide", left);
      globalThis.removeEventListener("offline", offline);
      globalThis.document?.removeEventListener("visibilitychange", shown);
      globalThis.document?.removeEventListener("freeze", freeze);
      globalThis.document?.removeEventListener("resume", resume);
    };
  }

  #tell(phase, { seconds = null, error = null, bye = null, pending = null } = {}) {
    if (this.#ended) return;
    this.#phase = phase;
    const { attempt, cursor } = { attempt: this.#attempt, cursor: this.#cursor };
    call(this.#options.onState, { phase, attempt, seconds, error, bye, cursor, pending });
  }

  #end({ error = null, bye = null }) {
    if (this.#ended) return;
    this.#unlisten();
    this.#tell("ended", { error, bye });
    this.#asking?.abort();
    this.#connection?.close();
    this.#wake?.();
  }
}

function call(handler, ...values) {
  if (!handler) return;
  try {
    handler(...values);
  } catch (error) {
    console.error("session client: a handler failed", error);
  }
}

// crypto.randomUUID is missing on plain http beyond localhost.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
