// The legend of colours and dots.

/** Fill the legend with the colours that are on the map, the most frequent first. */
export function drawLegend(list, map, colours, compact) {
  const entries = colours.by === "status" ? statuses(map, colours) : prices(map, colours, compact);
  const wanted = entries.map(({ label, colour }) => `${label}${colour}`).join("|");
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  list.replaceChildren(...entries.map(entry));
}

function statuses(map, colours) {
  const found = new Map();
  for (const place of map.places.values()) {
    const label = place.status.toLowerCase() || "no status";
    found.set(label, { label, colour: colours.palette[colours.tone(place)], times: (found.get(label)?.times ?? 0) + 1 });
  }
  return [...found.values()].sort((a, b) => b.times - a.times).slice(0, 7);
}

function prices(map, colours, compact) {
  if (map.places.size === 0 || colours.limits.length === 0) return [];
  const limits = colours.limits.map(compact);
  return colours.palette.map((colour, index) => {
    if (index === 0) return { label: `below ${limits[0]}`, colour };
    return { label: `${limits[index - 1]}+`, colour };
  });
}

function entry({ label, colour }) {
  const item = document.createElement("li");
  item.style.setProperty("--tone", colour);
  item.textContent = label;
  return item;
}

export class Tip {
  constructor(box, canvas, map, price) {
    Object.assign(this, { box, canvas, map, price });
  }

  /** Show what the place is, beside it; null hides. */
  show(place) {
    this.box.hidden = !place;
    this.map.marked = place?.id ?? null;
    if (!place) return;
    const title = document.createElement("strong");
    title.textContent = place.title;
    const lines = [place.detail, [this.price(place.price), place.status].filter(Boolean).join(" · ")];
    this.box.replaceChildren(title, ...lines.filter(Boolean).map((line) => {
      const made = document.createElement("span");
      made.textContent = line;
      return made;
    }));
    const [x, y] = this.map.project(place);
    const left = Math.min(Math.max(8, x + 14), this.map.width - this.box.offsetWidth - 8);
    const top = y + 16 + this.box.offsetHeight > this.map.height ? y - this.box.offsetHeight - 12 : y + 14;
    this.box.style.transform = `translate(${left}px, ${top}px)`;
  }
}
