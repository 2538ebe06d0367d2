// Audit records, with an export of those that match a filter.

import { call } from "./client.js";
import { badge, copyable, h, instant, toast } from "./elements.js";
import { filters, head, link, listing, results, table } from "./views.js";
import { showJson } from "./text.js";

const ACTIONS = ["invocation.invoke", "invocation.kill", "invocation.rerun", "schedule.put", "schedule.pause", "schedule.resume", "schedule.delete",
  "schedule.run", "job.register", "job.deregister", "app.register", "app.rollback", "app.drain", "app.deregister", "assignment.put", "assignment.delete",
  "assignment.prepare", "assignment.regrade", "submission.add", "submission.regrade", "session.stop", "refused"];
const MOST_EXPORTED = 10000;
const FILTERS = ["who", "action", "resource", "from", "to"];

const queryOf = (context) => Object.fromEntries(FILTERS.map((name) => [name, context.query.get(name)]));

/** /console/audit */
export const auditList = {
  title: "Audit",
  isStill: true, // a page of it may cost many reads, and the past does not change
  load: (context) => listing(context, "/audit", "records", queryOf(context)),
  draw: (found, context) => [
    head("Audit", h("button", { type: "button", onclick: (event) => save(event.currentTarget, context) }, "Export")),
    filters(context, [{ name: "who", label: "Who", hint: "api_key:ann" }, { name: "action", label: "Action", choices: ACTIONS },
      { name: "resource", label: "Resource", hint: "schedules/weekly" }, { name: "from", label: "From", kind: "instant" }, { name: "to", label: "to", kind: "instant" }]),
    results(context, found, (rows) => table("Audit records, newest first", [
      ["Action", (row) => row.action], ["Outcome", (row) => badge(row.outcome, row.outcome === "failed" ? "bad" : undefined)], ["When", (row) => instant(row.at)],
      ["Who", (row) => [row.who, h("span", { class: "quiet" }, ` ${row.address}`)]], ["Resource", resource], ["What", difference], ["Id", (row) => copyable(row.id)]],
    rows, (row) => row.id), "Nothing was changed yet. Every change by anybody is recorded here.")],
};

function resource({ resource: text }) {
  return /^(jobs|apps|assignments|invocations|schedules|sessions)\/[^/ ]+$/.test(text) ? link(`/${text}`, text) : text;
}

/** What a change made of each fact that differs. */
function difference({ before, after, reason }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const differing = names.filter((name) => showJson(before?.[name] ?? null) !== showJson(after?.[name] ?? null));
  const words = differing.map((name) => before && after ? `${name}: ${showJson(before[name] ?? null)} → ${showJson(after[name] ?? null)}`
    : `${name}: ${showJson((after ?? before)[name])}`);
  return [reason, ...words].filter(Boolean).join("; ") || "–";
}

/** Read all pages of what the filters select, and save them as a file of JSON lines. */
async function save(button, context) {
  button.setAttribute("aria-busy", "true");
  const lines = [];
  let next = null;
  try {
    do {
      const answer = await call("GET", "/audit", { query: { ...queryOf(context), limit: 100, next }, signal: context.signal });
      lines.push(...answer.records.map((record) => JSON.stringify(record)));
      next = answer.next;
    } while (next && lines.length < MOST_EXPORTED);
    const url = URL.createObjectURL(new Blob(lines.map((line) => `${line}\n`), { type: "application/x-ndjson" }));
    h("a", { href: url, download: "audit.jsonl" }).click();
    URL.revokeObjectURL(url);
    toast(next ? `The newest ${lines.length} records were saved; narrow the filters for older ones.` : `${lines.length} records were saved.`, "good");
  } catch (error) {
    if (!context.signal.aborted) toast(`Export: ${error.message}`, "bad");
  }
  button.removeAttribute("aria-busy");
}
