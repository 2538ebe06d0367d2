// One session, from the request for a container to its end, over several connections and containers.
// Reports its phases as events; no DOM.

import { askForSession, libraryUrl, newKey, pause, Refusal, refused } from "./dispatcher.js";

const TRIES = 4;
const PAUSE_SECONDS = 0.4;
const OF_A_PENDING = { QUEUED: "queued", STARTING: "starting" };

/**
 * `report` is told one object per turn, its `phase` being one of
 *   asking, queued, starting, retrying   on the way to the first container (see dispatcher.js)
 *   joining {session, took}              there is an address, `took` ms after asking
 *   live {hello, again}                  the container said hello; `again` after a reconnect
 *   gap {gap}                            part of the history is gone
 *   reconnecting {stage, was, same, refusal, bye, seconds}
 *                                        by itself: `stage` is asking, queued, starting, joining,
 *                                        waiting (`seconds`) or offline; `was` whether it was live,
 *                                        `same` whether the container is the one that was left
 *   over {bye, left, cursor}             `left` when this side ended it
 *   failed {refusal, cursor}             the dispatcher or the container refused
 * and `onRecords` gets each batch of records, no record twice. `over` and `failed` are the last words.
 */
export class SessionController {
  #given = new AbortController();
  #following = null;
  #session = null;
  #pendingId = null;
  #asked = performance.now();
  #joins = 0;
  #lives = 0;
  #same = true;
  #why = {};
  #left = false;
  #ended = false;

  constructor({ base, app, cursor, report, onRecords }) {
    this.base = base;
    this.app = app;
    this.startCursor = cursor ?? null;
    this.report = (turn) => {
      this.#pendingId = turn.id ?? this.#pendingId;
      report(turn);
    };
    this.onRecords = onRecords;
  }

  /** Where to resume: just after the last record that was received, in any container. */
  get cursor() {
    return this.#following?.cursor ?? this.startCursor;
  }

  async begin() {
    const { base, app, report } = this;
    try {
      const signal = this.#given.signal;
      this.#session = await askForSession({ base, app, key: newKey(), signal, report });
      this.#pendingId = this.#session.id;
      this.#joining();
      const { follow } = await this.#library();
      signal.throwIfAborted();
      this.#follow(follow);
    } catch (error) {
      if (this.#given.signal.aborted) this.#end({ phase: "over", left: true, bye: null });
      else if (error instanceof Refusal) this.#end({ phase: "failed", refusal: error });
      else throw error;
    }
  }

  /** Leave: give up asking, or close the connection. The last report follows. */
  leave() {
    this.#left = true;
    this.#given.abort(new DOMException("left", "AbortError"));
    this.#following?.close();
    if (this.#pendingId) this.#giveBack();
  }

  /** Wait no longer for the next try. */
  retry() {
    this.#following?.retry();
  }

  /** Stop a session nobody will come to. Should this fail, its own deadline ends it. */
  #giveBack() {
    const place = new URL(`sessions/${encodeURIComponent(this.#pendingId)}`, this.base);
    fetch(place, { method: "DELETE", keepalive: true }).catch((error) => console.info("not given back", error));
  }

  /** The client library of this very container. */
  async #library() {
    const url = libraryUrl(this.#session.url);
    for (let tries = 1; ; tries += 1) {
      this.#given.signal.throwIfAborted();
      try {
        return await import(url.href);
      } catch (error) {
        if (tries === TRIES) throw this.#noLibrary(error);
      }
      url.hash = `try-${tries}`; // some browsers remember by its address what failed to load
      await pause(PAUSE_SECONDS, this.#given.signal);
    }
  }

  #noLibrary(error) {
    const { ip, port } = this.#session;
    return new Refusal({
      title: "Your container does not answer.",
      text: `It was given to you at ${ip}:${port}, but its client library could not be loaded (${error.message}).`,
      code: "unreachable_container",
    });
  }

  #follow(follow) {
    const dispatcher = new URL("session", this.base);
    if (this.app) dispatcher.searchParams.set("app", this.app);
    this.#following = follow(dispatcher.href, {
      session: this.#session,
      cursor: this.startCursor ?? undefined,
      onSession: (session) => {
        this.#session = session;
        this.#pendingId = session.id;
        this.#joining();
      },
      onHello: (hello) => {
        this.#lives += 1;
        this.#pendingId = null;
        this.#same = true;
        this.#why = {};
        this.report({ phase: "live", hello, again: this.#lives > 1 });
      },
      onRecords: (records) => this.onRecords(records),
      onGap: (gap) => this.report({ phase: "gap", gap }),
      onState: (state) => this.#turn(state),
    });
  }

  #joining() {
    this.report({ phase: "joining", session: this.#session, took: performance.now() - this.#asked });
  }

  #turn({ phase, seconds, error, bye, pending }) {
    if (phase === "live") return; // hello says more
    if (phase === "ended") {
      if (error) this.#end({ phase: "failed", refusal: refused(error) });
      else this.#end({ phase: "over", left: this.#left, bye });
      return;
    }
    if (phase === "asking") {
      this.#same = false;
      if (pending) this.#pendingId = pending.id;
      else this.#asked = performance.now();
    }
    if (error || bye) this.#why = { refusal: error ? refused(error) : null, bye };
    if (phase === "joining") this.#joins += 1;
    if (this.#joins === 1 && phase === "joining") return; // was said with the address
    const { refusal = null, bye: said = null } = this.#why;
    const stage = OF_A_PENDING[pending?.state] ?? phase;
    this.report({ phase: "reconnecting", stage, was: this.#lives > 0, same: this.#same, refusal, bye: said, seconds });
  }

  #end(last) {
    if (this.#ended) return;
    this.#ended = true;
    this.report({ ...last, cursor: this.cursor });
  }
}
