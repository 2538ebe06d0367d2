// Shared by the pages: heads, filters, tables, pagination, buttons that depend on the caller's role.

import { call, conditionalReader, newKey, Refusal, ROOT } from "./client.js";
import { confirm, h, toast } from "./elements.js";
import { address } from "./text.js";

export const PAGE_SIZE = 50;
const SHORT_PAGES = 5;

/** The head of a page: its title and what can be done here. */
export function head(title, ...actions) {
  return h("div", { class: "head" }, h("h1", null, title), h("div", { class: "actions" }, actions));
}

/** The `load` of a page of one record: it can wait for a change of it. */
export function watchRecord(pathOf) {
  return (context, seconds, abort) => {
    context.read ??= conditionalReader(pathOf(context), context.signal);
    return context.read(seconds, abort);
  };
}

/** A link within the console. */
export function link(path, text, properties) {
  return h("a", { href: ROOT + path, ...properties }, text);
}

/** One page of a listing. A page may be short, or empty, and lead on: some more are asked for. */
export async function listing(context, path, name, query) {
  const rows = [];
  let next = context.query.get("next");
  for (let pages = 0; pages < SHORT_PAGES; pages += 1) {
    const answer = await call("GET", path, { query: { ...query, limit: PAGE_SIZE, next }, signal: context.signal });
    rows.push(...answer[name]);
    next = answer.next;
    if (!next || rows.length) break;
  }
  return { rows, next };
}

/** The filters of a listing as a form; they live in the address. `fields`: {name, label, choices?, kind?}. */
export function filters(context, fields) {
  const apply = (form) => {
    const values = Object.fromEntries(fields.map(({ name, kind }) => {
      const text = form.elements[name].value.trim();
      return [name, kind === "instant" && text ? new Date(text).toISOString() : text];
    }));
    context.go(address(context.path, values));
  };
  return h("form", { class: "filters", "data-keep": `filters ${context.query}`, "aria-label": "Filters",
    onsubmit: (event) => { event.preventDefault(); apply(event.currentTarget); },
    onchange: (event) => { if (event.target.matches("select, [type=datetime-local]")) apply(event.currentTarget); } },
    fields.map((field) => h("label", null, h("span", null, field.label), control(field, context.query.get(field.name) ?? ""))),
    h("button", { type: "submit" }, "Filter"),
    [...context.query.keys()].length ? link(context.path, "Clear", { class: "clear" }) : null);
}

function control({ name, choices, kind, hint }, value) {
  if (choices) {
    return h("select", { name }, h("option", { value: "" }, "any"),
      choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)));
  }
  if (kind === "instant") return h("input", { name, type: "datetime-local", step: "1", value: localInstant(value) });
  return h("input", { name, value, placeholder: hint, autocomplete: "off", spellcheck: "false" });
}

