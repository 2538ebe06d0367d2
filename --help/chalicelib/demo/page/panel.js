// The panel: the ticket, the steps, the notice with its buttons. Shows the phases of a session.

import { BROKEN_OFF, NOT_LET_IN, ending, feedWords, milliseconds } from "./words.js";

const byId = (id) => document.getElementById(id);
const STEPS = ["asking", "queued", "starting", "joining", "live"];

const WAITING = {
  asking: ["Asking for a container …", "One GET to the dispatcher, which finds or starts a container for you."],
  queued: ["You are in the queue …", "The cluster is busy. Your container starts as soon as there is room."],
  starting: ["Your container is starting …", "It was not waiting for you: this one starts for you alone."],
  joining: ["Joining your container …", "It has an address. Its own client library is loaded from it."],
};

const RETURNING = {
  same: "The same container is tried first.",
  asking: "Another container goes on just after the last update you saw.",
  queued: "You are in the queue for another one.",
  starting: "Another one is starting for you.",
  joining: "Another one goes on just after the last update you saw.",
};

export class Panel {
  #countdown = null;

  /** `act` is called with "leave", "retry", "resume" or "fresh" when a button is pressed. */
  constructor(act) {
    this.act = act;
  }

  show(turn) {
    clearInterval(this.#countdown);
    const handler = this[`_${turn.phase}`];
    if (handler) handler.call(this, turn);
    else this.#onTheWay(turn.phase);
  }

  firstRecord(took) {
    byId("fact-first").textContent = milliseconds(took);
  }

  #onTheWay(phase) {
    const [title, text] = WAITING[phase];
    this.#pill("busy", phase === "queued" ? "In the queue" : phase === "joining" ? "Joining" : "Waiting");
    this.#step(phase);
    if (phase === "asking") this.#blank();
    byId("ticket").dataset.state = phase === "asking" ? "blank" : byId("ticket").dataset.state;
    this.#notice("busy", title, text);
    this.#buttons([["leave", "Cancel"]]);
  }

  _retrying({ refusal, seconds }) {
    this.#pill("busy", "Waiting");
    this.#countDown("warn", refusal.title, refusal.text, seconds, refusal.code);
    this.#buttons([["leave", "Cancel"]]);
  }

  _reconnecting(turn) {
    const { stage, was, same, refusal, bye, seconds } = turn;
    const leave = ["leave", was ? "Disconnect" : "Cancel"];
    if (!same) this.#void("lost");
    this.#step(STEPS.includes(stage) ? stage : same ? "joining" : "asking");
    if (stage === "offline") {
      this.#pill("bad", "Offline");
      this.#notice("bad", "This device is offline.", "Your updates go on where they stopped as soon as it is back.");
      this.#buttons([leave]);
      return;
    }
    this.#pill("busy", "Reconnecting");
    const broken = was ? BROKEN_OFF : NOT_LET_IN;
    const why = bye ? [ending(bye.reason), bye.detail].filter(Boolean).join(" ") : broken;
    const code = refusal?.code ?? bye?.reason;
    if (stage === "waiting") {
      const title = refusal?.title ?? (was ? "Reconnecting …" : "Your container closed the connection.");
      this.#countDown("warn", title, refusal ? refusal.text : why, seconds, code);
      this.#buttons([["retry", "Try now"], leave]);
      return;
    }
    this.#notice("busy", was ? "Reconnecting …" : "Another try …", `${why} ${RETURNING[same ? "same" : stage]}`, code);
    this.#buttons([leave]);
  }

  _joining({ session, took }) {
    const { id, ip, port, app, revision, warm } = session;
    this.#blank();
    byId("ticket").dataset.state = "printed";
    const host = ip.includes(":") ? `[${ip}]` : ip;
    byId("address").replaceChildren(host, document.createElement("wbr"), `:${port}`); // no other break
    byId("ticket-app").textContent = app ?? "";
    byId("fact-id").textContent = id.slice(0, 8);
    byId("fact-id").title = id;
    byId("fact-revision").textContent = revision ?? "–";
    byId("fact-start").textContent = warm ? "warm" : "cold";
    byId("fact-address").textContent = milliseconds(took);
    this.#onTheWay("joining");
  }

