// One visit: from asking for a container to leaving it. Tells its story as events, touches no DOM.

import { askForSession, libraryUrl, newKey, pause, Refusal } from "./dispatcher.js";

const TRIES = 4;
const PAUSE_SECONDS = 0.4;

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
      const { connect } = await this.#library();
      this.#join(connect, TRIES);
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

  #join(connect, triesLeft) {
    this.#given.signal.throwIfAborted();
    this.#connection = connect(this.#session.url, {
      cursor: this.startCursor ?? undefined,
      onHello: (hello) => {
        this.#live = true;
        this.report({ phase: "live", hello });
      },
      onRecords: (records) => this.onRecords(records),
      onGap: (gap) => this.report({ phase: "gap", gap }),
      onClose: (close) => {
        const again = !close.opened && !this.#left && triesLeft > 1;
        if (again) setTimeout(() => this.#joinAgain(connect, triesLeft - 1), PAUSE_SECONDS * 1000);
        else this.#closed(close);
      },
    });
  }

  #joinAgain(connect, triesLeft) {
    if (this.#left) this.#closed({ code: null, bye: null });
    else this.#join(connect, triesLeft);
  }

  #closed({ code, bye }) {
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
