// Connects the parts: a session controller updates the panel, the map, the list and the figures.

import { Colours } from "./colours.js";
import { Panel } from "./panel.js";
import { Figures, drawGraph } from "./figures.js";
import { arrival, listing, price } from "./listing.js";
import { PlaceMap } from "./map.js";
import { Rows } from "./rows.js";
import { Tip, drawLegend } from "./legend.js";
import { SessionController } from "./session_controller.js";
import { compact, count, milliseconds } from "./words.js";

const byId = (id) => document.getElementById(id);
const base = new URL("../", import.meta.url);
const app = new URLSearchParams(location.search).get("app");
const dark = matchMedia("(prefers-color-scheme: dark)");

const colours = new Colours(dark.matches);
const map = new PlaceMap(byId("map"), colours);
const figures = new Figures();
const tip = new Tip(byId("tip"), byId("map"), map, price);
const rows = new Rows(byId("rows"), { colours, onPoint: (id) => { map.marked = id; } });
const panel = new Panel(act);

let controller = null;
let askedAt = 0;
let waitsForFirst = false;
let cursor = null;

function begin(from) {
  controller = new SessionController({ base, app, cursor: from, report, onRecords });
  controller.begin();
}

function report(turn) {
  if (turn.phase === "over" || turn.phase === "failed") {
    controller = null;
    cursor = turn.cursor;
  }
  if (turn.phase === "joining") {
    waitsForFirst = true;
    askedAt = performance.now() - turn.took;
  }
  panel.show(turn);
}

function act(action) {
  if (action === "leave") {
    controller?.leave();
    return;
  }
  if (action === "retry") {
    controller?.retry();
    return;
  }
  if (action === "fresh") {
    map.clear();
    rows.clear();
  }
  begin(action === "resume" ? cursor : null);
}

function onRecords(records) {
  const [now, clock] = [performance.now(), Date.now()];
  if (waitsForFirst && records.length > 0) {
    waitsForFirst = false;
    panel.firstRecord(now - askedAt);
  }
  for (const record of records) {
    const update = listing(record);
    figures.add(clock - arrival(record), now);
    colours.see(update.price);
    if (update.latitude !== null) map.put(update);
    rows.add(update, clock);
  }
}

function frame(now) {
  map.frame(now);
  rows.frame(now);
  requestAnimationFrame(frame);
}

function everyHalfSecond() {
  const now = performance.now();
  byId("figure-records").textContent = count(figures.records);
  const rate = figures.rate(now);
  byId("figure-rate").textContent = rate >= 100 ? count(Math.round(rate)) : rate.toFixed(1);
  byId("figure-latency").textContent = milliseconds(figures.latency());
  byId("figure-places").textContent = count(map.places.size);
  drawGraph(byId("graph"), figures.history(now));
  byId("hush").hidden = map.places.size > 0;
  byId("hush").textContent = figures.records > 0
    ? "These updates have no latitude and longitude. The list shows them."
    : "The house lights are down. Dots appear with the first update.";
  if (colours.settle() && colours.by === "price") map.repaint();
  drawLegend(byId("legend"), map, colours, compact);
}

function colourBy(by) {
  colours.by = by;
  byId("by-status").setAttribute("aria-pressed", String(by === "status"));
  byId("by-price").setAttribute("aria-pressed", String(by === "price"));
  map.repaint();
  drawLegend(byId("legend"), map, colours, compact);
}

byId("by-status").addEventListener("click", () => colourBy("status"));
byId("by-price").addEventListener("click", () => colourBy("price"));
byId("hold").addEventListener("click", ({ currentTarget }) => {
  rows.held = !rows.held;
  currentTarget.setAttribute("aria-pressed", String(rows.held));
});
dark.addEventListener("change", () => {
  colours.dark = dark.matches;
  map.repaint();
});
byId("map").addEventListener("pointermove", ({ offsetX, offsetY }) => tip.show(map.at(offsetX, offsetY)));
byId("map").addEventListener("pointerleave", () => tip.show(null));
// The page is restored from the back/forward cache: client.js has closed its connection.
addEventListener("pagehide", (event) => event.persisted || controller?.leave());

requestAnimationFrame(frame);
setInterval(everyHalfSecond, 500);
begin(null);
