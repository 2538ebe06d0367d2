// Counts records, records a second over the last minute, and latency.

const SECONDS = 60;
const SAMPLES = 1000;

export class Figures {
  #perSecond = new Array(SECONDS).fill(0);
  #second = 0;
  #latencies = new Float64Array(SAMPLES);
  #measured = 0;
  records = 0;

  /** One record arrived; `latency` in milliseconds, NaN where unknown. `now` in milliseconds. */
  add(latency, now) {
    this.#turn(now);
    this.records += 1;
    this.#perSecond[this.#second % SECONDS] += 1;
    if (!Number.isNaN(latency)) this.#latencies[this.#measured++ % SAMPLES] = Math.max(0, latency);
  }

  /** Records a second, a mean over the last three whole seconds. */
  rate(now) {
    this.#turn(now);
    let sum = 0;
    for (let back = 1; back <= 3; back += 1) sum += this.#perSecond[(this.#second - back + SECONDS) % SECONDS];
    return sum / 3;
  }

  /** Median latency of the last thousand records in milliseconds; null before the first. */
  latency() {
    const known = Math.min(this.#measured, SAMPLES);
    if (known === 0) return null;
    const sorted = this.#latencies.slice(0, known).sort();
    return sorted[known >> 1];
  }

  /** Records in each of the last 59 whole seconds, oldest first. */
  history(now) {
    this.#turn(now);
    const oldestFirst = [];
    for (let back = SECONDS - 1; back >= 1; back -= 1) {
      oldestFirst.push(this.#perSecond[(this.#second - back + SECONDS) % SECONDS]);
    }
    return oldestFirst;
  }

  #turn(now) {
    const second = Math.floor(now / 1000);
    if (second - this.#second >= SECONDS) {
      this.#perSecond.fill(0);
      this.#second = second;
    }
    while (this.#second < second) this.#perSecond[++this.#second % SECONDS] = 0;
  }
}

/** Draw the history as bars; the canvas has its size from CSS. */
export function drawGraph(canvas, history) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = getComputedStyle(canvas).color;
  const most = Math.max(1, ...history);
  const step = width / history.length;
  history.forEach((records, index) => {
    const bar = records === 0 ? 1 : Math.max(2, (records / most) * height);
    context.globalAlpha = records === 0 ? 0.25 : 0.9;
    context.fillRect(index * step, height - bar, Math.max(1, step - 1), bar);
  });
}
