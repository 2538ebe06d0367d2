// The client library of this very image: served at /<uuid>/client.js, so that page and container
// never disagree. An ES module without dependencies, for browsers and anything else that has a
// global WebSocket.

export const version = "0.1.0";

const CLOSE_NORMAL = 1000;

// Connect to a session. `url` is the one the dispatcher gave (ws://host:port/<uuid>).
//
//   cursor     resume just after it; nothing to start with what comes from now on
//   onHello    ({session, app, revision, cursor})
//   onRecords  (records, cursor)  each {data, partitionKey, sequenceNumber, arrivedAt}
//   onGap      ({shards, cursor})  history that the cursor asked for is gone
//   onMessage  (message)  from the session app
//   onBye      ({reason, cursor, detail})  the container is about to close
//   onClose    ({code, reason, wasClean, opened, bye, cursor})  always the last call
//
// Returns {send(object), close(), cursor, state, url}: `state` is "connecting", "open", "closing" or
// "closed", `cursor` the latest one seen. An exception in a handler is reported and ends nothing.
export function connect(url, options = {}) {
  const { onHello, onRecords, onGap, onMessage, onBye, onClose } = options;
  let cursor = options.cursor || null;
  let state = "connecting";
  let opened = false;
  let bye = null;

  const target = new URL(url);
  if (cursor) target.searchParams.set("cursor", cursor);
  const socket = new WebSocket(target.href);

  function call(handler, ...values) {
    if (!handler) return;
    try {
      handler(...values);
    } catch (error) {
      console.error("session client: a handler failed", error);
    }
  }

  function receive(message) {
    if (typeof message.cursor === "string") cursor = message.cursor;
    switch (message.type) {
      case "hello":
        return call(onHello, message);
      case "records":
        return call(onRecords, message.records, message.cursor);
      case "gap":
        return call(onGap, message);
      case "app":
        return call(onMessage, message);
      case "bye":
        bye = message;
        return call(onBye, message);
      default:
        return undefined; // a later version's: not ours to understand
    }
  }

  socket.onopen = () => {
    opened = true;
    if (state === "connecting") state = "open";
  };
  socket.onmessage = (event) => {
    let message;
    try {
      message = JSON.parse(event.data);
    } catch (error) {
      console.error("session client: a message is not JSON", error);
      return;
    }
    receive(message);
  };
  socket.onclose = (event) => {
    state = "closed";
    const { code, reason, wasClean } = event;
    call(onClose, { code, reason, wasClean, opened, bye, cursor });
  };

  return {
    get cursor() {
      return cursor;
    },
    get state() {
      return state;
    },
    get url() {
      return url;
    },
    // To the session app. False when the connection is not open: nothing was sent.
    send(object) {
      if (socket.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify({ ...object, type: "app" }));
      return true;
    },
    close() {
      if (state === "closed") return;
      state = "closing";
      socket.close(CLOSE_NORMAL);
    },
  };
}
