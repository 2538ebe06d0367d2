// Texts of the console: times, durations, expressions, JSON, form bodies. Pure.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const DAY_NAMES = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTH_NAMES = ["January", "February", "March", "April", "May", "June", "July", "August",
  "September", "October", "November", "December"];
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARK = "\ue000whole";

/** A whole number that a double cannot hold, as it was written. */
export class Whole {
  constructor(text) {
    this.text = text;
  }
}

/** Seconds as people say them: "0.4 s", "3 min 4 s", "2 d 5 h". Never negative: clocks differ. */
export function duration(seconds) {
  const all = Math.max(0, seconds);
  if (all < 10) return `${all < 0.05 ? 0 : all.toFixed(1)} s`;
  const whole = Math.round(all);
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const [unit, size] = UNITS[first];
  const [lower, lowerSize] = UNITS[first + 1] ?? ["", 1];
  const rest = Math.floor((whole % size) / lowerSize);
  return rest && lower ? `${Math.floor(whole / size)} ${unit} ${rest} ${lower}` : `${Math.floor(whole / size)} ${unit}`;
}

/** A short time, below a second in milliseconds: "20 ms", "3.2 s". */
export function latency(seconds) {
  return seconds < 1 ? `${Math.max(0, Math.round(seconds * 1000))} ms` : duration(seconds);
}

/** How far an instant is from now: "3 min ago", "in 2 h", "now". Both in milliseconds. */
export function relative(at, now) {
  const seconds = Math.abs(now - at) / 1000;
  if (seconds < 2) return "now";
  const [unit, size] = UNITS.find(([, length]) => seconds >= length);
  const count = Math.floor(seconds / size);
  return at > now ? `in ${count} ${unit}` : `${count} ${unit} ago`;
}

/** Date and time in a zone, with the zone's name: "2027-01-31 09:15:30 GMT+1". */
export function absolute(at, zone) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
    minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short",
  }).formatToParts(at);
  const of = (type) => parts.find((part) => part.type === type).value;
  return `${of("year")}-${of("month")}-${of("day")} ${of("hour")}:${of("minute")}:${of("second")} ${of("timeZoneName")}`;
}

/** Parse JSON; whole numbers that would be rounded become `Whole`. */
export function parseJson(text) {
  const marked = text.replace(TOKENS, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `{"${MARK}":"${token}"}` : token);
  return JSON.parse(marked, (_, value) => {
    const whole = value?.[MARK];
    return typeof whole === "string" && /^-?\d{16,}$/.test(whole) ? new Whole(whole) : value;
  });
}

