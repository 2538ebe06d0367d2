// Hosts: remaining resources, status and tasks.

import { call } from "./client.js";
import { badge, copyable, h, instant, span } from "./elements.js";
import { facts, head, link, PAGE_SIZE, results, table } from "./views.js";
import { taken } from "./text.js";

const hostPath = (id) => `/hosts/${encodeURIComponent(id)}`;
const DRAIN_REASONS = { "scale-in": "too many hosts", age: "too old", image: "older machine image" };
const hostState = (it) => it.connected ? badge(it.status, it.leaving ? "busy" : "good") : badge("agent is silent", "bad");

/** Why the planner drains a host, and for how long. */
function drainOf({ drainReason, drainingSince }) {
  return drainReason && `${DRAIN_REASONS[drainReason] ?? drainReason}, for ${span(drainingSince)}`;
}

/** How much of a resource is taken: a bar, and in words. */
export function bar({ total, left }, unit) {
  return [h("progress", { max: Math.max(1, total), value: total - left, "aria-label": `Taken: ${taken(total, left)}` }),
    h("span", { class: "quiet" }, ` ${total - left} of ${total} ${unit}`)];
}

/** /console/hosts */
export const hostList = {
  title: "Hosts",
  pollSeconds: () => 15,
  load: async (context) => {
    const answer = await call("GET", "/hosts", { query: { limit: PAGE_SIZE, next: context.query.get("next") }, signal: context.signal });
    return { rows: answer.hosts, next: answer.next };
  },
  draw: (found, context) => [head("Hosts"),
    results(context, found, (rows) => table("Hosts as ECS knows them", [
      ["Host", (row) => link(hostPath(row.id), row.instance ?? row.id)], ["State", (row) => [hostState(row), row.drainReason ? h("span", { class: "quiet" }, ` ${drainOf(row)}`) : null]], ["Zone", (row) => row.zone], ["Type", (row) => row.instanceType],
      ["Age", (row) => span(row.registeredAt)], ["Tasks", (row) => row.pendingTasks ? `${row.runningTasks} and ${row.pendingTasks} coming` : row.runningTasks],
      ["Processor", (row) => bar(row.cpu, "units")], ["Memory", (row) => bar(row.memory, "MiB")],
      ["Sessions", (row) => link(`/sessions?host=${encodeURIComponent(row.id)}`, "Sessions")], ["Id", (row) => copyable(row.id)]], rows, (row) => row.id),
    "There is no EC2 host. The capacity provider adds one when a task waits for room; tasks on Fargate need none.")],
};

/** /console/hosts/ID */
export const hostPage = {
  title: "Host",
  pollSeconds: () => 15,
  load: (context) => call("GET", hostPath(context.id), { signal: context.signal }),
  draw: (it) => [
    head([it.instance ?? it.id, " ", hostState(it)], link(`/sessions?host=${encodeURIComponent(it.id)}`, "Its sessions", { class: "button" })),
    it.leaving ? h("p", { class: "notice" }, it.connected ? it.drainReason ? `The planner drains it: ${drainOf(it)}. ` : "An operator, ECS or a Spot interruption drains it. " : null, it.connected ? "It takes no more tasks. What runs on it goes on; warm containers are stopped."
      : "Its ECS agent does not answer. What runs on it may go on, and nothing is started on it.") : null,
    h("h2", null, "What runs here"), it.tasks.length ? table("Tasks on this host", [
      ["What", (row) => row.kind === "other" ? "of something else" : link(`/${row.kind === "session" ? "sessions" : "invocations"}/${row.record}`, row.kind)],
      ["State", (row) => badge(row.status)], ["Definition", (row) => row.definition], ["Started", (row) => instant(row.createdAt)],
      ["Task", (row) => copyable(row.task.split("/").at(-1))]], it.tasks, (row) => row.task) : h("p", { class: "empty" }, "Nothing runs on it."),
    facts(["Id", copyable(it.id)], ["EC2 instance", it.instance && copyable(it.instance)], ["Zone", it.zone], ["Type", it.instanceType], ["Capacity provider", it.capacityProvider],
      ["Since", it.registeredAt && instant(it.registeredAt)], ["Age", it.registeredAt && span(it.registeredAt)], ["Processor", bar(it.cpu, "units")], ["Memory", bar(it.memory, "MiB")],
      ["ARN", copyable(it.arn)])],
};
