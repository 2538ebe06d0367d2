// For the author: failures of the grader, verdicts by case, all submissions, regrades.

import { call, newKey, Refusal } from "./client.js";
import { badge, confirm, h, instant, morphChildren, toast } from "./elements.js";
import { change, table, whyNot } from "./views.js";
import { byCount, mergeStatistics, scored, verdictOf } from "./marks.js";
import { name, verdictBadge } from "./gradings.js";

const COUNTED_PAGES = 10;
const ROWS = 20;

/** The author's part of the page. It is loaded when it is opened, and on demand. `show(id)` shows a submission. */
export function authorPanel(context, assignment, show) {
  const path = `/assignments/${encodeURIComponent(assignment.id)}`;
  const known = { pages: [], rows: [], next: null, countedNext: null, isBusy: false, problem: "" };
  const place = h("div", null);
  const why = whyNot(context.me, "owner");
  const ask = (rest, next, limit) => call("GET", path + rest, { query: { next, limit }, signal: context.signal });

  async function act(work) {
    if (known.isBusy) return;
    Object.assign(known, { isBusy: true, problem: "" });
    redraw();
    try {
      await work();
    } catch (error) {
      if (context.signal.aborted) return;
      if (!(error instanceof Refusal)) throw error;
      known.problem = error.message;
    }
    known.isBusy = false;
    redraw();
  }
  async function count(next) {
    let from = next;
    for (let pages = 0; pages < COUNTED_PAGES; pages += 1) {
      const page = await ask("/statistics", from);
      known.pages.push(page);
      from = page.next;
      known.countedNext = from;
      redraw();
      if (!from) break;
    }
  }
  const reload = () => act(async () => {
    Object.assign(known, { pages: [], rows: [], next: null, countedNext: null });
    const first = await ask("/submissions", null, ROWS);
    Object.assign(known, { rows: first.submissions, next: first.next });
    await count(null);
  });
  const older = () => act(async () => {
    const more = await ask("/submissions", known.next, ROWS);
    known.rows.push(...more.submissions);
    known.next = more.next;
  });

  /** Mark every submission again, page by page with one key: repeated it marks nothing twice. */
  async function regradeAll(event) {
    if (why) {
      toast(why, "bad");
      return;
    }
    const button = event.currentTarget;
    if (button.getAttribute("aria-busy") || !await confirm("Mark all submissions again?", [`Every submission to ${assignment.title} is marked on revision ${assignment.revision}. Scores may rise and fall; the gradings before are kept.`], "Mark all again")) return;
    button.setAttribute("aria-busy", "true");
    const key = newKey();
    let next = null, submissions = 0;
    await act(async () => {
      do {
        const answer = await call("POST", `${path}/regrade`, { query: { next }, repeatable: key, signal: context.signal });
        submissions += answer.submissions;
        next = answer.next;
      } while (next);
    });
    button.removeAttribute("aria-busy");
    toast(known.problem ? `Stopped after ${submissions} of them: ${known.problem} Those are marked again, the others not yet.` : `Submissions that are marked again: ${submissions}.`, known.problem ? "bad" : "good");
    context.refresh();
  }

  function redraw() {
    const all = mergeStatistics(known.pages);
    morphChildren(place, h("div", null,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: reload, "aria-busy": known.isBusy ? "true" : null }, "Refresh"),
        h("button", { type: "button", class: "danger", "aria-disabled": why ? "true" : null, title: why || null, onclick: regradeAll }, "Mark all again")),
      known.problem ? h("p", { class: "notice", "data-tone": "bad", role: "alert" }, known.problem) : null,
      h("p", { class: "quiet", role: "status" }, known.isBusy ? `Counting … ${all.submissions} submissions so far.` : `Submissions that are counted: ${all.submissions}, the newest${known.countedNext ? "; there are older ones" : ""}.`),
      known.countedNext && !known.isBusy ? h("button", { type: "button", onclick: () => act(() => count(known.countedNext)) }, "Count older ones") : null,
      h("h3", null, "Failures of the grader"), failures(all.errors),
      h("h3", null, "Verdicts by part"), all.parts.length ? table("Verdicts by part", [["Part", (row) => name(row.part)], ["Verdicts", (row) => counts(row.verdicts)]], all.parts, (row) => row.part) : none("Nothing is marked yet."),
      h("h3", null, `Verdicts by case, revision ${assignment.revision}`), all.cases.length ? table("Verdicts by case", [["Case", (row) => name(row.name)], ["Part", (row) => name(row.part)], ["Verdicts", (row) => counts(row.verdicts)]], all.cases, (row) => `${row.part} ${row.name}`) : none("Nothing is marked on this revision yet."),
      h("h3", null, "All submissions"), known.rows.length ? submissions() : none("Nobody has handed in yet."),
      known.next ? h("button", { type: "button", onclick: older }, "Older submissions") : null));
  }
  const none = (text) => h("p", { class: "empty" }, text);
  const counts = (verdicts) => h("span", { class: "counts" }, byCount(verdicts).map(([verdict, number]) => badge(`${verdict} ${number}`, verdictOf(verdict).tone)));
  const open = (id, label) => h("button", { type: "button", "aria-label": label, onclick: () => show(id) }, "Show");
  const failures = (errors) => errors.length ? table("Failures of the grader", [["When", (row) => instant(row.finishedAt)], ["Learner", (row) => name(row.learner)],
    ["Part", (row) => name(row.part)], ["Details", (row) => h("pre", { class: "json", tabindex: "0", dir: "auto" }, row.details)], ["Submission", (row) => open(row.submission, `Show the submission of ${row.learner}`)]], errors, (row) => row.grading)
    : none("None in what was counted.");
  const submissions = () => table("All submissions", [["When", (row) => instant(row.submittedAt)], ["Learner", (row) => name(row.learner)], ["Verdict", rowVerdicts], ["Score", (row) => scored(row.score, row.maxScore)],
    ["Show or mark", (row) => h("span", { class: "actions" }, open(row.id, `Show the submission of ${row.learner}`), regradeButton(context, row))]], known.rows, (row) => row.id);

  const element = h("details", { class: "author", "data-keep": "author" }, h("summary", null, "For the author"), place);
  element.addEventListener("toggle", () => { if (element.open && !known.pages.length) reload(); });
  return element;
}

