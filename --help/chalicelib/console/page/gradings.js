// A submission: its progress, and the results of its parts and cases.

import { badge, h, instant } from "./elements.js";
import { table } from "./views.js";
import { points, progressOf, scored, shareOf, sizeOf, used, verdictOf } from "./marks.js";

/** A verdict in its colour, with its short name. */
export function verdictBadge(verdict) {
  const { words, tone } = verdictOf(verdict);
  return h("span", { class: "verdict" }, badge(words, tone), h("abbr", { title: words, class: "quiet" }, verdict));
}

/** Names come from anybody: isolated, so that right-to-left ones change nothing around them. */
export function name(text) {
  return h("bdi", null, text);
}

/** A submission with its gradings. `parts`: those of the assignment by name, as they are now. */
export function submissionPanel(submission, parts, actions) {
  const files = submission.parts.flatMap((part) => part.files);
  return h("section", { class: "submission", "data-key": `submission ${submission.id}`, "aria-label": "Submission" },
    h("div", { class: "head" }, h("h2", null, "Submission of ", instant(submission.submittedAt)), h("div", { class: "actions" }, actions)),
    h("p", { class: "files quiet" }, files.map((file, place) => [place ? ", " : "", name(file.name), ` (${sizeOf(file.size)})`])),
    submission.gradings.map((grading) => gradingPanel(grading, parts.get(grading.part), submission.gradings.length > 1)),
    submission.history.length ? h("details", null, h("summary", null, `Marked before: ${submission.history.length}`),
      h("ul", null, submission.history.map((old) => h("li", null, old.verdict ? verdictBadge(old.verdict) : "–", " ", scored(old.score, old.maxScore), ", revision ", old.revision, ", ", instant(old.finishedAt))))) : null);
}

function gradingPanel(grading, part, isOneOfMany) {
  return h("div", { class: "grading", "data-key": grading.id },
    isOneOfMany ? h("h3", null, name(part?.title ?? grading.part)) : null,
    grading.state === "FINISHED" ? finished(grading, part) : underWay(grading));
}

function underWay(grading) {
  const { words, share } = progressOf(grading);
  return h("div", { class: "under-way" }, h("p", null, badge(words, "busy")),
    h("progress", { "aria-label": "Marking", max: "1", value: share === null ? null : String(share) }));
}

function finished(grading, part) {
  const isMissing = grading.verdict === "IE";
  return [h("p", { class: "mark" }, verdictBadge(grading.verdict), " ", h("strong", null, isMissing ? "No score: it costs you nothing" : scored(grading.score, grading.maxScore))),
    grading.feedback ? h("p", { class: "feedback" }, name(grading.feedback)) : null,
    grading.reason ? h("p", { class: "notice", "data-tone": "bad" }, grading.reason) : null,
    grading.compile ? compiled(grading.compile) : null,
    grading.cases.length ? cases(grading, part) : null];
}

function compiled({ output, exitCode }) {
  if (!output && !exitCode) return null;
  return h("details", { open: exitCode !== 0 }, h("summary", null, `Output of the compiler${exitCode ? `, exit code ${exitCode}` : ""}`),
    output ? h("pre", { class: "json", tabindex: "0", dir: "auto" }, output) : h("p", { class: "quiet" }, "It printed nothing."));
}

const TEXTS = [["input", "Input"], ["output", "Your output"], ["answer", "Right output"]];
const isShown = (one) => TEXTS.some(([key]) => typeof one[key] === "string");

function cases(grading, part) {
  const limit = part && part.kind === "tests" ? part : {};
  const isCut = grading.cases.some((one) => !isShown(one));
  return [table("Cases", [
    ["Case", (one) => name(one.name)], ["Verdict", (one) => verdictBadge(one.verdict)],
    ["Points", (one) => `${points(one.points)} of ${points(one.maxPoints)}`],
    ["Time", (one) => use(one, one.cpuSeconds, limit.timeLimitSeconds, "s")],
    ["Memory", (one) => use(one, one.memoryMib, limit.memoryLimitMib, "MiB")],
    ["Message", (one) => [one.message ? h("span", { class: "said", dir: "auto" }, one.message) : isShown(one) ? null : "–", texts(one)]]],
  grading.cases, (one) => one.name),
  isCut ? h("p", { class: "quiet" }, "Of hidden cases the verdict, the points, and rounded time and memory are shown, and nothing else.") : null];
}

function use(one, amount, limit, unit) {
  if (one.verdict === "SK") return "–";
  return [used(amount, limit, unit), limit ? h("span", { class: "bar", share: String(shareOf(amount, limit)), "aria-hidden": "true" }) : null];
}

function texts(one) {
  if (!isShown(one)) return null;
  return h("details", null, h("summary", null, "Input and output", h("span", { class: "unseen" }, ` of ${one.name}`)),
    TEXTS.filter(([key]) => typeof one[key] === "string").map(([key, label]) =>
      h("figure", null, h("figcaption", null, label), one[key] === "" ? h("p", { class: "quiet" }, "nothing")
        : h("pre", { class: "json", tabindex: "0", dir: "auto", "aria-label": `${label} of ${one.name}` }, one[key]))));
}
