// The frame of all pages: navigation, the caller's identity, live updates, the search field, keys.
//
// A page has a `title`, `load(context)` for its data, `draw(data, context)` for its elements, and
// optionally `mount(main, context, data)`, called after the first draw; `isStill` if its data does not
// change, or `pollSeconds(data)`, the interval of loads, null for never. If `isWatched(data)`, it is
// loaded again at once: `load(context, seconds, abort)` then waits up to `seconds` for a change.

import { asksForKey, call, mode, Refusal, ROOT, session, stageName } from "./client.js";
import { confirm, h, morphChildren, toast } from "./elements.js";
import { beginSignIn, endSignIn, hasSignInPage } from "./sign_in.js";
import { head, link } from "./views.js";

const REFRESH_MS = 5000;
const LONGEST_MS = 60000;
const WATCH_SECONDS = 25; // within the 29 s of API Gateway
const WATCH_PAUSE_MS = 1000; // a dispatcher where too many wait already answers at once
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const frame = { pages: {}, first: "", route: null, hasKeys: false };
const state = { me: null, context: null, pause: sessionStorage.getItem("usher-pause") === "1", timer: 0, watch: null, failures: 0, shownAt: 0 };

export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", ROOT + path);
  open();
}

const pathOf = (name) => name === frame.first ? "" : `/${name}`;

function place() {
  const words = location.pathname.slice(ROOT.length).split("/").filter(Boolean).map(decodeURIComponent);
  return frame.route(words);
}

/** Show the page of the address. */
async function open() {
  state.context?.abort.abort();
  stopUpdates();
  const { name, id } = place();
  const abort = new AbortController();
  const hooks = [];
  const view = id === null ? frame.pages[name]?.list : frame.pages[name]?.one;
  const context = { name, id, view, abort, hooks, signal: abort.signal, path: pathOf(name), query: new URLSearchParams(location.search), me: state.me,
    isMounted: false, go, refresh: () => refresh(context), onRefresh: (hook) => hooks.push(hook), isActive: () => context === state.context && !document.hidden && !isPaused() };
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
async function refresh(context, seconds = 0) {
  if (context !== state.context || !context.view) return;
  stopUpdates();
  const watch = seconds ? new AbortController() : null;
  state.watch = watch;
  try {
    const data = await context.view.load(context, seconds, watch?.signal);
    if (watch?.signal.aborted) return;
    if (context !== state.context) return;
    context.data = data;
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
    if (context !== state.context || context.signal.aborted || watch?.signal.aborted) return;
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
    show(context, [head("Not found"), h("p", { class: "empty" }, `${words}: ${context.id}. It may be over for longer than records are kept, or belong to somebody else. ${frame.hasKeys ? "The search above finds what any id is of. " : ""}`, link(context.path, "To the list"))]);
    return true;
  }
  if (!context.isMounted) show(context, [head(context.view.title), h("p", { class: "empty" }, words)]);
  banner.hidden = false;
  banner.textContent = context.isMounted ? `${words} What you see is of ${new Date(state.shownAt).toLocaleTimeString()}. Trying again.` : `${words} Trying again.`;
  return [400, 403].includes(error.status);
}

const isPaused = () => frame.hasKeys && state.pause;

/** Neither ask again nor go on waiting for a change. */
function stopUpdates() {
  clearTimeout(state.timer);
  state.watch?.abort();
  state.watch = null;
}

function plan() {
  clearTimeout(state.timer);
  const { view, data } = state.context;
  if (!state.failures && !isPaused() && !document.hidden && data && view.isWatched?.(data)) {
    state.timer = setTimeout(() => refresh(state.context, WATCH_SECONDS), WATCH_PAUSE_MS);
    return;
  }
  const seconds = view.pollSeconds ? data && view.pollSeconds(data) : view.isStill ? null : REFRESH_MS / 1000;
  if ((isPaused() || !seconds) && !state.failures) return;
  if (document.hidden) return;
  const wait = Math.min(LONGEST_MS, (seconds || REFRESH_MS / 1000) * 1000 * 2 ** Math.min(state.failures, 5));
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
  if (mode === "jwt" && hasSignInPage) {
    const go = h("button", { type: "button", class: "strong", onclick: beginSignIn }, "Sign in");
    show(state.context, [head("Sign in"), problem ? h("p", { class: "notice", role: "alert" }, problem) : null, h("p", null, go),
      h("p", { class: "quiet" }, "On the sign-in page of this deployment's users. The token stays in this tab, and is forgotten when the tab is closed or you sign out.")]);
    main.querySelector("button").focus();
    return;
  }
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
  if (state.pause) stopUpdates();
  else refresh(state.context);
}

function drawFrame() {
  const { me } = state;
  const here = place().name;
  morphChildren(document.getElementById("tools"), h("div", null,
    frame.hasKeys ? [h("button", { type: "button", "aria-pressed": String(state.pause), title: "Live updates (p)", onclick: togglePause }, state.pause ? "Paused" : "Live"),
    h("button", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: showKeys }, "?")] : null,
    me ? h("span", { class: "who" }, me.owner, h("span", { class: "quiet" }, ` ${me.role}`)) : null,
    me && asksForKey() ? h("button", { type: "button", onclick: signOut }, "Sign out") : null));
  morphChildren(document.getElementById("nav"), h("nav", null, Object.entries(frame.pages).map(([name, { list }]) =>
    link(pathOf(name), list.title, { "aria-current": name === here ? "page" : null }))));
  document.querySelector('#nav [aria-current="page"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function showKeys() {
  const keys = [["/", "search"], ["p", "pause or go on with live updates"], ["r", "refresh"], ["?", "this sheet"], ["Esc", "close"],
    ...Object.values(frame.pages).map(({ key, list }) => [`g ${key}`, list.title])];
  confirm("Keys", [], null, h("dl", { class: "keys" }, keys.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))));
}

let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (!frame.hasKeys || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const page = isGoing && Object.entries(frame.pages).find(([, { key }]) => key === event.key);
  isGoing = event.key === "g";
  if (page) go(pathOf(page[0]));
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
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stopUpdates();
  else if (!isPaused() && state.me) refresh(state.context);
});
addEventListener("online", () => state.context?.refresh());
addEventListener("popstate", open);

/**
 * Show the page of the address. `pages` by name; `first`: the one at the root; `route`: from the words of an
 * address to {name, id}; `find`: what the search field does with a text, without it there is no such field;
 * `hasKeys`: whether there are shortcuts of one key, and updates can be paused.
 */
export function start({ pages, first, route, find, hasKeys = false }) {
  Object.assign(frame, { pages, first, route, hasKeys });
  const search = document.getElementById("search");
  search.hidden = !find;
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = document.getElementById("search-id");
    if (field.value.trim()) find(field.value.trim());
    field.select();
  });
  begin();
}

/** The first page, after what the sign-in page may have sent. */
async function begin() {
  const problem = mode === "jwt" && hasSignInPage ? await endSignIn() : "";
  await open();
  if (problem) signIn(problem);
}
