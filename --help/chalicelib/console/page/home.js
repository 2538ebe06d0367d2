// The first page: problems first, then activity.

import { call } from "./client.js";
import { badge, h, instant } from "./elements.js";
import { head, link, table } from "./views.js";
import { duration, latency, lineOf, problemsOf, relative, taken } from "./text.js";

const LINES = [["active", "Sessions in use"], ["coming", "Sessions that come"], ["warm", "Warm containers"], ["jobsRunning", "Jobs that run"],
  ["jobsWaiting", "Jobs that wait"], ["starts", "Starts a minute"],
  ["addressP50", "Time to address, p50", latency], ["addressP99", "Time to address, p99", latency]];

/** /console */
export const home = {
  title: "Home",
  pollSeconds: () => 10,
  load: async (context) => {
    if (context.me.role === "owner") return {};
    const [overview, { apps }] = await Promise.all([call("GET", "/overview", { signal: context.signal }), call("GET", "/apps", { signal: context.signal })]);
    return { overview, apps };
  },
  draw: ({ overview, apps }) => overview ? [head("Home"), wrong(problemsOf(overview, apps)), running(overview), pools(overview, apps), capacityGroups(overview), jobStates(overview), lines(overview)]
    : [head("Home"), h("p", { class: "empty" }, "Here is what belongs to you: your ", link("/invocations", "invocations"), " and ", link("/sessions", "sessions"),
      ". To run something choose one of the ", link("/jobs", "jobs"), ".")],
};

function wrong(problems) {
  if (!problems.length) return h("p", { class: "notice", "data-tone": "good" }, "Nothing is wrong that this page can see: no alarm, no refused revision, no dead letter, no old queue, no host that leaves, the sweep is on time.");
  return h("section", { "aria-label": "What is wrong" }, problems.map(({ text, path, what }) =>
    h("p", { class: "notice", "data-tone": "bad" }, text, " ", path ? link(path, what) : what)));
}

function running({ at, sessions, jobs, sweep, hosts, startsInLastMinute, gradingsWaiting }) {
  const tile = (name, value, note) => h("div", null, h("dt", null, name), h("dd", null, value), note ? h("dd", { class: "quiet" }, note) : null);
  const waiting = Object.values(jobs.waiting).reduce((sum, count) => sum + count, 0);
  const { p50Seconds, p99Seconds } = sessions.timeToAddress;
  return h("dl", { class: "tiles" },
    tile("Sessions that live", link("/sessions", `${sessions.live}${sessions.liveWhole ? "" : " and more"}`),
      [sessions.liveAt < at ? `as counted ${relative(Date.parse(sessions.liveAt), Date.parse(at))}` : "", sessions.waitingForHosts ? `${sessions.waitingForHosts} wait for a host` : ""].filter(Boolean).join(", ")),
    tile("Time to address, p50", p50Seconds === null ? "–" : latency(p50Seconds), p50Seconds === null ? "no address within the hour" : `p99 ${latency(p99Seconds)}, warm and cold, within the hour`),
    tile("Starts a minute", String(startsInLastMinute)),
    tile("Jobs that run", link("/invocations?status=STARTED", jobs.capacity ? `${jobs.running} of ${jobs.capacity}` : String(jobs.byState.STARTED ?? 0)), jobs.capacity ? "" : "as the last sweep counted; not bounded"),
    tile("Jobs that wait", link("/invocations?status=QUEUED", String(waiting)), Object.entries(jobs.waiting).filter(([, count]) => count).map(([priority, count]) => `${count} ${priority}`).join(", ")),
    tile("Oldest that waits", jobs.oldestWaitingSince ? duration((Date.parse(at) - Date.parse(jobs.oldestWaitingSince)) / 1000) : "none"),
    gradingsWaiting ? tile("Gradings that wait", link("/assignments", String(gradingsWaiting))) : null,
    hosts ? tile("Hosts", link("/hosts", `${hosts.counted}${hosts.whole ? "" : " and more"}`), hosts.counted
      ? `${taken(hosts.cpu.total, hosts.cpu.left)} of processor, ${taken(hosts.memory.total, hosts.memory.left)} of memory taken` : "none") : null,
    tile("Last sweep", sweep ? instant(sweep.finishedAt) : "none yet", sweep && `${sweep.records} records, ${sweep.tasks} tasks, ${duration(sweep.seconds)}`));
}

