// One visit: from asking for a container to leaving it. Tells its story as events, touches no DOM.

import { askForSession, libraryUrl, newKey, Refusal } from "./dispatcher.js";

/**
 * `report` is told one object per turn, its `phase` being one of
 *   asking, queued, starting, retrying   on the way (see dispatcher.js)
 *   joining {session, took}              there is an address, `took` ms after asking
 *   live {hello}                         the container said hello
 *   gap {gap}                            part of the history is gone
 *   over {bye, code, left, cursor}       after it was live; `left` when this side closed
 *   failed {refusal, cursor}             it never became live
 * and `onRecords` gets each batch of records. `over` and `failed` are the last words.
 */
export class Visit {
  #given = new AbortController();
  #connection = null;
  #session = null;
  #id = null;
  #live = false;
  #left = false;
  #ended = false;

  constructor({ base, app, cursor, report, onRecords }) {
    this.base = base;
    this.app = app;
    this.startCursor = cursor ?? null;
    this.report = (turn) => {
      this.#id = turn.id ?? turn.session?.id ?? this.#id;
      report(turn);
    };
    this.onRecords = onRecords;
  }

  /** Where to resume: just after the last record that was received, in any container. */
  get cursor() {
    return this.#connection?.cursor ?? this.startCursor;
  }

  async begin() {
    const asked = performance.now();
    const { base, app, report } = this;
    try {
      const signal = this.#given.signal;
      this.#session = await askForSession({ base, app, key: newKey(), signal, report });
      const took = performance.now() - asked;
      report({ phase: "joining", session: this.#session, took });
      await this.#join();
    } catch (error) {
      if (this.#given.signal.aborted) this.#end({ phase: "over", left: true, bye: null, code: null });
      else if (error instanceof Refusal) this.#end({ phase: "failed", refusal: error });
      else throw error;
    }
  }

  /** Leave: give up asking, or close the connection. The last report follows. */
  leave() {
    this.#left = true;
    if (this.#connection) {
      this.#connection.close();
      return;
    }
    this.#given.abort(new DOMException("left", "AbortError"));
    if (this.#id) this.#giveBack();
  }

  /** Stop a session nobody will come to. Should this fail, its own deadline ends it. */
  #giveBack() {
    const place = new URL(`sessions/${encodeURIComponent(this.#id)}`, this.base);
    fetch(place, { method: "DELETE", keepalive: true }).catch((error) => console.info("not given back", error));
  }

  async #join() {
    const { connect } = await this.#library();
    this.#given.signal.throwIfAborted();
    this.#connection = connect(this.#session.url, {
      cursor: this.startCursor ?? undefined,
      onHello: (hello) => {
        this.#live = true;
        this.report({ phase: "live", hello });
      },
      onRecords: (records) => this.onRecords(records),
      onGap: (gap) => this.report({ phase: "gap", gap }),
      onClose: (close) => this.#closed(close),
    });
  }

  /** The client library of this very container; a second try, for networks that need one. */
  async #library() {
    const url = libraryUrl(this.#session.url);
    try {
      return await import(url.href);
    } catch (firstError) {
      url.hash = "again"; // a module that failed to load is remembered by its address
      try {
        return await import(url.href);
      } catch {
        throw new Refusal({
          title: "Your container does not answer.",
          text: `It was given to you at ${this.#session.ip}:${this.#session.port}, but its client library could not be loaded (${firstError.message}).`,
          code: "unreachable_container",
        });
      }
    }
  }

  #closed(close) {
    const { code, bye } = close;
    if (this.#live || this.#left) {
      this.#end({ phase: "over", left: this.#left, bye, code });
      return;
    }
    const refusal = new Refusal({
      title: "Your container closed the door.",
      text: `The websocket ended before the container said hello (code ${code}).`,
      code: "refused_by_container",
    });
    this.#end({ phase: "failed", refusal });
  }

  #end(last) {
    if (this.#ended) return;
    this.#ended = true;
    this.report({ ...last, cursor: this.cursor });
  }
}
