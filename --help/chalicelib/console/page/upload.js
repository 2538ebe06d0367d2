// Submits files for parts, chosen or dropped; repeats the request until the dispatcher accepts it.

import { call, newKey, Refusal } from "./client.js";
import { h, toast } from "./elements.js";
import { isWorthRepeating, refusalOf, repeatAfter, scored, sizeOf } from "./marks.js";
import { name } from "./gradings.js";

const PENDING = "usher-upload";
const MOST_ANSWERED = 20; // so many answers that something is wrong; without an answer it goes on

/** The form of an assignment. `onDone` gets the new submission. Resumes an upload that a reload cut off. */
export function uploadForm(context, assignment, onDone) {
  const chosen = new Map(assignment.parts.map((part) => [part.name, []]));
  const zones = assignment.parts.map((part) => zone(part, chosen, () => problem("")));
  const alert = h("p", { class: "notice", "data-tone": "bad", role: "alert", hidden: true });
  const status = h("p", { class: "notice", role: "status", hidden: true });
  const button = h("button", { type: "submit", class: "strong" }, "Submit");
  const problem = (text) => { alert.textContent = text; alert.hidden = !text; };
  const tell = (text) => { status.textContent = text; status.hidden = !text; };

  async function deliver(request) {
    button.setAttribute("aria-busy", "true");
    problem("");
    try {
      const made = await sendUntilTaken(context, assignment.id, request, tell);
      chosen.forEach((_, part) => chosen.set(part, []));
      zones.forEach((one) => one.redraw());
      onDone(made);
    } catch (error) {
      if (context.signal.aborted) return; // the page goes on with it when it is shown again
      if (!(error instanceof Refusal)) throw error;
      forget();
      problem(error.message || `The dispatcher answered with ${error.status}.`);
    } finally {
      tell("");
      button.removeAttribute("aria-busy");
    }
  }

  const form = h("form", { class: "form upload", "aria-label": "Hand in", onsubmit: async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy")) return;
    const refusal = refusalOf([...chosen.values()].flat().map((file) => file.size));
    if (refusal) {
      problem(refusal);
      return;
    }
    let body;
    try {
      body = await bodyOf(chosen);
    } catch (error) {
      problem(error.message);
      return;
    }
    const request = { assignment: assignment.id, owner: context.me.owner, key: newKey(), body };
    remember(request);
    deliver(request);
  } }, zones.map((one) => one.element), alert, status, h("div", { class: "actions" }, button,
    h("span", { class: "quiet" }, "At most 64 files and 1 MiB together. As often as you like; your best score of each part counts.")));
  const left = recall();
  if (left && left.owner !== context.me.owner) forget();
  else if (left?.assignment === assignment.id) deliver(left);
  return form;
}

function zone(part, chosen, onChange) {
  const id = `files-${part.name}`;
  const list = h("ul", { id: `${id}-chosen`, class: "chosen" });
  const input = h("input", { type: "file", id, multiple: true, "aria-describedby": `${id}-wanted ${id}-chosen` });
  const element = h("div", { class: "drop", role: "group", "aria-label": part.title },
    h("div", { class: "head" }, h("h3", null, name(part.title)), h("span", { class: "quiet" }, scored(null, part.maxScore).replace("– of ", ""))),
    h("p", { id: `${id}-wanted`, class: "quiet" }, "Wanted: ", part.files.map((file, place) => [place ? ", " : "", h("code", null, name(file))]), ". ",
      part.kind === "tests" ? `${part.cases} cases, ${part.timeLimitSeconds} s and ${part.memoryLimitMib} MiB each.` : null),
    h("label", { for: id, class: "pick" }, h("span", null, "Choose files", h("span", { class: "unseen" }, ` for ${part.title}`)), h("span", { class: "quiet", "aria-hidden": "true" }, "or drop them here"), input), list);

  function add(files) {
    const known = new Map(chosen.get(part.name).map((file) => [file.name, file]));
    for (const file of files) known.set(file.name, file);
    chosen.set(part.name, [...known.values()]);
    redraw();
    onChange();
    if (files.length) toast(`${files.length === 1 ? files[0].name : `${files.length} files`} chosen for ${part.title}`);
  }
  function redraw() {
    list.replaceChildren(...chosen.get(part.name).map((file) => h("li", null, name(file.name), h("span", { class: "quiet" }, ` ${sizeOf(file.size)} `),
      h("button", { type: "button", "aria-label": `Take ${file.name} out`, onclick: () => {
        chosen.set(part.name, chosen.get(part.name).filter((one) => one !== file));
        redraw();
        input.focus();
      } }, "Remove"))));
  }
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = ""; // so that the same file, changed, can be chosen again
  });
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.dataset.over = "true";
  });
  element.addEventListener("dragleave", (event) => { if (!element.contains(event.relatedTarget)) delete element.dataset.over; });
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    delete element.dataset.over;
    add([...event.dataTransfer.files]);
  });
  return { element, redraw };
}

/** A drop beside the parts opens no file in place of the page. */
export function guardDrops() {
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => { if (!event.target.closest?.(".drop")) event.preventDefault(); });
}

/** The body of the request. Raises Error where a file cannot be read. */
async function bodyOf(chosen) {
  const parts = {};
  for (const [part, files] of chosen) {
    if (!files.length) continue;
    const contents = Object.create(null);
    for (const file of files) contents[file.name] = { base64: await base64Of(file) };
    parts[part] = { files: contents };
  }
  return JSON.stringify({ parts });
}

async function base64Of(file) {
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let binary = "";
    for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(binary);
  } catch {
    throw new Error(`${file.name} cannot be read: it is a folder, or was changed or moved since you chose it. Choose it again.`);
  }
}

/** Send it, again and again with the same key, until the dispatcher takes or refuses it. */
async function sendUntilTaken(context, assignment, { key, body }, tell) {
  for (let count = 1; ; count += 1) {
    tell(count === 1 ? "Uploading …" : "Uploading again …");
    try {
      const made = await call("POST", `/assignments/${encodeURIComponent(assignment)}/submissions`,
        { query: { view: "learner" }, body, repeatable: key, signal: context.signal });
      forget();
      return made;
    } catch (error) {
      if (!(error instanceof Refusal) || !isWorthRepeating(error) || (error.status && count >= MOST_ANSWERED)) throw error;
      const seconds = repeatAfter(count, error.retryAfter);
      tell(`${error.message || "The dispatcher does not answer."} Your files are kept here and are sent again in ${seconds} s.`);
      await pause(seconds, context.signal);
    }
  }
}

/** Wait, until the device is online again at most. Rejects when the page goes. */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = (end) => () => {
      clearTimeout(timer);
      removeEventListener("online", go);
      end(signal.reason);
    };
    const go = done(resolve);
    const timer = setTimeout(go, seconds * 1000);
    addEventListener("online", go);
    signal.addEventListener("abort", done(reject), { once: true });
  });
}

function remember(request) {
  try {
    sessionStorage.setItem(PENDING, JSON.stringify(request));
  } catch {
    forget(); // there is no room: a reload would lose it, and the learner chooses again
  }
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(PENDING));
  } catch {
    return null;
  }
}

function forget() {
  sessionStorage.removeItem(PENDING);
}
