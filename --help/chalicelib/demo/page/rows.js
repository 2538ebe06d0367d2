// The list of records: newest first, bounded, updated a few times a second at any rate of records.

import { price } from "./listing.js";
import { count } from "./words.js";

const MOST_ROWS = 200;
const MOST_AT_ONCE = 60;
const FILL_MS = 160;

export class Rows {
  #list;
  #waiting = [];
  #passed = 0;
  #filledAt = 0;
  #prices = new Map();
  held = false;

  constructor(list, { colours, onPoint }) {
    this.#list = list;
    this.colours = colours;
    list.addEventListener("pointerover", ({ target }) => onPoint(target.closest("li")?.dataset.id ?? null));
    list.addEventListener("pointerleave", () => onPoint(null));
  }

  add(listing, time) {
    const before = this.#prices.get(listing.id) ?? null;
    if (listing.price !== null) this.#remember(listing);
    const change = before !== null && listing.price !== null ? listing.price - before : 0;
    this.#waiting.push({ listing, change, time });
    if (this.#waiting.length > MOST_AT_ONCE) {
      this.#waiting.shift();
      this.#passed += 1;
    }
  }

  clear() {
    this.#waiting = [];
    this.#passed = 0;
    this.#prices.clear();
    this.#list.replaceChildren();
  }

  frame(now) {
    if (this.held || this.#waiting.length === 0 || now - this.#filledAt < FILL_MS) return;
    this.#filledAt = now;
    const rows = this.#waiting.reverse().map((entry) => this.#row(entry));
    if (this.#passed > 0) rows.push(passedRow(this.#passed));
    this.#waiting = [];
    this.#passed = 0;
    this.#list.prepend(...rows);
    while (this.#list.childElementCount > MOST_ROWS) this.#list.lastElementChild.remove();
  }

  #remember({ id, price: value }) {
    if (this.#prices.size >= 20_000 && !this.#prices.has(id)) {
      this.#prices.delete(this.#prices.keys().next().value);
    }
    this.#prices.set(id, value);
  }

  #row({ listing, change, time }) {
    const row = element("li", "row");
    row.dataset.id = listing.id;
    row.style.setProperty("--tone", this.colours.palette[this.colours.tone(listing)]);
    const main = element("div", "row-main");
    main.append(element("span", "row-title", listing.title), element("span", "row-detail", listing.detail));
    const side = element("div", "row-side");
    const amount = element("span", "row-price", price(listing.price));
    if (change !== 0) amount.prepend(changeMark(change), " ");
    side.append(amount, element("span", "row-status", listing.status));
    row.append(main, side);
    row.title = new Date(time).toLocaleTimeString();
    return row;
  }
}

function changeMark(change) {
  const mark = element("span", change < 0 ? "down" : "up", change < 0 ? "▼" : "▲");
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", `${change < 0 ? "down" : "up"} by ${count(Math.abs(change))}`);
  return mark;
}

function passedRow(records) {
  return element("li", "row-passed", `${count(records)} more went by, too many to list`);
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
