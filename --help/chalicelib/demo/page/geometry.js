// Positions on the map. Coordinates are degrees: longitude, and latitude stretched as in
// Mercator's projection, so that towns keep their shape.

const MOST_NORTHERN = 85;
const MARGIN = 1.16;
const SMALLEST_SPAN = 0.02;
const OUTLIERS = 0.004; // a stray coordinate must not shrink the town to a point

export function mercator(latitude) {
  const bounded = Math.max(-MOST_NORTHERN, Math.min(MOST_NORTHERN, latitude));
  const radians = (bounded * Math.PI) / 180;
  return (Math.log(Math.tan(Math.PI / 4 + radians / 2)) * 180) / Math.PI;
}

export function unmercator(y) {
  return ((2 * Math.atan(Math.exp((y * Math.PI) / 180)) - Math.PI / 2) * 180) / Math.PI;
}

/** The view {cx, cy, scale (pixels a degree)} that shows the places, but for a few far out. */
export function fitView(places, width, height) {
  const [west, east] = range(places.map(({ x }) => x));
  const [south, north] = range(places.map(({ y }) => y));
  const spanX = Math.max((east - west) * MARGIN, SMALLEST_SPAN);
  const spanY = Math.max((north - south) * MARGIN, SMALLEST_SPAN);
  return {
    cx: (west + east) / 2,
    cy: (south + north) / 2,
    scale: Math.min(width / spanX, height / spanY),
  };
}

export function wholeWorld(width, height) {
  return { cx: 0, cy: 0, scale: Math.min(width, height) / 360 };
}

/** The smallest of 1, 2, 5 times a power of ten that is at least `smallest`. */
export function gridStep(smallest) {
  const power = 10 ** Math.floor(Math.log10(smallest));
  const factor = [1, 2, 5, 10].find((each) => each * power >= smallest * 0.9999);
  return factor * power;
}

function range(values) {
  const sorted = Float64Array.from(values).sort();
  const skipped = Math.floor(sorted.length * OUTLIERS);
  return [sorted[skipped], sorted[sorted.length - 1 - skipped]];
}
