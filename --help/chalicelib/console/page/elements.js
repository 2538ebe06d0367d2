// Creates elements from values as text, never from HTML, and updates them in place.

import { absolute, duration, relative, toneOf } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput"];

/** An element. Properties that begin with "on" are handlers; null and false leave an attribute out. */
export function h(tag, properties, ...children) {
  const element = tag === "svg" || tag.startsWith("svg:")
    ? document.createElementNS(SVG, tag.replace("svg:", "")) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element[name] = value;
    else if (name === "share") element.style.setProperty("--share", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** What an element is known by among its siblings, however many come and go before it. */
const keyOf = ({ dataset }) => dataset?.key ?? dataset?.keep;

/** Make the children of `old` those of `fresh`. Elements that stay keep focus and selection. */
export function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let place = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next);
    const mine = key ? keyed.get(key) : place;
    if (!mine || (!key && keyOf(mine))) {
      old.insertBefore(next, place);
      continue;
    }
    if (mine === place) place = place.nextSibling;
    else old.insertBefore(mine, place);
    morph(mine, next);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName || old.dataset?.keep !== fresh.dataset?.keep) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else if (!old.dataset?.keep) {
    const kept = new Set(["style", "open"]); // a policy forbids the first, the reader chose the second
    for (const { name, value } of fresh.attributes) if (!kept.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) if (!kept.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    if (fresh.style?.length) old.style.setProperty("--share", fresh.style.getPropertyValue("--share"));
    for (const name of HANDLERS) old[name] = fresh[name];
    morphChildren(old, fresh);
  }
}

/** An instant, absolute and relative; a dash for none. `zone`: where, the reader's zone without. */
export function instant(text, zone) {
  if (!text) return "–";
  const at = Date.parse(text);
  return h("time", { datetime: text, title: `${text}, ${absolute(at, zone)}` },
    absolute(at, zone), h("span", { class: "quiet" }, ` ${relative(at, Date.now())}`));
}

/** From one instant to another, or to now. */
export function span(from, to) {
  if (!from) return "–";
  return duration(((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000);
}

/** An id with a button that copies it. */
export function copyable(id, shown) {
  if (!id) return "–";
  return h("span", { class: "id" }, shown ?? h("code", null, id),
    h("button", { type: "button", class: "copy", title: `Copy ${id}`, "aria-label": `Copy ${id}`,
      onclick: () => copy(id) }, h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, h("svg:path", { d: "M5 5V2h9v9h-3M2 5h9v9H2z" }))));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied ${text}`);
  } catch {
    toast("The browser did not let the page copy. Select the id instead.", "bad");
  }
}

/** A short message at the edge of the page. */
export function toast(text, tone = "plain") {
  const note = h("p", { class: "toast", "data-tone": tone }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), tone === "bad" ? 12000 : 5000);
}

/** A state in its colour; the word says the same. */
export function badge(state, tone) {
  return h("span", { class: "badge", "data-tone": tone ?? toneOf(state) }, state);
}

/** Ask before something is done: what happens, and two buttons; one to close it without an action. */
export function confirm(title, consequences, action, ...content) {
  return new Promise((resolve) => {
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title),
      [consequences].flat().map((text) => h("p", null, text)), content,
      h("div", { class: "actions" },
        action ? h("button", { type: "button", class: "strong", onclick: () => close(true) }, action) : null,
        h("button", { type: "button", autofocus: true, onclick: () => close(false) }, action ? "Cancel" : "Close")));
    dialog.oncancel = () => close(false);
    document.body.append(dialog);
    dialog.showModal();
  });
}
