// The frame: which page is shown, who asks, live updates, the search field, keys.

import { asksForKey, call, mode, Refusal, ROOT, session, stageName } from "./client.js";
import { confirm, h, morphChildren, toast } from "./elements.js";
import { head, link } from "./views.js";
import { home } from "./home.js";
import { invocationList, invocationPage } from "./invocations.js";
import { sessionList, sessionPage } from "./sessions.js";
import { jobList, jobPage } from "./jobs.js";
import { scheduleList, schedulePage } from "./schedules.js";
import { appList, appPage } from "./apps.js";
import { auditList } from "./audit.js";

const REFRESH_MS = 5000;
const LONGEST_MS = 60000;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const PAGES = {
  home: { list: home, key: "h" },
  invocations: { list: invocationList, one: invocationPage, key: "i" },
  sessions: { list: sessionList, one: sessionPage, key: "s" },
  jobs: { list: jobList, one: jobPage, key: "j" },
  schedules: { list: scheduleList, one: schedulePage, key: "c" },
  apps: { list: appList, one: appPage, key: "a" },
  audit: { list: auditList, key: "u" },
};
const FIRST = Object.keys(PAGES)[0];
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const state = { me: null, context: null, pause: sessionStorage.getItem("usher-pause") === "1", timer: 0, failures: 0, shownAt: 0 };

function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", ROOT + path);
  open();
}

function place() {
  const [name = "", id] = location.pathname.slice(ROOT.length).split("/").filter(Boolean);
  return { name: name || FIRST, id: id === undefined ? null : decodeURIComponent(id) };
}

/** Show the page of the address. */
async function open() {
  state.context?.abort.abort();
  clearTimeout(state.timer);
  const { name, id } = place();
  const abort = new AbortController();
  const hooks = [];
  const view = id === null ? PAGES[name]?.list : PAGES[name]?.one;
  const context = { name, id, view, abort, hooks, signal: abort.signal, path: `/${name}`, query: new URLSearchParams(location.search), me: state.me,
    isMounted: false, go, refresh: () => refresh(context), onRefresh: (hook) => hooks.push(hook) };
  state.context = context;
  state.failures = 0;
  drawFrame();
  if (!state.me && !await identify()) return;
  context.me = state.me;
  if (!view) {
    show(context, [head("There is no such page"), h("p", { class: "empty" }, link("", "To the first page"))]);
    return;
  }
  document.title = `${id ? `${id} · ` : ""}${view.title} · Usher ${stageName}`;
  show(context, h("p", { class: "quiet" }, "Loading …"));
  if (!document.activeElement?.closest("input, dialog")) main.focus({ preventScroll: true });
  await refresh(context);
}

function show(context, content) {
  if (context !== state.context) return;
  morphChildren(main, h("main", null, content));
}

/** Ask for the page's data again, and show what has changed. */
async function refresh(context) {
  if (context !== state.context || !context.view) return;
  clearTimeout(state.timer);
  try {
    const data = await context.view.load(context);
    if (context !== state.context) return;
    show(context, context.view.draw(data, context));
    if (!context.isMounted) {
      context.isMounted = true;
      context.view.mount?.(main, context, data);
    }
    context.hooks.forEach((hook) => hook());
    state.failures = 0;
    state.shownAt = Date.now();
    banner.hidden = true;
  } catch (error) {
    if (context !== state.context || context.signal.aborted) return;
    if (!(error instanceof Refusal)) throw error;
    state.failures += 1;
    if (failed(error, context)) return;
  }
  plan();
}

/** Show that a request failed; returns whether it is of no use to ask again. */
function failed(error, context) {
  if (error.status === 401) {
    session.key = "";
    state.me = null;
    signIn(error.message);
    return true;
  }
  const words = error.message || `The dispatcher answered with ${error.status}.`;
  if (error.status === 404 && !context.isMounted) {
    show(context, [head("Not found"), h("p", { class: "empty" }, `${words}: ${context.id}. It may be over for longer than records are kept, or belong to somebody else.`)]);
    return true;
  }
  if (!context.isMounted) show(context, [head(context.view.title), h("p", { class: "empty" }, words)]);
  banner.hidden = false;
  banner.textContent = context.isMounted ? `${words} What you see is of ${new Date(state.shownAt).toLocaleTimeString()}. Trying again.` : `${words} Trying again.`;
  return [400, 403].includes(error.status);
}

function plan() {
  clearTimeout(state.timer);
  if ((state.pause || state.context.view.isStill) && !state.failures) return;
  if (document.hidden) return;
  const wait = Math.min(LONGEST_MS, REFRESH_MS * 2 ** Math.min(state.failures, 5));
  state.timer = setTimeout(() => refresh(state.context), wait);
}

