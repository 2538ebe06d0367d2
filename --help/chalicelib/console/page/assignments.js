// The learner's pages: all assignments, and one of them.

import { call, Refusal } from "./client.js";
import { h, instant } from "./elements.js";
import { head, link, listing, results, table } from "./views.js";
import { announcement, passMark, points, pollSeconds, scored } from "./marks.js";
import { name, submissionPanel, verdictBadge } from "./gradings.js";
import { uploadForm } from "./upload.js";
import { authorPanel, preparationBadge, preparationNotice, regradeButton, rowVerdicts } from "./statistics.js";

const PAGE_ROWS = 20;
const WHOLE_EVERY = 5;
const OTHERS_SECONDS = 5;

/** / */
export const assignmentList = {
  title: "Assignments",
  isStill: true,
  load: (context) => listing(context, "/assignments", "assignments", {}),
  draw: (data, context) => [head("Assignments"), results(context, data, (rows) => table("Assignments", [
    ["Assignment", (row) => link(`/${encodeURIComponent(row.id)}`, name(row.title))], ["State", (row) => preparationBadge(row.preparation)], ["Parts", (row) => row.parts.length],
    ["To pass", (row) => row.passPoints ? `${points(row.passPoints)} of ${points(row.maxScore)} points` : "–"], ["Changed", (row) => instant(row.changedAt)]], rows, (row) => row.id),
  "There is no assignment yet.")],
};

/** /ID: what is handed in and what came of it. The submission that is shown is in the address, after #. */
export const assignmentPage = {
  title: "Assignment",
  load,
  pollSeconds: ({ assignment, submission, rows }) => (submission && pollSeconds(submission, Date.now()))
    ?? (assignment?.preparation.state === "PREPARING" || rows.some(({ state }) => state !== "FINISHED") ? OTHERS_SECONDS : null),
  draw,
  mount: (root, context) => {
    fill(root, context);
    context.onRefresh(() => fill(root, context));
  },
};

/** All of it at first, then the submission that is being marked alone, and now and then all of it. */
async function load(context) {
  const known = context.known ?? {};
  context.rounds = (context.rounds ?? 0) + 1;
  context.shown ??= shownIn(location.hash);
  if (known.submission && known.submission.id === context.shown?.id && known.submission.state !== "FINISHED" && context.rounds % WHOLE_EVERY) {
    const submission = await oneSubmission(context);
    if (submission?.state !== "FINISHED") {
      context.known = { ...known, submission };
      return context.known;
    }
  }
  const path = `/assignments/${encodeURIComponent(context.id)}`;
  const [assignment, own] = await Promise.all([orNothing(call("GET", path, { signal: context.signal })), ownSubmissions(context, path)]);
  const newest = own.rows[0];
  let submission = context.shown ? await oneSubmission(context) : null;
  if (!submission && newest) {
    context.shown = { id: newest.id, isAuthor: false };
    submission = await oneSubmission(context);
  }
  context.known = { assignment, ...own, submission };
  return context.known;
}

async function ownSubmissions(context, path) {
  const rows = [];
  let next = null, standing = null;
  for (let pages = 0; pages < (context.pages ?? 1); pages += 1) {
    const page = await call("GET", `${path}/submissions`, { query: { learner: context.me.owner, limit: PAGE_ROWS, next }, signal: context.signal });
    rows.push(...page.submissions);
    ({ next, standing } = page);
    if (!next) break;
  }
  return { rows, next, standing };
}

const oneSubmission = ({ shown, signal }) => orNothing(call("GET", `/submissions/${encodeURIComponent(shown.id)}`, { query: { view: shown.isAuthor ? "" : "learner" }, signal }));

/** Null where there is no such thing, or no more. */
async function orNothing(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Refusal && error.status === 404) return null;
    throw error;
  }
}

function shownIn(hash) {
  const found = /^#(author-)?([0-9a-f-]{36})$/.exec(hash);
  return found ? { id: found[2], isAuthor: Boolean(found[1]) } : null;
}

