// The console: its pages, and the search.

import { call } from "./client.js";
import { toast } from "./elements.js";
import { go, start } from "./frame.js";
import { home } from "./home.js";
import { invocationList, invocationPage } from "./invocations.js";
import { sessionList, sessionPage } from "./sessions.js";
import { jobList, jobPage } from "./jobs.js";
import { scheduleList, schedulePage } from "./schedules.js";
import { appList, appPage } from "./apps.js";
import { auditList } from "./audit.js";
import { hostList, hostPage } from "./hosts.js";
import { assignmentList, assignmentPage } from "./grades.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const HEX = /^[0-9a-f]{32}$/i;
const PAGES = {
  home: { list: home, key: "h" },
  invocations: { list: invocationList, one: invocationPage, key: "i" },
  sessions: { list: sessionList, one: sessionPage, key: "s" },
  jobs: { list: jobList, one: jobPage, key: "j" },
  schedules: { list: scheduleList, one: schedulePage, key: "c" },
  apps: { list: appList, one: appPage, key: "a" },
  hosts: { list: hostList, one: hostPage, key: "o" },
  assignments: { list: assignmentList, one: assignmentPage, key: "m" },
  audit: { list: auditList, key: "u" },
};

/** Find a host, or the record of a task, by the id that ECS gave it. */
async function findTask(id) {
  const [host, task] = await Promise.allSettled([call("GET", `/hosts/${id}`), call("GET", `/tasks/${id}`)]);
  if (host.status === "fulfilled") return go(`/hosts/${id}`);
  const found = task.value;
  if (found?.record) return go(`/${found.kind === "session" ? "sessions" : "invocations"}/${found.record}`);
  return toast(task.reason?.status ? `ECS knows no host or task ${id}. It forgets tasks an hour after their end.` : task.reason?.message ?? "Nothing of ours.", "bad");
}

/** Find what an id or name is of: asks for each kind that it can be. */
async function find(text) {
  if (/^\w+:./.test(text) && !text.startsWith("arn:")) return go(`/invocations?owner=${encodeURIComponent(text)}`);
  if (text.startsWith("arn:") || HEX.test(text)) return findTask(text.split("/").at(-1));
  const kinds = UUID.test(text) ? ["invocations", "sessions", "submissions"] : ["jobs", "schedules", "apps", "assignments"];
  const answers = await Promise.allSettled(kinds.map((kind) => call("GET", `/${kind}/${encodeURIComponent(text)}`)));
  const submission = answers[kinds.indexOf("submissions")]?.value;
  if (submission) return go(`/assignments/${encodeURIComponent(submission.assignment)}?learner=${encodeURIComponent(submission.learner)}`);
  const found = kinds.find((kind, number) => PAGES[kind] && answers[number].status === "fulfilled");
  if (found) return go(`/${found}/${encodeURIComponent(text)}`);
  const silent = answers.find(({ reason }) => reason?.status === 0);
  return toast(silent ? silent.reason.message : `Nothing is called ${text}.`, "bad");
}

start({ pages: PAGES, first: "home", find, hasKeys: true, route: ([name = "home", id = null]) => ({ name, id }) });
