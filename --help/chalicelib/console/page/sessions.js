// Sessions that have not ended, and the history of one session.

import { call } from "./client.js";
import { badge, copyable, h, instant, span } from "./elements.js";
import { change, facts, filters, head, link, listing, results, table, watchRecord } from "./views.js";
import { showLog } from "./log.js";
import { showPlacement } from "./placement.js";
import { timeline } from "./invocations.js";

const LIVE = ["QUEUED", "STARTING", "WARM", "RESERVED", "ACTIVE", "STOPPING"];

const sessionPath = (id) => `/sessions/${encodeURIComponent(id)}`;

/** /console/sessions */
export const sessionList = {
  title: "Sessions",
  load: (context) => {
    const query = Object.fromEntries(["app", "state", "owner", "host", "revision"].map((name) => [name, context.query.get(name)]));
    return listing(context, "/sessions", "sessions", query);
  },
  draw: (found, context) => {
    const seesAll = context.me.role !== "owner";
    return [head("Sessions"),
      filters(context, [
        { name: "app", label: "App" }, { name: "state", label: "State", choices: LIVE },
        ...(seesAll ? [{ name: "owner", label: "Owner", hint: "api_key:ann" }, { name: "host", label: "Host" }] : []),
        { name: "revision", label: "Revision" }]),
      results(context, found, (rows) => table("Sessions that have not ended, newest first", [
        ["App", (row) => link(sessionPath(row.id), row.app)], ["State", (row) => badge(row.state)],
        ["Since", (row) => instant(row.changedAt)], ["Lives", (row) => span(row.createdAt)],
        ["Revision", (row) => row.revision], ["Start", (row) => row.warm ? "warm" : "cold"],
        ["Owner", (row) => row.owner ?? "nobody yet"], ...(seesAll ? [["Address", (row) => row.address]] : []),
        ["Id", (row) => copyable(row.id)]], rows, (row) => row.id),
      "No session lives now. A page that asks GET /session gets one; warm ones wait here where the app has a pool."),
      h("p", { class: "quiet" }, "A session that has ended is kept for seven days: type its id into the search field.")];
  },
};

/** /console/sessions/ID */
export const sessionPage = {
  title: "Session",
  load: watchRecord((context) => `${sessionPath(context.id)}/history`),
  isWatched: ({ state }) => state !== "ENDED",
  draw: (it, context) => {
    const isOver = ["STOPPING", "ENDED"].includes(it.state);
    return [
      head([it.app, " ", badge(it.reason ?? it.state)], change(context, "Stop", { tone: "danger", unless: isOver ? "It has ended, or is about to." : "",
        ask: { title: "Stop this session?", consequences: it.state === "ACTIVE"
          ? `A client is connected: it is cut off, and its container is stopped. ${it.owner ?? ""}`
          : "Its container is stopped. Nobody is connected." },
        send: () => call("DELETE", sessionPath(it.id)), done: "It is being stopped." })),
      it.detail ? h("p", { class: "notice" }, it.detail) : null,
      context.me.role === "owner" ? null : [h("h2", null, "Log"), h("section", { "data-keep": "log", "aria-label": "Log" })],
      h("h2", null, "Story"), timeline(it, it.state === "ENDED"),
      context.me.role === "owner" ? null : h("section", { "data-keep": "placement", "aria-label": "Placement" }),
      facts(["Id", copyable(it.id)], ["Owner", it.owner ?? "nobody yet"], ["App", link(`/apps/${encodeURIComponent(it.app)}`, it.app)],
        ["Revision", it.revision], ["Start", it.warm ? "warm, from the pool" : "cold"], ["Attempt", it.attempt],
        ["Created", instant(it.createdAt)], ["Ready", it.readyAt && instant(it.readyAt)],
        ["Start took", it.readyAt && span(it.createdAt, it.readyAt)], ["Client is to come by", it.connectBy && it.state === "RESERVED" && instant(it.connectBy)],
        ["Ended", it.endedAt && instant(it.endedAt)], ["Address, without its secret path", it.address],
        ["Host", it.host && link(`/sessions?host=${encodeURIComponent(it.host)}`, it.host.split("/").at(-1))], ["Task", it.taskArn && copyable(it.taskArn)],
        ["Lines of the dispatcher's log", `session=${it.id}`])];
  },
  mount: (root, context) => {
    if (context.me.role === "owner") return;
    showLog(root.querySelector('[data-keep="log"]'), context, `${sessionPath(context.id)}/logs`);
    showPlacement(root.querySelector('[data-keep="placement"]'), context, sessionPath(context.id));
  },
};