function localInstant(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

/** A table. `columns`: [heading, row => content]; the first one names its row. */
export function table(caption, columns, rows, keyOf) {
  return h("div", { class: "scroll" }, h("table", null, h("caption", { class: "unseen" }, caption),
    h("thead", null, h("tr", null, columns.map(([heading]) => h("th", { scope: "col" }, heading)))),
    h("tbody", null, rows.map((row) => h("tr", { "data-key": keyOf(row) },
      columns.map(([heading, cell], place) => h(place ? "td" : "th", { scope: place ? null : "row", "data-label": heading },
        h("div", null, cell(row) ?? "–"))))))));
}

/** The listing, or what an empty one means. */
export function results(context, { rows, next }, draw, empty) {
  const isFiltered = [...context.query.keys()].some((name) => name !== "next");
  const more = next ? link(address(context.path, { ...Object.fromEntries(context.query), next }),
    rows.length >= PAGE_SIZE ? "Older" : rows.length ? "Look further back" : "Nothing in what was looked through so far. Look further back", { class: "button", rel: "next" }) : null;
  const nothing = isFiltered
    ? h("p", { class: "empty" }, "Nothing fits these filters. They were applied to all records, not to a page of them.")
    : h("p", { class: "empty" }, empty);
  return [rows.length ? draw(rows) : next ? null : nothing,
    h("div", { class: "pages" },
      context.query.get("next") ? link(address(context.path, { ...Object.fromEntries(context.query), next: "" }), "Newest", { class: "button" }) : null, more)];
}

/** A list of facts: [name, value]; those without a value are left out. */
export function facts(...pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** Why this caller may not do something; empty where they may. `needs`: operator or owner. */
export function whyNot(me, needs) {
  if (me.role === "viewer") return "You are a viewer: viewers see everything and change nothing.";
  if (needs === "operator" && me.role !== "operator") return "Only operators may do this.";
  return "";
}

/**
 * Ask, send, and say what came of it. `why`: why it may not be done, `then`: what follows an answer.
 *
 * `ask`: title, consequences, label, content; `send` gets a key that makes a repeated request the same one.
 */
export async function askAndSend(context, label, element, { why, ask, send, then, failed }) {
  if (why) {
    toast(why, "bad");
    return;
  }
  if (element.getAttribute("aria-busy") || !await confirm(ask.title, ask.consequences, ask.label ?? label, ask.content)) return;
  element.setAttribute("aria-busy", "true");
  try {
    then(await send(newKey()));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (failed) failed(error);
    else toast(`${label}: ${error.message}`, "bad");
  } finally {
    element.removeAttribute("aria-busy");
  }
}

/**
 * A button for a change: it asks first, says what came of it, and shows the page anew. One that may
 * not be used says why.
 */
export function change(context, label, { needs = "owner", unless = "", ask, send, done, tone }) {
  const why = whyNot(context.me, needs) || unless;
  const act = async (event) => {
    await askAndSend(context, label, event.currentTarget, { why, ask, send,
      then: (answer) => { if (done) toast(typeof done === "function" ? done(answer) : done, "good"); } });
    context.refresh();
  };
  return h("button", { type: "button", class: tone, title: why || null, "aria-disabled": why ? "true" : null, onclick: act }, label);
}

const MOST_AT_ONCE = 1000;

/**
 * A button that does the same to all records that `query` selects and that `fits` leaves: it counts them over all
 * pages, says which ones it hits, and asks.
 */
export function changeAll(context, label, { needs = "owner", path, name, query = {}, fits, show, rest, send, done }) {
  const why = whyNot(context.me, needs);
  const act = async (event) => {
    if (why) {
      toast(why, "bad");
      return;
    }
    const button = event.currentTarget;
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      const { hit, next } = await allOf(context, path, name, query, fits);
      if (!hit.length) toast(`There is none to ${label.split(" ")[0].toLowerCase()}.`);
      else if (await confirm(`${label}?`, `This hits ${hit.length} ${name}${next ? ", more remain" : ""}. ${rest}`, `${label.split(" ")[0]} ${hit.length}`,
        h("ul", { class: "hit", tabindex: "0", "aria-label": "What it hits" }, hit.map((one) => h("li", null, show(one)))))) {
        await changeEach(hit, { name, show, send, done });
      }
    } catch (error) {
      if (!context.signal.aborted) toast(`${label}: ${error.message}`, "bad");
    }
    button.removeAttribute("aria-busy");
    context.refresh();
  };
  return h("button", { type: "button", onclick: act, title: why || null, "aria-disabled": why ? "true" : null }, label);
}

async function allOf(context, path, name, query, fits) {
  const hit = [];
  let next = null;
  do {
    const answer = await call("GET", path, { query: { ...query, limit: 100, next }, signal: context.signal });
    hit.push(...answer[name].filter(fits));
    next = answer.next;
  } while (next && hit.length < MOST_AT_ONCE);
  return { hit, next };
}

async function changeEach(hit, { name, show, send, done }) {
  let failures = 0;
  for (const one of hit) {
    try {
      await send(one);
    } catch (error) {
      failures += 1;
      toast(`${show(one)}: ${error.message}`, "bad");
    }
  }
  toast(`${hit.length - failures} of ${hit.length} ${name} ${done}.`, failures ? "bad" : "good");
}
