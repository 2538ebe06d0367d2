// Schedules: next runs, pause and resume (also of several), run now.

import { call } from "./client.js";
import { badge, copyable, h, instant } from "./elements.js";
import { change, changeAll, facts, head, link, results, table } from "./views.js";
import { json } from "./invocations.js";
import { inWords } from "./text.js";

const SCHEDULES = 50;
const schedulePath = (id) => `/schedules/${encodeURIComponent(id)}`;
const stateOf = (it) => it.trouble ? badge("in trouble", "bad") : it.paused ? badge("paused", "busy") : badge("on", "good");

/** /console/schedules */
export const scheduleList = {
  title: "Schedules",
  load: async (context) => {
    const answer = await call("GET", "/schedules", { query: { limit: SCHEDULES, next: context.query.get("next") }, signal: context.signal });
    return { rows: answer.schedules, next: answer.next };
  },
  draw: (found, context) => [
    head("Schedules", bulk(context, "pause"), bulk(context, "resume")),
    results(context, found, (rows) => table("Schedules by id", [
      ["Schedule", (row) => link(schedulePath(row.id), row.id)], ["State", stateOf], ["Job", (row) => link(`/jobs/${encodeURIComponent(row.job)}`, row.job)],
      ["When", (row) => [inWords(row.expression), h("span", { class: "quiet" }, ` ${row.timezone}`)]],
      ["Next run", (row) => row.paused ? "paused" : instant(row.nextRuns[0])], ["Left out", (row) => row.skipped ? link(`/invocations?job=${encodeURIComponent(row.job)}&status=SKIPPED`, String(row.skipped)) : "–"],
      ["Last run", (row) => row.lastInvocation ? link(`/invocations/${row.lastInvocation}`, "show") : "–"]], rows, (row) => row.id),
    ["There is no schedule. Make one with ", h("code", null, "usher schedule put"), "."])],
};

/** /console/schedules/ID */
export const schedulePage = {
  title: "Schedule",
  load: (context) => call("GET", schedulePath(context.id), { signal: context.signal }),
  draw: (it, context) => {
    const way = it.paused ? "resume" : "pause";
    return [
      head([it.id, " ", stateOf(it)],
        change(context, "Run now", { needs: "operator", ask: { title: `Run ${it.id} now?`, consequences: `${it.job} is run once with the schedule's parameters, besides its times.` },
          send: (repeatable) => call("POST", `${schedulePath(it.id)}/run`, { repeatable }),
          done: (made) => h("span", null, "Asked for: ", link(`/invocations/${made.id}`, made.id)) }),
        change(context, it.paused ? "Resume" : "Pause", { needs: "operator", ask: { title: `${it.paused ? "Resume" : "Pause"} ${it.id}?`, consequences: it.paused
          ? "It plans again from now on. What it missed is not made up for." : "It plans nothing until it is resumed. What runs goes on; what it misses is not made up for." },
        send: () => call("POST", `${schedulePath(it.id)}/${way}`), done: it.paused ? "It is on." : "It is paused." })),
      it.trouble ? h("p", { class: "notice" }, `The last run could not be asked for: ${it.trouble}`) : null,
      h("h2", null, "Next runs"), h("p", null, inWords(it.expression), ", in ", it.timezone, it.paused ? "; paused: these are the times it would have" : ""),
      it.nextRuns.length ? table("Next runs", [[`In ${it.timezone}`, (at) => instant(at, it.timezone)], ["For you", (at) => instant(at)]], it.nextRuns, (at) => at)
        : h("p", { class: "empty" }, "It never comes again."),
      h("h2", null, "Parameters"), json(it.parameters),
      facts(["Id", copyable(it.id)], ["Job", link(`/jobs/${encodeURIComponent(it.job)}`, it.job)], ["Expression", h("code", null, it.expression)],
        ["While the last run has not ended", it.overlap], ["In the hour that clocks leave out", it.gap], ["Late by at most", `${it.misfireSeconds} s`],
        ["Left out so far", it.skipped ? link(`/invocations?job=${encodeURIComponent(it.job)}&status=SKIPPED`, `${it.skipped}, and why`) : 0], ["Last planned", it.lastPlannedAt && instant(it.lastPlannedAt)],
        ["Last run", it.lastInvocation && link(`/invocations/${it.lastInvocation}`, it.lastInvocation)], ["Created", instant(it.createdAt)])];
  },
};

/** A button that pauses or resumes all schedules that can be: it counts them over all pages first. */
function bulk(context, way) {
  return changeAll(context, way === "pause" ? "Pause all" : "Resume all", { needs: "operator", path: "/schedules", name: "schedules", done: `${way}d`,
    fits: (one) => one.paused === (way === "resume"), show: (one) => `${one.id} (${one.job})`,
    rest: `Those that are ${way}d already stay as they are.`, send: (one) => call("POST", `${schedulePath(one.id)}/${way}`) });
}
