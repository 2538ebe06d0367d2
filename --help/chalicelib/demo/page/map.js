// The map: a dot for each place, on a canvas that fits all places so far.
//
// Dots have a separate layer, so that a frame only draws new ones; the layer is redrawn only when the
// view, the size or the colours change.

import { fitView, gridStep, mercator, unmercator, wholeWorld } from "./geometry.js";

const MOST_PLACES = 20_000;
const PIXELS_A_FLASH = 9000; // more rings than this, and nobody sees the dots
const FLASH_MS = 1100;
const REFIT_MS = 500;
const REDRAW_MS = 1500;
const HIT_RADIUS = 14;

export class PlaceMap {
  #canvas;
  #context;
  #layer = document.createElement("canvas");
  #ink = this.#layer.getContext("2d");
  #sprites = new Map();
  #fresh = new Set();
  #flashes = [];
  #view = null;
  #target = null;
  #grown = false;
  #fittedAt = 0;
  #stale = true;
  #overdrawn = false; // a dot was drawn upon another of its listing, whose glow adds up
  #drawnAt = 0;
  #drawnRadius = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  places = new Map();
  marked = null;

  constructor(canvas, colours) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.colours = colours;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
  }

  /** Add or change the place of a listing that has coordinates. */
  put(listing) {
    const known = this.places.delete(listing.id); // set again below: the latest come last
    if (!known && this.places.size >= MOST_PLACES) {
      this.places.delete(this.places.keys().next().value);
    }
    const place = { ...listing, x: listing.longitude, y: mercator(listing.latitude) };
    this.places.set(listing.id, place);
    this.#fresh.add(place);
    this.#grown ||= !known;
    this.#overdrawn ||= known;
  }

  clear() {
    this.places.clear();
    this.#fresh.clear();
    this.#flashes = [];
    this.#view = this.#target = null;
    this.repaint();
  }

  /** Draw everything again with the next frame: colours changed. */
  repaint() {
    this.#sprites.clear();
    this.#stale = true;
  }

  /** The place under a point of the canvas, in CSS pixels. */
  at(x, y) {
    let found = null;
    let nearest = HIT_RADIUS ** 2;
    for (const place of this.places.values()) {
      const [px, py] = this.project(place);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance <= nearest) [found, nearest] = [place, distance];
    }
    return found;
  }

  project({ x, y }) {
    const { cx, cy, scale } = this.#view ?? wholeWorld(this.width, this.height);
    return [this.width / 2 + (x - cx) * scale, this.height / 2 - (y - cy) * scale];
  }

  /** Draw one frame; `now` in milliseconds as from requestAnimationFrame. */
  frame(now) {
    this.#fit(now);
    this.#drawLayer(now);
    const { width, height } = this;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    if (this.#view) this.#drawGrid(context);
    context.drawImage(this.#layer, 0, 0, width, height);
    this.#drawFlashes(context, now);
    if (this.marked && this.places.has(this.marked)) this.#drawMark(context);
    if (this.#view) this.#drawScale(context);
  }

  #resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.#canvas;
    this.width = Math.max(clientWidth, 1);
    this.height = Math.max(clientHeight, 1);
    for (const canvas of [this.#canvas, this.#layer]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.ratio = ratio;
    this.#grown = true;
    this.#fittedAt = 0;
    this.repaint();
  }

  #fit(now) {
    if (this.#grown && this.places.size > 0 && now - this.#fittedAt > REFIT_MS) {
      this.#target = fitView([...this.places.values()], this.width, this.height);
      this.#grown = false;
      this.#fittedAt = now;
    }
    if (!this.#target) return;
    const before = this.#view;
    this.#view = before && !this.#still.matches ? ease(before, this.#target) : { ...this.#target };
    this.#stale ||= !before || !sameView(before, this.#view);
  }

  #drawLayer(now) {
    if (!this.#view) return;
    const radius = this.#radius();
    const worn = this.#overdrawn && now - this.#drawnAt > REDRAW_MS;
    if (this.#stale || worn || radius !== this.#drawnRadius) {
      this.#ink.clearRect(0, 0, this.width, this.height);
      for (const place of this.places.values()) this.#dot(place);
      this.#stale = this.#overdrawn = false;
      this.#drawnAt = now;
      this.#drawnRadius = radius;
    } else {
      for (const place of this.#fresh) this.#dot(place);
    }
    let room = (this.width * this.height) / PIXELS_A_FLASH - this.#flashes.length;
    for (const place of this.#fresh) {
      if (room-- <= 0) break;
      this.#flashes.push({ place, since: now });
    }
    this.#fresh.clear();
  }

  #dot(place) {
    const sprite = this.#sprite(this.colours.tone(place));
    const [x, y] = this.project(place);
    this.#ink.drawImage(sprite, x - sprite.size / 2, y - sprite.size / 2, sprite.size, sprite.size);
  }

  /** A dot with its glow, drawn once for each colour. */
  #sprite(tone) {
    const radius = this.#radius();
    const key = `${tone}/${radius}`;
    const known = this.#sprites.get(key);
    if (known) return known;
    const sprite = document.createElement("canvas");
    sprite.size = Math.ceil(radius * 6);
    sprite.width = sprite.height = Math.ceil(sprite.size * this.ratio);
    const ink = sprite.getContext("2d");
    ink.scale(this.ratio, this.ratio);
    const middle = sprite.size / 2;
    const colour = this.colours.palette[tone];
    const glow = ink.createRadialGradient(middle, middle, radius * 0.6, middle, middle, middle);
    glow.addColorStop(0, `${colour}${this.colours.dark ? "52" : "26"}`);
    glow.addColorStop(1, `${colour}00`);
    ink.fillStyle = glow;
    ink.fillRect(0, 0, sprite.size, sprite.size);
    ink.beginPath();
    ink.arc(middle, middle, radius, 0, Math.PI * 2);
    ink.fillStyle = `${colour}e6`;
    ink.fill();
    this.#sprites.set(key, sprite);
    return sprite;
  }

  /** The more crowded the map, the smaller its dots. */
  #radius() {
    const pixelsEach = (this.width * this.height) / Math.max(1, this.places.size);
    if (pixelsEach < 300) return 1.8;
    return pixelsEach < 2000 ? 2.4 : 3.4;
  }

  #drawFlashes(context, now) {
    this.#flashes = this.#flashes.filter(({ since }) => now - since < FLASH_MS);
    for (const { place, since } of this.#flashes) {
      const age = (now - since) / FLASH_MS;
      const [x, y] = this.project(place);
      const colour = this.colours.palette[this.colours.tone(place)];
      context.globalAlpha = 1 - age;
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(x, y, this.#still.matches ? 6 : 3 + 13 * (1 - (1 - age) ** 3), 0, Math.PI * 2);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  #drawMark(context) {
    const [x, y] = this.project(this.places.get(this.marked));
    context.strokeStyle = this.colours.dark ? "#fff" : "#111";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, 8, 0, Math.PI * 2);
    context.stroke();
  }

  #drawGrid(context) {
    const { cx, cy, scale } = this.#view;
    const step = gridStep(90 / scale);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    context.strokeStyle = this.colours.dark ? "rgba(160,185,210,.10)" : "rgba(30,60,90,.10)";
    context.fillStyle = this.colours.dark ? "rgba(170,190,210,.62)" : "rgba(40,60,80,.72)";
    context.font = "10px ui-monospace, Menlo, Consolas, monospace";
    context.lineWidth = 1;
    context.beginPath();
    const west = cx - this.width / 2 / scale;
    for (let degree = Math.ceil(west / step) * step; ; degree += step) {
      const x = this.width / 2 + (degree - cx) * scale;
      if (x > this.width) break;
      context.moveTo(x, 0);
      context.lineTo(x, this.height);
      if (x > 50) context.fillText(`${Math.abs(degree).toFixed(digits)}°${degree < 0 ? "W" : "E"}`, x + 4, 13);
    }
    const south = unmercator(cy - this.height / 2 / scale);
    for (let degree = Math.ceil(south / step) * step; degree < 85; degree += step) {
      const y = this.height / 2 - (mercator(degree) - cy) * scale;
      if (y < 0) break;
      context.moveTo(0, y);
      context.lineTo(this.width, y);
      if (y > 24) context.fillText(`${Math.abs(degree).toFixed(digits)}°${degree < 0 ? "S" : "N"}`, 6, y - 4);
    }
    context.stroke();
  }

  #drawScale(context) {
    const { cy, scale } = this.#view;
    const kilometresAPixel = (111.32 * Math.cos((unmercator(cy) * Math.PI) / 180)) / scale;
    const kilometres = gridStep(kilometresAPixel * 70);
    const length = kilometres / kilometresAPixel;
    const [right, base] = [this.width - 14, this.height - 14];
    context.strokeStyle = context.fillStyle = this.colours.dark ? "#b9c6d3" : "#3a4a5a";
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(right - length, base - 4);
    context.lineTo(right - length, base);
    context.lineTo(right, base);
    context.lineTo(right, base - 4);
    context.stroke();
    const label = kilometres >= 1 ? `${kilometres} km` : `${Math.round(kilometres * 1000)} m`;
    context.textAlign = "right";
    context.fillText(label, right, base - 7);
    context.textAlign = "left";
  }
}

function ease(from, to) {
  if (sameView(from, to)) return to;
  const part = 0.12;
  return {
    cx: from.cx + (to.cx - from.cx) * part,
    cy: from.cy + (to.cy - from.cy) * part,
    scale: from.scale * (to.scale / from.scale) ** part,
  };
}

function sameView(one, other) {
  const pixels = Math.max(Math.abs(one.cx - other.cx), Math.abs(one.cy - other.cy)) * other.scale;
  return pixels < 0.2 && Math.abs(one.scale / other.scale - 1) < 0.0005;
}