function showSubmission(context, id, isAuthor) {
  context.shown = { id, isAuthor };
  history.replaceState(null, "", `#${isAuthor ? "author-" : ""}${id}`);
  context.refresh().then(() => document.querySelector(".submission")?.scrollIntoView({ block: "nearest" }));
}

function draw({ assignment, rows, next, standing, submission }, context) {
  const parts = new Map((assignment?.parts ?? []).map((part) => [part.name, part]));
  const isAuthor = Boolean(assignment?.isAuthor);
  return [head(assignment ? name(assignment.title) : context.id),
    assignment ? [standingPanel(assignment, standing), preparationNotice(context, assignment)] : h("p", { class: "notice" }, "This assignment takes no more submissions. What you handed in stays here."),
    assignment && assignment.preparation.state !== "FAILED" ? [h("h2", null, "Hand in"), h("section", { "data-keep": `upload ${assignment.revision}` })] : null,
    h("p", { class: "unseen", role: "status", "data-key": "live" }, submission ? announcement(submission) : ""),
    submission ? submissionPanel(submission, parts, isAuthor ? [
      h("button", { type: "button", "aria-pressed": String(Boolean(context.shown.isAuthor)), onclick: () => showSubmission(context, submission.id, !context.shown.isAuthor) }, "As its author"),
      regradeButton(context, submission)] : null) : null,
    h("h2", null, "Your submissions"),
    rows.length ? table("Your submissions", [["When", (row) => instant(row.submittedAt)], ["Parts", (row) => row.parts.map(({ part }, place) => [place ? ", " : "", name(parts.get(part)?.title ?? part)])],
      ["Verdict", rowVerdicts], ["Score", (row) => scored(row.score, row.maxScore)],
      ["Show", (row) => h("button", { type: "button", "aria-pressed": String(row.id === context.shown?.id), "aria-label": `Show the submission of ${new Date(row.submittedAt).toLocaleString()}`, onclick: () => showSubmission(context, row.id, false) }, "Show")]],
    rows, (row) => row.id) : h("p", { class: "empty" }, "You have handed in nothing yet."),
    next ? h("button", { type: "button", onclick: () => { context.pages = (context.pages ?? 1) + 1; context.known = null; context.refresh(); } }, "Older submissions") : null,
    isAuthor ? h("section", { "data-keep": `author ${assignment.revision}` }) : null];
}

function standingPanel(assignment, standing) {
  const total = standing?.total ?? 0;
  const best = new Map((standing?.best ?? []).map((one) => [one.part, one]));
  const marks = standing?.passed ? ["Passed", "good"] : ["Not passed yet", "plain"];
  return h("section", { class: "standing", "aria-label": "Your points" },
    h("p", null, h("strong", { class: "total" }, `${points(total)} of ${points(assignment.maxScore)} points`), " ",
      assignment.passPoints ? h("span", { class: "badge", "data-tone": marks[1] }, marks[0]) : null),
    h("p", { class: "quiet" }, passMark(assignment)),
    h("ul", null, assignment.parts.map((part) => h("li", { "data-key": part.name }, h("span", null, name(part.title)),
      h("span", { class: "bar", share: String(part.maxScore ? (best.get(part.name)?.score ?? 0) / part.maxScore : 0), "aria-hidden": "true" }),
      h("span", null, best.has(part.name) ? `best ${scored(best.get(part.name).score, part.maxScore)}` : scored(null, part.maxScore), " ", best.has(part.name) ? verdictBadge(best.get(part.name).verdict) : null)))));
}

/** The parts of the page that keep what is in them: the form and the author's panel. */
function fill(root, context) {
  const { assignment } = context.known;
  const upload = root.querySelector('[data-keep^="upload"]');
  if (upload && !upload.firstChild) {
    upload.append(uploadForm(context, assignment, (made) => {
      context.known = null;
      showSubmission(context, made.id, false);
    }));
  }
  const author = root.querySelector('[data-keep^="author"]');
  if (author && !author.firstChild) author.append(authorPanel(context, assignment, (id) => showSubmission(context, id, true)));
}