/** Whether something can be handed in. */
export function preparationBadge({ state }) {
  const [word, tone] = { READY: ["open", "good"], PREPARING: ["being prepared", "busy"], FAILED: ["cannot be used", "bad"] }[state];
  return badge(word, tone);
}

/** That the images of the graders are being prepared, or cannot be used; why is the author's to see. */
export function preparationNotice(context, { id, isAuthor, preparation }) {
  if (preparation.state === "READY") return null;
  if (preparation.state === "PREPARING") return h("p", { class: "notice", "data-key": "preparation" }, "The grader is being prepared. What you hand in now is marked after that.");
  if (!isAuthor) return h("p", { class: "notice", "data-key": "preparation", "data-tone": "bad" }, "The grader cannot be used now, so nothing can be handed in. Its author can see why.");
  return h("section", { class: "notice", "data-key": "preparation", "data-tone": "bad", "aria-label": "The grader's image" },
    h("p", null, "The image of the grader cannot be used, so nothing can be handed in:"),
    h("pre", { class: "json", tabindex: "0", dir: "auto" }, preparation.reason),
    change(context, "Prepare it again", { done: "It is being prepared.",
      ask: { title: "Prepare the image again?", consequences: "A judge looks up what its name means now, and cleans it. What is handed in waits for that; what got no score before has to be marked again." },
      send: () => call("POST", `/assignments/${encodeURIComponent(id)}/prepare`, {}) }));
}

/** The verdicts of a listing's row. */
export function rowVerdicts(row) {
  return row.parts.map((part) => part.verdict ? verdictBadge(part.verdict) : badge("being marked", "busy"));
}

/** Mark one submission again, after asking. */
export function regradeButton(context, submission) {
  return change(context, "Mark again", { done: "It is marked again.",
    ask: { title: "Mark this submission again?", consequences: "All its parts are marked on the newest revision of the assignment. Its score may rise or fall; the gradings before are kept." },
    send: (repeatable) => call("POST", `/submissions/${submission.id}/regrade`, { repeatable }) });
}
