// All texts of the page: reasons, codes and close codes.

const ENDINGS = {
  disconnected: "You left, so the container ended. It was yours alone, and nothing of it remains.",
  never_connected: "Nobody came in time, so the container ended.",
  expired: "The container reached its maximum lifetime and ended.",
  stopped: "The container was asked to stop, and did.",
  failed_to_start: "The container could not be started.",
  unhealthy: "The container stopped answering and was ended.",
  lost: "The container or its host vanished.",
  drained: "The container was of an old revision and made room for a new one.",
  queue_timeout: "There was no room for a container in time.",
  slow_client: "This browser read more slowly than the feed wrote.",
  app_failed: "The application in the container failed. Only you were affected.",
  feed_failed: "The container could not read the feed any longer.",
};

const REFUSALS = {
  400: "The dispatcher did not understand the request.",
  401: "The dispatcher wants to know who you are.",
  403: "The dispatcher does not allow this.",
  404: "The dispatcher does not know this.",
  409: "The request contradicts an earlier one.",
  429: "Too many sessions at once.",
  503: "No container can be had right now.",
};

/** A sentence for the reason of a `bye` or of an ended session. */
export function ending(reason) {
  return ENDINGS[reason] ?? `The container ended (${reason || "no reason given"}).`;
}

/** A short title for an HTTP status that is not a session. */
export function refusal(status) {
  if (REFUSALS[status]) return REFUSALS[status];
  return status >= 500 ? "The dispatcher has a problem." : `The dispatcher answered ${status}.`;
}

/** Sentences for a websocket that closed without a goodbye, and for one that never opened. */
export const BROKEN_OFF = "The connection broke off without a goodbye.";
export const NOT_LET_IN = "It did not let this browser in.";

const FEEDS = { redis: "fan-out", kinesis: "direct" };
const FEED_MEANINGS = {
  redis: "Fan-out: one relay reads the stream for all sessions, which take it from Redis.",
  kinesis: "Direct: this container reads the Kinesis stream by itself.",
};

/** A word and a sentence for the `feed` of a hello. */
export function feedWords(feed) {
  if (!feed) return ["none", "This container said of no feed."];
  return [FEEDS[feed] ?? feed, FEED_MEANINGS[feed] ?? `The container calls its feed ${feed}.`];
}

export function milliseconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 1000) return `${Math.max(0, Math.round(value))} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
  return `${Math.round(value / 60_000)} min`;
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) => whole.format(value);
export const compact = (value) => short.format(value);
