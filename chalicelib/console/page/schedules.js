// Schedules: when each runs next, pause and resume (also many at once), run now.

import { call } from "./client.js";
import { badge, confirm, copyable, h, instant, toast } from "./elements.js";
import { change, facts, head, link, results, table, whyNot } from "./views.js";
import { json } from "./invocations.js";
import { inWords } from "./text.js";

const SCHEDULES = 50;
const MOST_AT_ONCE = 1000;
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
      ["Next run", (row) => row.paused ? "paused" : instant(row.nextRuns[0])], ["Left out", (row) => row.skipped || "–"],
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
        ["Left out so far", it.skipped], ["Last planned", it.lastPlannedAt && instant(it.lastPlannedAt)],
        ["Last run", it.lastInvocation && link(`/invocations/${it.lastInvocation}`, it.lastInvocation)], ["Created", instant(it.createdAt)])];
  },
};

/** A button that pauses or resumes all schedules that can be: it counts them over all pages first. */
function bulk(context, way) {
  const label = way === "pause" ? "Pause all" : "Resume all";
  const why = whyNot(context.me, "operator");
  const act = async () => {
    if (why) {
      toast(why, "bad");
      return;
    }
    const hit = [];
    let next = null;
    do {
      const answer = await call("GET", "/schedules", { query: { limit: 100, next }, signal: context.signal });
      hit.push(...answer.schedules.filter((one) => one.paused === (way === "resume")));
      next = answer.next;
    } while (next && hit.length < MOST_AT_ONCE);
    if (!hit.length) {
      toast(`Nothing to ${way}.`);
      return;
    }
    const isSure = await confirm(`${label}?`, `This hits ${hit.length} schedules${next ? ", more remain" : ""}. Those that are ${way}d already stay as they are.`, `${label.split(" ")[0]} ${hit.length}`,
      h("ul", { class: "hit", tabindex: "0", "aria-label": "What it hits" }, hit.map((one) => h("li", null, `${one.id} (${one.job})`))));
    if (!isSure) return;
    let failures = 0;
    for (const one of hit) {
      try {
        await call("POST", `${schedulePath(one.id)}/${way}`);
      } catch (error) {
        failures += 1;
        toast(`${one.id}: ${error.message}`, "bad");
      }
    }
    toast(`${hit.length - failures} of ${hit.length} schedules ${way}d.`, failures ? "bad" : "good");
    context.refresh();
  };
  return h("button", { type: "button", onclick: act, title: why || null, "aria-disabled": why ? "true" : null }, label);
}
