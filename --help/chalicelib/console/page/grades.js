// Assignments: their parts and newest gradings; details are on the pages of assignments.

import { base, call } from "./client.js";
import { badge, copyable, h, instant } from "./elements.js";
import { facts, head, link, listing, results, table } from "./views.js";

const assignmentPath = (id) => `/assignments/${encodeURIComponent(id)}`;
const own = (id) => h("a", { class: "button", href: new URL(`learn/${encodeURIComponent(id)}`, base).href }, "Its own page");

/** /console/assignments */
export const assignmentList = {
  title: "Assignments",
  isStill: true,
  load: (context) => listing(context, "/assignments", "assignments", {}),
  draw: (found, context) => [head("Assignments"), results(context, found, (rows) => table("Assignments by id", [
    ["Assignment", (row) => link(assignmentPath(row.id), row.title || row.id)], ["State", (row) => badge(row.preparation.state)], ["Revision", (row) => row.revision], ["Points", (row) => row.maxScore],
    ["Parts", (row) => row.parts.map(({ name }) => name).join(", ")], ["Id", (row) => copyable(row.id)]], rows, (row) => row.id),
  ["There is no assignment. Make one with ", h("code", null, "usher assignment put DIR"), "."])],
};

/** /console/assignments/ID */
export const assignmentPage = {
  title: "Assignment",
  load: async (context) => {
    const path = assignmentPath(context.id);
    const [assignment, found] = await Promise.all([call("GET", path, { signal: context.signal }),
      listing(context, `${path}/submissions`, "submissions", { learner: context.query.get("learner") })]);
    return { assignment, found };
  },
  draw: ({ assignment, found }, context) => [head(assignment.title || assignment.id, own(assignment.id)),
    h("h2", null, "Gradings, the newest first"), results(context, found, (rows) => table("Submissions with their gradings", [
      ["Submitted", (row) => instant(row.submittedAt)], ["State", (row) => badge(row.state)], ["Learner", (row) => row.learner],
      ["Score", (row) => row.score === null ? "–" : `${row.score} of ${row.maxScore}`], ["Parts", (row) => row.parts.map(({ part, verdict }) => `${part}: ${verdict ?? "waits"}`).join(", ")],
      ["Id", (row) => copyable(row.id)]], rows, (row) => row.id), "Nothing was handed in yet."),
    facts(["Id", copyable(assignment.id)], ["Revision", assignment.revision], ["Points", assignment.maxScore], ["Passed from", assignment.passPoints])],
};
