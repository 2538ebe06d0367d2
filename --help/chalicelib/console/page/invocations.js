// Invocations: the listing, and one invocation with its timeline and its log.

import { call } from "./client.js";
import { badge, copyable, h, instant, span } from "./elements.js";
import { showLog } from "./log.js";
import { change, changeAll, facts, filters, head, link, listing, PAGE_SIZE, results, table, watchRecord } from "./views.js";
import { showPlacement } from "./placement.js";
import { duration, showJson } from "./text.js";

const STATES = ["SCHEDULED", "ACCEPTED", "QUEUED", "LAUNCHING", "LAUNCHED", "STARTED", "KILL_INITIATED", "FINISHED", "EXPIRED", "SKIPPED"];
const OVER = ["FINISHED", "EXPIRED", "SKIPPED"];

const path = (id) => `/invocations/${encodeURIComponent(id)}`;
const outcome = (row) => badge(row.reason ?? row.state);

const filtersOf = (context) => Object.fromEntries(["job", "status", "owner", "from", "to"].map((name) => [name, context.query.get(name)]));

/** /console/invocations */
export const invocationList = {
  title: "Invocations",
  load: (context) => {
    return listing(context, "/invocations", "invocations", filtersOf(context));
  },
  pollSeconds: ({ rows }) => rows.some(({ state }) => !OVER.includes(state)) ? 5 : 15,
  draw: (found, context) => [
    head("Invocations", [...context.query.keys()].some((name) => name !== "next") ? changeAll(context, "Kill all of these", { path: "/invocations", name: "invocations", done: "killed",
      query: filtersOf(context), fits: ({ state }) => !OVER.includes(state) && state !== "KILL_INITIATED", show: (one) => `${one.job}, ${one.state}, ${one.id}`,
      rest: "Those that run get SIGTERM, those that wait do not start. What has ended stays as it is.", send: (one) => call("POST", `${path(one.id)}/kill`, { body: "{}" }) }) : null, link("/jobs", "Run a job", { class: "button" })),
    filters(context, [
      { name: "job", label: "Job" }, { name: "status", label: "State", choices: STATES },
      ...(context.me.role === "owner" ? [] : [{ name: "owner", label: "Owner", hint: "api_key:ann" }]),
      { name: "from", label: "Created from", kind: "instant" }, { name: "to", label: "to", kind: "instant" }]),
    results(context, found, (rows) => invocationTable(rows),
      "No job has been run yet. Choose one under Jobs and run it, or let a schedule do it.")],
};

/** The table of some invocations. */
export function invocationTable(rows) {
  return table(`Invocations, newest first, at most ${PAGE_SIZE}`, [
    ["Job", (row) => link(path(row.id), row.job)], ["State", outcome], ["Created", (row) => instant(row.createdAt)],
    ["Waited", (row) => row.startedAt ? span(row.at ?? row.createdAt, row.startedAt) : OVER.includes(row.state) ? "–" : span(row.at ?? row.createdAt)],
    ["Ran", (row) => row.startedAt ? span(row.startedAt, row.finishedAt) : "–"], ["Owner", (row) => row.owner], ["Id", (row) => copyable(row.id)],
  ], rows, (row) => row.id);
}

