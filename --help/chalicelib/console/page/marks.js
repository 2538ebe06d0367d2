// Texts for marks: verdicts, points, limits, progress; and which requests are repeated. Pure.

export const MOST_FILES = 64;
export const MOST_BYTES = 1024 * 1024;
const VERDICTS = {
  AC: ["Right", "good"], WA: ["Wrong answer", "bad"], PE: ["Wrong format", "bad"], TLE: ["Over the time limit", "bad"],
  MLE: ["Over the memory limit", "bad"], OLE: ["Too much output", "bad"], RTE: ["Ended with an error", "bad"],
  CE: ["Does not compile", "bad"], IE: ["The grader failed", "busy"], SK: ["Not run", "plain"],
};
const REPEATED = [0, 408, 500, 502, 504];
const FASTEST_SECONDS = 1;
const SLOWEST_SECONDS = 10;

/** A verdict as words, and their tone. */
export function verdictOf(verdict) {
  const [words, tone] = VERDICTS[verdict] ?? [verdict, "plain"];
  return { words, tone };
}

/** Points without needless digits: 33.333333 is "33.33", 40 is "40". */
export function points(number) {
  return String(Number(number.toFixed(2)));
}

/** "40 of 100 points"; "– of 100 points" where there is no score. */
export function scored(score, maxScore) {
  return `${score === null || score === undefined ? "–" : points(score)} of ${points(maxScore)} points`;
}

/** What must be earned, in the words of the assignment. */
export function passMark({ passPoints, maxScore }) {
  if (!passPoints) return "This assignment has no pass mark.";
  return `You must earn ${points(passPoints)} of ${points(maxScore)} points to pass.`;
}

/** What was used of a limit: "0.02 of 1 s", "9.1 of 64 MiB". */
export function used(amount, limit, unit) {
  if (typeof amount !== "number") return "–";
  const shown = String(Number(amount.toFixed(amount < 10 ? 2 : 0)));
  return limit ? `${shown} of ${points(limit)} ${unit}` : `${shown} ${unit}`;
}

/** The share of a limit that was used, 0 to 1. */
export function shareOf(amount, limit) {
  return limit > 0 && amount > 0 ? Math.min(1, amount / limit) : 0;
}

/** How far the marking of a part is, in words, and the share that is done (null: not known). */
export function progressOf({ state, position, estimateSeconds, progress, attempts, preparing }) {
  const again = attempts > 1 ? ", again: a judge was lost" : "";
  if (state === "QUEUED") {
    if (preparing) return { words: "Waits until the grader is prepared", share: null };
    if (position === null || position === undefined) return { words: `Handed to a judge${again}`, share: null };
    const soon = estimateSeconds ? `, marked in about ${estimateSeconds} s` : "";
    return { words: `In the queue, ${position ? `${position} before it` : "next"}${soon}${again}`, share: null };
  }
  if (state === "COMPILING") return { words: `Compiling${again}`, share: null };
  const { case: number, of } = progress ?? {};
  if (number && of) return { words: `Case ${number} of ${of}${again}`, share: (number - 1) / of };
  return { words: `Running${again}`, share: null };
}

/** The text for screen readers: changes with the steps of a submission, not with each case. */
export function announcement({ state, gradings, parts, score, maxScore }) {
  if (state === "QUEUED") {
    const waiting = gradings.find(({ position }) => position !== null && position !== undefined);
    return waiting ? `In the queue, ${waiting.position ? `${waiting.position} before it` : "next"}.` : "Handed to a judge.";
  }
  if (state === "COMPILING") return "Compiling.";
  if (state !== "FINISHED") return "Your program is being run on the cases.";
  const marks = parts.map(({ part, verdict }) => (parts.length > 1 ? `${part}: ${verdictOf(verdict).words}` : verdictOf(verdict).words));
  return `Marked. ${marks.join(", ")}. ${scored(score, maxScore)}.`;
}

/** How long to wait before asking again, in seconds: the longer it takes, the longer. Null: there is no more to come. */
export function pollSeconds({ state, submittedAt }, now) {
  if (state === "FINISHED") return null;
  const elapsed = Math.max(0, now - Date.parse(submittedAt)) / 1000;
  return Math.min(SLOWEST_SECONDS, Math.max(FASTEST_SECONDS, elapsed / 10));
}

/** Whether a refused upload is worth repeating: nobody answered, or the answer says when to come again. */
export function isWorthRepeating({ status, code, retryAfter }) {
  if (REPEATED.includes(status)) return true;
  return [429, 503].includes(status) && (retryAfter !== null || !code);
}

/** Seconds until an upload is repeated for the `count`th time. */
export function repeatAfter(count, retryAfter) {
  return Math.max(retryAfter ?? 0, Math.min(30, 2 ** (count - 1)));
}

/** Why these files cannot be handed in, in words; empty where they can. `sizes`: of all parts, in bytes. */
export function refusalOf(sizes) {
  if (!sizes.length) return "Choose at least one file.";
  if (sizes.length > MOST_FILES) return `These are ${sizes.length} files; at most ${MOST_FILES} are taken.`;
  const all = sizes.reduce((sum, size) => sum + size, 0);
  return all > MOST_BYTES ? `Together the files have ${sizeOf(all)}; at most 1 MiB is taken.` : "";
}

/** A size as people say it. */
export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < MOST_BYTES ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / MOST_BYTES).toFixed(1)} MiB`;
}

/** The statistics of several pages as one. */
export function mergeStatistics(pages) {
  const merged = (name, keyOf) => {
    const rows = new Map();
    for (const row of pages.flatMap((page) => page[name])) {
      const { verdicts, ...facts } = row;
      const known = rows.get(keyOf(row)) ?? { ...facts, verdicts: {} };
      for (const [verdict, count] of Object.entries(verdicts)) known.verdicts[verdict] = (known.verdicts[verdict] ?? 0) + count;
      rows.set(keyOf(row), known);
    }
    return [...rows.values()];
  };
  return { submissions: pages.reduce((sum, page) => sum + page.submissions, 0), parts: merged("parts", ({ part }) => part),
    cases: merged("cases", ({ part, name }) => JSON.stringify([part, name])), errors: pages.flatMap((page) => page.errors) };
}

/** Counts of verdicts as [verdict, count], the most frequent first. */
export function byCount(verdicts) {
  return Object.entries(verdicts).sort(([, one], [, other]) => other - one);
}