/** Indented JSON with `Whole`s as they were. */
export function showJson(value, indent = "") {
  if (value instanceof Whole) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const deeper = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((part) => showJson(part, deeper))
    : Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${showJson(part, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return parts.length ? `${open}\n${deeper}${parts.join(`,\n${deeper}`)}\n${indent}${close}` : open + close;
}

/** An AWS schedule expression in words; itself where it is none that is known. */
export function inWords(expression) {
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression);
  if (rate) return rate[1] === "1" ? `every ${rate[2]}` : `every ${rate[1]} ${rate[2]}s`;
  const fields = /^cron\((.*)\)$/.exec(expression)?.[1].trim().split(/\s+/);
  if (fields?.length !== 6) return expression;
  const [minute, hour, day, month, weekday, year] = fields;
  const words = [timeInWords(minute, hour), dayInWords(day, weekday)];
  if (!/^[*?]$/.test(month)) words.push(`in ${named(month, MONTHS, MONTH_NAMES, 1)}`);
  if (!/^[*?]$/.test(year)) words.push(`of ${year.replace("-", " to ")}`);
  return words.filter(Boolean).join(" ");
}

function timeInWords(minute, hour) {
  const every = /^(?:\*|0)\/(\d+)$/;
  const numbers = (text) => /^\d+(,\d+)*$/.test(text);
  const two = (text) => text.padStart(2, "0");
  if (numbers(minute) && numbers(hour)) {
    return `at ${listed(hour.split(",").flatMap((h) => minute.split(",").map((m) => `${two(h)}:${two(m)}`)))}`;
  }
  const hours = hour === "*" ? "" : every.test(hour) ? `every ${every.exec(hour)[1]} hours`
    : `in the hours ${hour.replaceAll("-", " to ").replaceAll(",", ", ")}`;
  if (minute === "*") return `every minute ${hours}`.trim();
  if (every.test(minute)) return `every ${every.exec(minute)[1]} minutes ${hours}`.trim();
  const at = `at minute ${listed(minute.replaceAll("-", " to ").split(","))}`;
  return hours ? `${hours}, ${at}` : `every hour ${at}`;
}

function dayInWords(day, weekday) {
  const any = /^[*?]$/;
  if (any.test(day) && any.test(weekday)) return "every day";
  if (any.test(day)) {
    const nth = /^(\w+)#([1-5])$/.exec(weekday);
    if (nth) return `on the ${["first", "second", "third", "fourth", "fifth"][nth[2] - 1]} ${named(nth[1], DAYS, DAY_NAMES, 1)} of the month`;
    const last = /^(\w+)L$/.exec(weekday);
    if (last) return `on the last ${named(last[1], DAYS, DAY_NAMES, 1)} of the month`;
    return `on ${named(weekday, DAYS, DAY_NAMES, 1)}`;
  }
  if (day === "L") return "on the last day of the month";
  if (day === "LW") return "on the last weekday of the month";
  const near = /^(\d+)W$/.exec(day);
  if (near) return `on the weekday nearest to day ${near[1]} of the month`;
  const every = /^(?:\*|1)\/(\d+)$/.exec(day);
  if (every) return `every ${every[1]} days of the month`;
  return `on day ${listed(day.replaceAll("-", " to ").split(","))} of the month`;
}

function named(text, short, long, first) {
  const name = (word) => long[short.includes(word.toUpperCase()) ? short.indexOf(word.toUpperCase()) : Number(word) - first] ?? word;
  return listed(text.split(",").map((part) => part.split("-").map(name).join(" to ")));
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** The fields of a form for a job's parameters, from their JSON Schema; null where JSON is typed. */
export function fieldsOf(schema) {
  const properties = schema?.type === "object" && schema.properties;
  if (!properties) return null;
  const required = new Set(schema.required ?? []);
  return Object.entries(properties).map(([name, part]) => {
    const choices = (part.anyOf ?? []).filter((one) => one.type !== "null");
    const shape = choices.length === 1 ? { ...part, ...choices[0] } : part;
    const kind = Array.isArray(shape.enum) ? "choice"
      : ["string", "integer", "number", "boolean"].includes(shape.type) ? shape.type : "json";
    return { name, kind, choices: shape.enum ?? [], isRequired: required.has(name), default: part.default,
      title: part.title ?? name, help: part.description ?? "" };
  });
}

/** The parameters as JSON text from the texts of a form's fields. Raises Error in words. */
export function parametersOf(fields, texts) {
  const parts = [];
  for (const field of fields) {
    const text = texts[field.name] ?? "";
    if (text === "") {
      if (field.isRequired && field.kind !== "string") throw new Error(`${field.title}: a value is needed`);
      if (!field.isRequired) continue;
    }
    parts.push(`${JSON.stringify(field.name)}:${valueOf(field, text)}`);
  }
  return `{${parts.join(",")}}`;
}

function valueOf(field, text) {
  const isNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
  if (field.kind === "string") return JSON.stringify(text);
  if (field.kind === "integer" && !/^-?\d+$/.test(text)) throw new Error(`${field.title}: a whole number`);
  if (["integer", "number"].includes(field.kind)) {
    if (!isNumber.test(text)) throw new Error(`${field.title}: a number`);
    return text; // as it was typed: a double would round large numbers
  }
  try {
    JSON.parse(text);
  } catch {
    throw new Error(`${field.title}: JSON, like [1, 2] or "text"`);
  }
  return text;
}

/** A path below the console with those of the filters that are set. */
export function address(path, filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return query.size ? `${path}?${query}` : path;
}

/** How much of something is taken, in percent. */
export function taken(total, left) {
  return total > 0 ? `${Math.round(100 * Math.max(0, total - left) / total)}\u00a0%` : "0\u00a0%";
}

/** The points of a line through one figure of a trend, 120 wide and 30 high, 2 left free above and below. */
export function lineOf(trend, name) {
  const first = Date.parse(trend[0].at), length = Math.max(1, Date.parse(trend.at(-1).at) - first);
  const most = Math.max(1, ...trend.map((point) => point[name]));
  return trend.map((point) => `${(120 * (Date.parse(point.at) - first) / length).toFixed(1)},${(28 - 26 * point[name] / most).toFixed(1)}`).join(" ");
}

const LONG_WAIT_SECONDS = 600;
const LATE_SWEEP_SECONDS = 300;

/** What is wrong, the worst first: {text, path?, what}. `overview` and `apps` as the dispatcher answers. */
export function problemsOf(overview, apps) {
  const problems = [];
  const age = (text) => (Date.parse(overview.at) - Date.parse(text)) / 1000;
  for (const app of apps.filter(({ state }) => state === "refused" || state === "failing")) {
    problems.push({ text: `${app.name}: ${app.failures} starts of revision ${app.revision} in a row failed${app.state === "refused" ? ", no further one is tried for a while" : ""}.`,
      path: `/apps/${encodeURIComponent(app.name)}`, what: app.reason || "Show it" });
  }
  if (overview.alarms === null) problems.push({ text: "CloudWatch does not say which alarms are open.", what: "The dispatcher's log has the reason." });
  for (const { name, since, reason } of overview.alarms ?? []) problems.push({ text: `The alarm ${name} is open for ${duration(age(since))}:`, what: reason });
  for (const [name, count] of Object.entries(overview.deadLetters)) {
    if (count) problems.push({ text: `${count === 1 ? "1 message" : `${count} messages`} about ${name} given up.`, what: `The sweep does what was asked for. Look into the queue usher-STAGE-${name}-dead and the log of its function, then empty it.` });
  }
  if (!overview.sweep) problems.push({ text: "No pass of the sweep has ended yet.", what: "The first one comes within minutes of a deployment." });
  else if (age(overview.sweep.finishedAt) > LATE_SWEEP_SECONDS) {
    problems.push({ text: `The last pass of the sweep ended ${duration(age(overview.sweep.finishedAt))} ago.`, what: "It repairs what else is left: look at the function sweep and its log." });
  }
  if (overview.sweep?.skipped) problems.push({ text: `The last pass of the sweep skipped ${overview.sweep.skipped} pages.`, what: "They were throttled, or ended the function." });
  if (overview.orphans) problems.push({ text: `The last sweep stopped ${overview.orphans === 1 ? "1 task" : `${overview.orphans} tasks`} that nothing claimed.`, what: "A function died between starting them and writing it down." });
  if (overview.hosts === null) problems.push({ text: "ECS does not say which hosts there are.", what: "The dispatcher's log has the reason." });
  for (const id of overview.hosts?.leaving ?? []) problems.push({ text: "A host takes no more tasks.", path: `/hosts/${id}`, what: id });
  const oldest = overview.jobs.oldestWaitingSince;
  if (oldest && age(oldest) > LONG_WAIT_SECONDS) problems.push({ text: `A job waits for ${duration(age(oldest))}.`, path: "/invocations?status=QUEUED", what: "Show what waits" });
  return problems;
}

/** The colour of a state or reason: good, bad, busy (on its way) or plain. */
export function toneOf(state) {
  if (/^(succeeded|FINISHED|ACTIVE|WARM|READY|proven|done)$/.test(state)) return "good";
  if (/^(failed|FAILED|killed|lost|start_failed|timed_out|invalid|failing|refused|KILL_INITIATED|failed_to_start|unhealthy|queue_timeout)$/.test(state)) return "bad";
  if (/^(STARTED|PREPARING|LAUNCHED|LAUNCHING|STARTING|RESERVED|unproven|attempted)$/.test(state)) return "busy";
  return "plain";
}
