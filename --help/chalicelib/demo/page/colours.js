// The colour of a dot: from its status, or from the rank of its price.

const STATUS_TONES = {
  "new": 0, "for sale": 0, "listed": 0,
  "price change": 1, "reduced": 1, "sold prior": 1,
  "under offer": 2, "vendor bid": 2,
  "sold": 3, "sold after auction": 4,
  "passed in": 5, "withdrawn": 5,
};
const OTHER = 6;

// Readable on both backgrounds, and distinguishable with colour blindness.
const STATUS = {
  light: ["#1565d8", "#b97100", "#7b3fe4", "#d0293f", "#d3467e", "#6a7683", "#0d8a78"],
  dark: ["#5aa2ff", "#ffb938", "#ab86ff", "#ff5d6c", "#ff92c2", "#94a1af", "#35d0b8"],
};
const PRICE = {
  light: ["#2f6fb0", "#3a8f9c", "#5f9a4c", "#b58a10", "#cf5a24", "#a8173f"],
  dark: ["#3f7fd0", "#39a9b8", "#79c163", "#f2c83f", "#ff8f4a", "#ff4f72"],
};

export class Colours {
  #prices = [];
  #taken = 0;
  #limits = [];
  by = "status";

  constructor(dark) {
    this.dark = dark;
  }

  get palette() {
    return (this.by === "status" ? STATUS : PRICE)[this.dark ? "dark" : "light"];
  }

  /** The index into the palette. */
  tone({ status, price }) {
    if (this.by === "status") return STATUS_TONES[status.toLowerCase()] ?? OTHER;
    if (price === null) return 0;
    const index = this.#limits.findIndex((limit) => price < limit);
    return index === -1 ? this.#limits.length : index;
  }

  /** Remember a price; a bounded sample, later prices replacing earlier ones. */
  see(price) {
    if (price === null) return;
    this.#prices[this.#taken++ % 2000] = price;
  }

  /** Set the limits between the price colours anew; whether they moved enough to redraw. */
  settle() {
    const sorted = Float64Array.from(this.#prices).sort();
    if (sorted.length === 0) return false;
    const bins = PRICE.light.length;
    const limits = [];
    for (let bin = 1; bin < bins; bin += 1) limits.push(sorted[Math.floor((sorted.length * bin) / bins)]);
    const moved = limits.some((limit, index) => {
      const before = this.#limits[index];
      return before === undefined || Math.abs(limit - before) > before * 0.03;
    });
    if (moved) this.#limits = limits;
    return moved;
  }

  get limits() {
    return this.#limits;
  }
}
