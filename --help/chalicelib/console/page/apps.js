// Session apps: the newest revision of each, its state, and the rollback.

import { call } from "./client.js";
import { badge, h } from "./elements.js";
import { change, facts, head, link, table } from "./views.js";
import { json } from "./invocations.js";

const AT_FIRST = 1000; // sessions that the first request of a count looks at, so that something is shown soon
const AT_ONCE = 2000; // the same of each further one
const appPath = (name) => `/apps/${encodeURIComponent(name)}`;

/** /console/apps */
export const appList = {
  title: "Apps",
  load: (context) => call("GET", "/apps", { signal: context.signal }),
  draw: ({ apps }) => [head("Apps"), apps.length ? table("Session apps", [
    ["App", (row) => link(appPath(row.name), row.name)], ["State", (row) => badge(row.state)], ["Revision", (row) => row.revision],
    ["Comes from", (row) => row.origin === "file" ? "the apps file" : "usher deploy"], ["Failed starts", (row) => row.failures],
    ["Sessions", (row) => link(`/sessions?app=${encodeURIComponent(row.name)}`, "Sessions")]], apps, (row) => row.name)
    : h("p", { class: "empty" }, "There is no session app. Deploy one with ", h("code", null, "usher deploy"), ".")],
};

/** /console/apps/NAME */
export const appPage = {
  title: "App",
  pollSeconds: ({ app, containers }) => containers?.isPart ? 0.01 : containers?.isLarge ? 60 : containers && isMoving(app, containers.groups) ? 3 : 15,
  load: async (context) => {
    const [app, containers] = await Promise.all([call("GET", appPath(context.id), { signal: context.signal }), context.me.role === "owner" ? null : countOn(context)]);
    return { app, containers };
  },
  draw: ({ app: it, containers }, context) => [
    head([it.name, " ", badge(it.state)], change(context, "Roll back", { needs: "operator", tone: "danger",
      unless: it.origin === "file" ? "Apps of the apps file are changed by deploying." : "",
      ask: { title: `Take revision ${it.revision} of ${it.name} back?`, consequences: "New sessions start on the revision before it. Sessions that are open stay as they are." },
      send: () => call("POST", `${appPath(it.name)}/rollback`, { body: JSON.stringify({ revision: it.revision }) }),
      done: (before) => `Revision ${before.revision} is the newest now.` }),
    change(context, "Drain", { needs: "operator", unless: it.pool.maximum ? "" : "It has no pool.",
      ask: { title: `Stop the warm containers of ${it.name}?`, consequences: "Those that wait for a user are stopped, and the pool is filled anew. Sessions that are open stay as they are." },
      send: () => call("POST", `${appPath(it.name)}/drain`), done: ({ drained }) => `${drained} warm containers are being stopped.` }),
    link(`/sessions?app=${encodeURIComponent(it.name)}`, "Its sessions", { class: "button" })),
    it.state === "refused" || it.state === "failing" ? h("p", { class: "notice" },
      `${it.failures} starts in a row failed${it.state === "refused" ? ", so no further one is tried for a while" : ""}. ${it.reason ?? ""}`) : null,
    it.state === "unproven" ? h("p", { class: "notice" }, "No container of this revision was ready yet.") : null,
    containers ? group(it, containers) : null,
    facts(["Revision", it.revision], ["Comes from", it.origin === "file" ? "the apps file" : "usher deploy"],
      ["Pool", it.pool.maximum ? `${it.pool.minimum} to ${it.pool.maximum} warm` : "none"], ["Sessions at once", limitOf(it, containers)],
      ["Image", it.image], ["Task definition", it.taskDefinition]),
    it.description ? [h("h2", null, "Description"), json(it.description)] : null],
};

/**
 * Count the next part of an app's containers. Until a count is complete, the one before is shown;
 * the first one is shown as it grows.
 */
async function countOn(context) {
  const before = context.count?.next ? context.count : { groups: [], next: null, parts: 0 };
  const query = new URLSearchParams(before.next ? { limit: AT_ONCE, next: before.next } : { limit: AT_FIRST });
  const part = await call("GET", `${appPath(context.id)}/containers?${query}`, { signal: context.signal });
  context.count = { groups: added(before.groups, part.groups), next: part.next, parts: before.parts + 1 };
  if (!part.next) context.counted = context.count.groups;
  return { groups: context.counted ?? context.count.groups, isPart: Boolean(part.next), isFirst: !context.counted, isLarge: context.count.parts > 2 };
}

const groupKey = ({ revision, state, host }) => `${revision} ${state} ${host}`;
const total = (groups) => groups.reduce((sum, { count }) => sum + count, 0);

function added(groups, more) {
  const sums = new Map(groups.map((group) => [groupKey(group), group]));
  for (const group of more) sums.set(groupKey(group), { ...group, count: group.count + (sums.get(groupKey(group))?.count ?? 0) });
  return [...sums.values()].sort((a, b) => groupKey(a) < groupKey(b) ? -1 : 1);
}

/** Whether containers come or go: some are on their way, or the pool lacks all it should have. */
function isMoving({ pool }, groups) {
  const has = (...states) => groups.some(({ state }) => states.includes(state));
  return has("QUEUED", "STARTING", "STOPPING") || (pool.minimum > 0 && !has("WARM"));
}

function limitOf(it, containers) {
  const used = containers && total(containers.groups.filter(({ state }) => state !== "WARM"));
  const most = it.maxSessions || "no limit";
  return !containers || containers.isFirst ? most : it.maxSessions ? `${used} of ${most}` : `${used}, no limit of its own`;
}

/** The containers of an app by revision, state, zone and host. */
function group(it, { groups, isFirst }) {
  const sessions = ({ revision, state, host }) => `/sessions?${new URLSearchParams({ app: it.name, state, ...(revision ? { revision } : {}), ...(host ? { host } : {}) })}`;
  return [h("h2", null, "Containers"), groups.length ? table("Containers by revision, state, zone and host", [
    ["Revision", (row) => row.revision ?? "none yet"], ["State", (row) => badge(row.state)], ["Zone", (row) => row.zone], ["Host", (row) => row.host && link(`/hosts/${row.host.split("/").at(-1)}`, row.host.split("/").at(-1))],
    ["Containers", (row) => link(sessions(row), String(row.count))]], groups, groupKey)
    : h("p", { class: "empty" }, "No container of it runs."), isFirst ? h("p", { class: "notice", role: "status" }, `Counting: ${total(groups)} so far.`) : null];
}