  _live({ hello, again }) {
    const [feed, meaning] = feedWords(hello.feed);
    byId("ticket").dataset.state = "live";
    byId("stamp").textContent = "";
    byId("fact-revision").textContent = hello.revision;
    byId("fact-feed").textContent = feed;
    byId("fact-feed").title = meaning;
    this.#step("live");
    this.#pill("good", "Live");
    if (again) this.#notice("good", "You are connected again.", "The updates went on just after the last one you saw.");
    else this.#notice("good", "You are connected.", "These updates come through a container that exists for you alone. Close the tab, and it is gone.");
    this.#buttons([["leave", "Disconnect"]]);
  }

  _gap({ gap }) {
    this.#pill("good", "Live");
    this.#notice("warn", "Some updates are missing.", "They were no longer in the stream. What follows is complete.", gap.shards?.join(", "));
    this.#buttons([["leave", "Disconnect"]]);
  }

  _over({ left, bye, cursor }) {
    const reason = bye?.reason;
    const wanted = left || reason === "disconnected";
    this.#void(wanted ? "used" : "ended");
    this.#pill(wanted ? "idle" : "bad", wanted ? "Disconnected" : "Ended");
    if (wanted) this.#notice("plain", "You have left.", ending("disconnected"));
    else this.#notice("warn", "Your container said goodbye.", [ending(reason), bye.detail].filter(Boolean).join(" "), reason);
    this.#again(cursor);
  }

  _failed({ refusal, cursor }) {
    this.#void("lost");
    this.#pill("bad", "No container");
    this.#notice("bad", refusal.title, refusal.text, refusal.code);
    this.#again(cursor, refusal.code === "unreachable" ? "Try again" : "Ask again");
  }

  #again(cursor, fresh = "Connect again") {
    this.#step(null);
    if (cursor) this.#buttons([["resume", "Resume where I left"], ["fresh", "Start fresh"]]);
    else this.#buttons([["fresh", fresh]]);
  }

  #blank() {
    byId("address").textContent = "· · ·";
    for (const fact of ["id", "feed", "revision", "start", "address", "first"]) {
      byId(`fact-${fact}`).textContent = "–";
    }
    byId("ticket-app").textContent = "";
    byId("stamp").textContent = "";
  }

  #void(word) {
    const ticket = byId("ticket");
    const printed = ticket.dataset.state !== "blank";
    ticket.dataset.state = printed ? "torn" : "blank";
    byId("stamp").textContent = printed ? word : "";
  }

  #step(phase) {
    const reached = STEPS.indexOf(phase);
    for (const item of byId("steps").children) {
      const index = STEPS.indexOf(item.dataset.step);
      item.dataset.done = String(index < reached || phase === "live");
      if (index === reached) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
  }

  #countDown(tone, title, why, seconds, code) {
    const until = performance.now() + seconds * 1000;
    const text = () => {
      const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      return `${why} Trying again in ${left} s.`.trim();
    };
    this.#notice(tone, title, text(), code);
    this.#countdown = setInterval(() => {
      byId("notice-text").firstChild.textContent = text();
    }, 250);
  }

  #pill(tone, text) {
    byId("pill").dataset.tone = tone;
    byId("pill-text").textContent = text;
  }

  #notice(tone, title, text, code = "") {
    byId("notice").dataset.tone = tone;
    if (byId("notice-title").textContent !== title) byId("notice-title").textContent = title;
    const parts = [document.createTextNode(text)];
    if (code) {
      const mark = document.createElement("code");
      mark.textContent = code;
      parts.push(" ", mark);
    }
    byId("notice-text").replaceChildren(...parts);
  }

  #buttons(wanted) {
    const names = wanted.join("; ");
    const actions = byId("actions");
    if (actions.dataset.names === names) return; // keeps the focus where it is
    actions.dataset.names = names;
    const had = actions.contains(document.activeElement);
    const made = wanted.map(([action, label], index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.dataset.action = action;
      button.className = index === 0 && action !== "leave" ? "strong" : "";
      button.addEventListener("click", () => this.act(action));
      return button;
    });
    actions.replaceChildren(...made);
    if (had) made[0].focus();
  }
}