function pools({ sessions }, apps) {
  const of = (row, ...states) => states.reduce((sum, state) => sum + (sessions.byApp[row.name]?.[state] ?? 0), 0);
  const count = (row, state, ...states) => link(`/sessions?app=${encodeURIComponent(row.name)}${states.length ? "" : `&state=${state}`}`, String(of(row, state, ...states)));
  return [h("h2", null, "Apps"), table("Session apps, as the last sweep counted", [["App", (row) => link(`/apps/${encodeURIComponent(row.name)}`, row.name)], ["State", (row) => badge(row.state)],
    ["Revision", (row) => row.revision], ["In use", (row) => count(row, "ACTIVE", "RESERVED")], ["Coming", (row) => count(row, "STARTING", "QUEUED")],
    ["Warm", (row) => count(row, "WARM")], ["Pool", (row) => row.pool.maximum ? `${row.pool.minimum} to ${row.pool.maximum}` : "none"],
    ["Most at once", (row) => row.maxSessions || "no limit"]], apps, (row) => row.name)];
}

/** What each capacity group has, uses and waits for; nothing where there are none. */
function capacityGroups({ groups }) {
  if (!groups?.length) return null;
  return [h("h2", null, "Capacity groups"), table("Capacity groups: what each uses now, in places, CPU units and MiB", [
    ["Group", (row) => row.name], ["Tier", (row) => badge(row.tier, row.tier === "critical" ? "busy" : "quiet")], ["In use", ({ taken, guaranteed }) => inUse(taken, guaranteed)],
    ["Guaranteed", (row) => amountOf(row.guaranteed)], ["Most", (row) => amountOf(row.maximum)], ["Lent to it", (row) => amountOf(row.borrowed)],
    ["Waiting", (row) => row.waiting], ["Between starts", (row) => row.secondsBetweenStarts === null ? "–" : duration(row.secondsBetweenStarts)]], groups, (row) => row.name)];
}

/** An amount of capacity without what is nothing or not bounded. */
const amountOf = ({ places, cpu, memory }) => [[places, "places"], [cpu, "units"], [memory, "MiB"]]
  .filter(([count]) => count).map(([count, unit]) => `${count}\u00a0${unit}`).join(", ") || "–";

/** The amount in use, and a bar of the places that are guaranteed. */
function inUse(taken, guaranteed) {
  return [guaranteed.places ? h("progress", { max: guaranteed.places, value: Math.min(taken.places, guaranteed.places), "aria-label": `In use: ${taken.places} of ${guaranteed.places} guaranteed places` }) : null, ` ${amountOf(taken)}`];
}

function jobStates({ jobs }) {
  const states = Object.entries(jobs.byState);
  return states.length ? [h("h2", null, "Jobs"), h("p", { class: "states" }, states.map(([state, count]) =>
    [link(`/invocations?status=${state}`, [badge(state), ` ${count}`]), " "]))] : null;
}

/** Sparklines: one figure each, over the hours that are kept. */
function lines({ trend }) {
  if (trend.length < 2) return null;
  return [h("h2", null, "The last hours"), h("dl", { class: "tiles" }, LINES.map(([name, title, show = String]) => {
    const points = trend.filter((point) => point[name] !== null);
    const values = points.map((point) => point[name]);
    if (points.length < 2) return null;
    return h("div", null, h("dt", null, title), h("dd", null, show(values.at(-1))),
      h("dd", null, h("svg", { viewBox: "0 0 120 30", preserveAspectRatio: "none", class: "line", role: "img", "aria-label": `${title}: ${show(Math.min(...values))} to ${show(Math.max(...values))} since ${points[0].at}` },
        h("svg:polyline", { points: lineOf(points, name) }))));
  }))];
}