/** /console/invocations/ID */
export const invocationPage = {
  title: "Invocation",
  load: watchRecord((context) => path(context.id)),
  isWatched: ({ state }) => !OVER.includes(state),
  draw: (it, context) => {
    const isOver = OVER.includes(it.state);
    const again = change(context, "Run again", {
      ask: { title: `Run ${it.job} again?`, consequences: "A new invocation with the same parameters and priority is made. This one stays as it is." },
      send: (repeatable) => call("POST", `${path(it.id)}/rerun`, { repeatable, body: "{}" }),
      done: (made) => h("span", null, "Asked for: ", link(path(made.id), made.id)) });
    const kill = change(context, "Kill", { tone: "danger", unless: isOver ? "It has ended." : it.state === "KILL_INITIATED" ? "It is being stopped." : "",
      ask: { title: `Kill this run of ${it.job}?`, consequences: it.startedAt
        ? "Its container gets SIGTERM, and SIGKILL ten seconds later. What it has done so far stays done."
        : "It has not started, and will not." },
      send: () => call("POST", `${path(it.id)}/kill`, { body: "{}" }), done: "It is being ended." });
    return [
      head([it.job, " ", outcome(it)], again, kill),
      it.waiting ? h("p", { class: "notice" }, `Why it waits: ${it.waiting.because}. `, it.waiting.nextTryAt ? ["Next try ", instant(it.waiting.nextTryAt)] : null, it.waiting.estimateSeconds ? ` It starts in about ${duration(it.waiting.estimateSeconds)}.` : null) : null,
      it.detail && it.detail !== it.reason ? h("p", { class: "notice" }, it.detail) : null,
      it.progress && !isOver ? h("p", { class: "notice" }, it.progress.fraction === null ? null
        : h("progress", { max: 1, value: it.progress.fraction, "aria-label": "Progress" }), " ", it.progress.message) : null,
      h("h2", null, "Log"), h("section", { "data-keep": "log", "aria-label": "Log" }),
      h("h2", null, "Timeline"), timeline(it, isOver),
      context.me.role === "owner" ? null : h("section", { "data-keep": "placement", "aria-label": "Placement" }),
      h("div", { class: "columns" }, h("section", null, h("h2", null, "Parameters"), json(it.parameters)),
        h("section", null, h("h2", null, "Result"), it.result === null && !isOver ? h("p", { class: "quiet" }, "Not yet.") : json(it.result))),
      facts(["Id", copyable(it.id)], ["Owner", it.owner], ["Job", link(`/jobs/${encodeURIComponent(it.job)}`, it.job)], ["Revision", it.revision],
        ["Priority", it.priority], ["Attempt", it.attempt], ["Created", instant(it.createdAt)], ["Planned for", it.plannedAt && instant(it.plannedAt)],
        ["Not before", it.at && instant(it.at)], ["Not after", instant(it.notAfter)], ["Started", it.startedAt && instant(it.startedAt)],
        ["Finished", it.finishedAt && instant(it.finishedAt)], ["Exit code", it.exitCode],
        ["Schedule", it.schedule && link(`/schedules/${encodeURIComponent(it.schedule)}`, it.schedule)],
        ["Again of", it.rerunOf && link(path(it.rerunOf), it.rerunOf)], ["Task", it.taskArn && copyable(it.taskArn)],
        ["Used", it.usage && `${duration(it.usage.cpuSeconds)} of processor, ${Math.round(it.usage.maxMemoryMib)} MiB, ${duration(it.usage.wallSeconds)}`])];
  },
  mount: (root, context) => {
    showLog(root.querySelector('[data-keep="log"]'), context, `${path(context.id)}/logs`);
    if (context.me.role !== "owner") showPlacement(root.querySelector('[data-keep="placement"]'), context, path(context.id));
  },
};

/** A value as JSON. */
export function json(value) {
  return h("pre", { class: "json", tabindex: "0" }, showJson(value));
}

/** The states of a record, each with its share of the whole time, and what caused it. */
export function timeline({ history }, isOver) {
  const ends = history.map((_, place) => Date.parse(history[place + 1]?.at ?? (isOver ? history[place].at : new Date().toISOString())));
  const seconds = history.map((step, place) => Math.max(0, (ends[place] - Date.parse(step.at)) / 1000));
  const longest = Math.max(0.001, ...seconds);
  return h("ol", { class: "timeline" }, history.map((step, place) => h("li", null,
    badge(step.state), h("span", { class: "bar", share: String(seconds[place] / longest), "aria-hidden": "true" }),
    h("span", null, place === history.length - 1 && isOver ? "" : duration(seconds[place])),
    h("span", { class: "cause" }, step.cause), instant(step.at))));
}
