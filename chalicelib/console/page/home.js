// The first page: what is wrong first, then what runs.

import { call } from "./client.js";
import { badge, h, instant } from "./elements.js";
import { head, link, table } from "./views.js";
import { duration, problemsOf } from "./text.js";

/** /console */
export const home = {
  title: "Home",
  load: async (context) => {
    if (context.me.role === "owner") return {};
    const [overview, { apps }] = await Promise.all([call("GET", "/overview", { signal: context.signal }), call("GET", "/apps", { signal: context.signal })]);
    return { overview, apps };
  },
  draw: ({ overview, apps }) => overview ? [head("Home"), wrong(problemsOf(overview, apps)), running(overview), h("h2", null, "Apps"),
    table("Session apps", [["App", (row) => link(`/apps/${encodeURIComponent(row.name)}`, row.name)], ["State", (row) => badge(row.state)],
      ["Revision", (row) => row.revision], ["Sessions", (row) => link(`/sessions?app=${encodeURIComponent(row.name)}`, "Sessions")]], apps, (row) => row.name)]
    : [head("Home"), h("p", { class: "empty" }, "Here is what belongs to you: your ", link("/invocations", "invocations"), " and ", link("/sessions", "sessions"),
      ". To run something choose one of the ", link("/jobs", "jobs"), ".")],
};

function wrong(problems) {
  if (!problems.length) return h("p", { class: "notice", "data-tone": "good" }, "Nothing is wrong that this page can see: no refused revision, no dead letter, no old queue, the sweep is on time.");
  return h("section", { "aria-label": "What is wrong" }, problems.map(({ text, path, what }) =>
    h("p", { class: "notice", "data-tone": "bad" }, text, " ", path ? link(path, what) : what)));
}

function running({ at, sessions, jobs, sweep, deadLetters }) {
  const tile = (name, value, note) => h("div", null, h("dt", null, name), h("dd", null, value), note ? h("dd", { class: "quiet" }, note) : null);
  const waiting = Object.values(jobs.waiting).reduce((sum, count) => sum + count, 0);
  const letters = Object.values(deadLetters).reduce((sum, count) => sum + count, 0);
  return h("dl", { class: "tiles" },
    tile("Sessions that live", link("/sessions", String(sessions.live))),
    tile("Jobs that run", link("/invocations?status=STARTED", jobs.capacity ? `${jobs.running} of ${jobs.capacity}` : "not bounded")),
    tile("Jobs that wait", link("/invocations?status=QUEUED", String(waiting)), Object.entries(jobs.waiting).filter(([, count]) => count).map(([priority, count]) => `${count} ${priority}`).join(", ")),
    tile("Oldest that waits", jobs.oldestWaitingSince ? duration((Date.parse(at) - Date.parse(jobs.oldestWaitingSince)) / 1000) : "none"),
    tile("Dead letters", String(letters)),
    tile("Last sweep", sweep ? instant(sweep.finishedAt) : "none yet", sweep && `${sweep.records} records, ${sweep.tasks} tasks, ${duration(sweep.seconds)}`));
}