/** Learn who asks. Returns whether the dispatcher said it. */
async function identify() {
  if (asksForKey() && !session.key) {
    signIn("");
    return false;
  }
  const { context } = state;
  try {
    state.me = await call("GET", "/whoami", { signal: context.signal });
    drawFrame();
    return true;
  } catch (error) {
    if (context.signal.aborted) return false;
    if (error.status === 401 && asksForKey()) {
      session.key = "";
      signIn("This key is not known.");
    } else if (error.status === 401 || error.status === 403) {
      show(context, [head("Nobody is known here"), h("p", { class: "empty" }, error.message)]);
    } else {
      show(context, [head("Usher"), h("p", { class: "empty" }, error.message)]);
      state.timer = setTimeout(open, REFRESH_MS);
    }
    return false;
  }
}

function signIn(problem) {
  const words = mode === "jwt" ? "Token" : "API key";
  const form = h("form", { class: "sign-in", onsubmit: (event) => {
    event.preventDefault();
    session.key = form.elements.key.value.trim();
    form.reset();
    open();
  } }, h("label", null, words, h("input", { name: "key", type: "password", autocomplete: "off", required: true })),
  h("button", { type: "submit", class: "strong" }, "Sign in"));
  show(state.context, [head("Sign in"), problem ? h("p", { class: "notice", role: "alert" }, problem) : null, form,
    h("p", { class: "quiet" }, "It stays in this tab, is sent in a header, and is forgotten when the tab is closed or you sign out.")]);
  form.elements.key.focus();
}

function signOut() {
  session.key = "";
  state.me = null;
  open();
}

function togglePause() {
  state.pause = !state.pause;
  sessionStorage.setItem("usher-pause", state.pause ? "1" : "0");
  drawFrame();
  if (state.pause) clearTimeout(state.timer);
  else refresh(state.context);
}

function drawFrame() {
  const { me } = state;
  const here = place().name;
  morphChildren(document.getElementById("tools"), h("div", null,
    h("button", { type: "button", "aria-pressed": String(state.pause), title: "Live updates (p)", onclick: togglePause }, state.pause ? "Paused" : "Live"),
    h("button", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: showKeys }, "?"),
    me ? h("span", { class: "who" }, me.owner, h("span", { class: "quiet" }, ` ${me.role}`)) : null,
    me && asksForKey() ? h("button", { type: "button", onclick: signOut }, "Sign out") : null));
  morphChildren(document.getElementById("nav"), h("nav", null, Object.entries(PAGES).map(([name, { list }]) =>
    link(name === FIRST ? "" : `/${name}`, list.title, { "aria-current": name === here ? "page" : null }))));
}

/** Find what an id or name is of: asks for each kind that it can be. */
async function find(text) {
  if (/^\w+:./.test(text) && !text.startsWith("arn:")) return go(`/invocations?owner=${encodeURIComponent(text)}`);
  const kinds = UUID.test(text) ? ["invocations", "sessions"] : ["jobs", "schedules", "apps"];
  const answers = await Promise.allSettled(kinds.map((kind) => call("GET", `/${kind}/${encodeURIComponent(text)}`)));
  const found = kinds.find((kind, number) => PAGES[kind] && answers[number].status === "fulfilled");
  if (found) return go(`/${found}/${encodeURIComponent(text)}`);
  const silent = answers.find(({ reason }) => reason?.status === 0);
  return toast(silent ? silent.reason.message : `Nothing is called ${text}.`, "bad");
}

function showKeys() {
  const keys = [["/", "search"], ["p", "pause or go on with live updates"], ["r", "refresh"], ["?", "this sheet"], ["Esc", "close"],
    ...Object.values(PAGES).map(({ key, list }) => [`g ${key}`, list.title])];
  confirm("Keys", [], null, h("dl", { class: "keys" }, keys.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))));
}

let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const page = isGoing && Object.entries(PAGES).find(([, { key }]) => key === event.key);
  isGoing = event.key === "g";
  if (page) go(page[0] === FIRST ? "" : `/${page[0]}`);
  else if (event.key === "/") document.getElementById("search-id").focus();
  else if (event.key === "p") togglePause();
  else if (event.key === "r") state.context.refresh();
  else if (event.key === "?") showKeys();
  else return;
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[href]");
  if (!anchor || event.button || event.ctrlKey || event.metaKey || event.shiftKey || anchor.origin !== location.origin) return;
  if (anchor.getAttribute("href").startsWith("#") || (anchor.pathname !== ROOT && !anchor.pathname.startsWith(`${ROOT}/`))) return;
  event.preventDefault();
  go(anchor.pathname.slice(ROOT.length) + anchor.search);
});
document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("search-id");
  if (field.value.trim()) find(field.value.trim());
  field.select();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(state.timer);
  else if (!state.pause && state.me) refresh(state.context);
});
addEventListener("online", () => state.context?.refresh());
addEventListener("popstate", open);
open();
