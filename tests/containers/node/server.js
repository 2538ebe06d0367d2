// A session container in Node.js: RFC 6455 by hand over `http` and `crypto`, the contract of
// docs/contracts.md, and no npm package. Instead of reading a feed it echoes `app` messages.
// docs/session-apps-other-languages.md explains it.

"use strict";

const crypto = require("node:crypto");
const http = require("node:http");
const https = require("node:https");

const env = process.env;
const uuid = env.SESSION_UUID;
const port = Number(env.SESSION_PORT || 8080);
const connectDeadlineSeconds = Number(env.CONNECT_DEADLINE_SECONDS || 30);
const maxSessionSeconds = Number(env.MAX_SESSION_SECONDS || 14400);
const allowedOrigins = (env.ALLOWED_ORIGINS || "*").split(",").map((origin) => origin.trim());

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_MESSAGE_BYTES = 64 * 1024;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

let client = null;
let ready = false;
let over = false;
let knowUser; // called with {owner, claims, query} once the dispatcher has answered
const whoever = new Promise((resolve) => (knowUser = resolve));

// Callbacks: in order, each until acknowledged; 4xx but 408, 425 and 429 mean "never".

let reported = Promise.resolve();

function report(type, fields = {}) {
  if (!env.CALLBACK_URL || !env.SESSION_KEY) return knowUser(null);
  reported = reported.then(async () => {
    for (let pause = 100; ; pause = Math.min(pause * 2, 5000)) {
      const { status, body } = await post({ type, ...fields });
      if (type === "connected" && status === 200) knowUser(userIn(body));
      if (status < 500 && ![0, 408, 425, 429].includes(status)) return;
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    }
  });
}

function userIn(body) {
  try {
    return JSON.parse(body).user ?? null;
  } catch {
    return null;
  }
}

function post(message) {
  const body = JSON.stringify(message);
  const headers = {
    Authorization: `Bearer ${env.SESSION_KEY}`,
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
  };
  const { request } = env.CALLBACK_URL.startsWith("https:") ? https : http;
  return new Promise((resolve) => {
    const call = request(env.CALLBACK_URL, { method: "POST", headers, timeout: 5000 }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode, body: text }));
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve({ status: 0, body: "" }));
    call.end(body);
  });
}

// Ends the process once the dispatcher has the callback, or after a few seconds.
function end(reason, code = 0) {
  if (over) return;
  over = true;
  report("stopping", { reason });
  const exit = () => process.exit(code);
  reported.then(exit);
  setTimeout(exit, 3000);
}

// Frames

function frame(opcode, payload) {
  const length = payload.length;
  let head;
  if (length < 126) {
    head = Buffer.from([0x80 | opcode, length]);
  } else if (length < 65536) {
    head = Buffer.from([0x80 | opcode, 126, length >> 8, length & 255]);
  } else {
    head = Buffer.alloc(10);
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

class Client {
  constructor(socket) {
    this.socket = socket;
    this.buffer = Buffer.alloc(0);
    this.message = null;
    this.closing = false;
    socket.on("data", (data) => this.receive(data));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.left());
  }

  send(message) {
    this.socket.write(frame(TEXT, Buffer.from(JSON.stringify(message))));
  }

  close(code, reason) {
    if (this.closing) return;
    this.closing = true;
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code);
    payload.write(reason, 2);
    this.socket.end(frame(CLOSE, payload));
  }

  bye(reason, code) {
    if (this.closing) return;
    this.send({ type: "bye", reason, cursor: null });
    this.close(code, reason);
  }

  left() {
    client = null;
    if (over) return;
    report("disconnected");
    end("disconnected");
  }

  receive(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    while (!this.closing && this.readFrame()) {
      // all complete frames
    }
  }

  // Removes one frame from the buffer. False when it is incomplete.
  readFrame() {
    const { buffer } = this;
    if (buffer.length < 2) return false;
    const [first, second] = buffer;
    const final = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    if (first & 0x70 || !(second & 0x80)) return this.close(1002, "bad frame");
    let length = second & 0x7f;
    let at = 2;
    if (length === 126) {
      if (buffer.length < 4) return false;
      length = buffer.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      return this.close(1009, "too big");
    }
    if (opcode >= 8 && (length > 125 || !final)) return this.close(1002, "bad control frame");
    if (buffer.length < at + 4 + length) return false;
    const mask = buffer.subarray(at, at + 4);
    const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length));
    for (let i = 0; i < length; i++) payload[i] ^= mask[i & 3];
    this.buffer = buffer.subarray(at + 4 + length);
    this.handle(opcode, final, payload);
    return true;
  }

  handle(opcode, final, payload) {
    if (opcode === CLOSE) return this.close(1000, "");
    if (opcode === PING) return this.socket.write(frame(PONG, payload));
    if (opcode === PONG) return undefined;
    if (opcode === BINARY) return this.close(1003, "binary frames are not understood");
    if (opcode > BINARY || (opcode === TEXT) !== (this.message === null)) {
      return this.close(1002, "bad frame");
    }
    this.message = Buffer.concat([this.message || Buffer.alloc(0), payload]);
    if (this.message.length > MAX_MESSAGE_BYTES) return this.close(1009, "too big");
    if (!final) return undefined;
    const whole = this.message;
    this.message = null;
    return this.understand(whole);
  }

  understand(payload) {
    let message;
    try {
      message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
    } catch {
      return this.close(1007, "not JSON");
    }
    if (!message || message.type !== "app") return this.close(1008, "not an app message");
    if (message.who) return whoever.then((user) => this.send({ type: "app", user }));
    return this.send({ ...message, echo: true });
  }
}

// The port

function same(path, secret) {
  const digest = (text) => crypto.createHash("sha256").update(text).digest();
  return crypto.timingSafeEqual(digest(path), digest(secret));
}

const CLIENT_LIBRARY = `export const version = "node";
export function connect(url, { cursor, onHello, onMessage, onBye, onClose } = {}) {
  const socket = new WebSocket(url);
  const handlers = { hello: onHello, app: onMessage, bye: onBye };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    const handler = handlers[message.type];
    if (handler) handler(message);
  };
  socket.onclose = ({ code, reason, wasClean }) => onClose && onClose({ code, reason, wasClean });
  return {
    cursor: cursor || null,
    get state() { return ["connecting", "open", "closing", "closed"][socket.readyState]; },
    send: (object) => socket.send(JSON.stringify({ ...object, type: "app" })),
    close: () => socket.close(1000),
  };
}
`;

function answer(response, status, type, body, headers = {}) {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    Connection: "close",
    ...headers,
  });
  response.end(body);
}

const server = http.createServer((request, response) => {
  const [path] = request.url.split("?");
  if (request.method !== "GET") {
    return answer(response, 405, "text/plain", "Only GET is understood\n", { Allow: "GET" });
  }
  if (path === "/healthz") {
    const health = { status: client ? "connected" : "waiting", ready, connected: client !== null };
    return answer(response, 200, "application/json", JSON.stringify({ ...health, feed: null }));
  }
  if (same(path, `/${uuid}/client.js`)) {
    const cors = { "Access-Control-Allow-Origin": "*" };
    return answer(response, 200, "text/javascript; charset=utf-8", CLIENT_LIBRARY, cors);
  }
  return answer(response, 404, "text/plain", "Not found\n");
});

function refuse(socket, status, text) {
  const head = `HTTP/1.1 ${status} ${text}\r\nContent-Type: text/plain\r\nConnection: close\r\n`;
  socket.end(`${head}Content-Length: ${text.length + 1}\r\n\r\n${text}\n`);
}

server.on("upgrade", (request, socket, head) => {
  const { origin, "sec-websocket-key": key } = request.headers;
  const isAllowed = !origin || allowedOrigins.includes("*") || allowedOrigins.includes(origin);
  socket.on("error", () => socket.destroy());
  if (!same(request.url.split("?")[0], `/${uuid}`)) return refuse(socket, 404, "Not found");
  if (!isAllowed) return refuse(socket, 403, "This origin may not connect");
  if (!key) return refuse(socket, 400, "Bad handshake");
  if (client || over) return refuse(socket, 409, "This session has its client");
  clearTimeout(connectDeadline);
  if (head.length > 0) socket.unshift(head);
  const accept = crypto.createHash("sha1").update(key + GUID).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  client = new Client(socket);
  report("connected");
  return client.send({
    type: "hello",
    session: env.SESSION_ID,
    app: env.SESSION_APP_NAME || "node",
    revision: env.SESSION_REVISION || "",
    cursor: null,
  });
});

function leave(reason) {
  if (client) client.bye(reason, 1001);
  end(reason);
}

const connectDeadline =
  connectDeadlineSeconds > 0
    ? setTimeout(() => leave("never_connected"), connectDeadlineSeconds * 1000)
    : null;
if (maxSessionSeconds > 0) setTimeout(() => leave("expired"), maxSessionSeconds * 1000);
process.on("SIGTERM", () => leave("stopped"));
process.on("SIGINT", () => leave("stopped"));

server.listen(port, env.SESSION_HOST || "0.0.0.0", () => {
  process.stderr.write(`listening on port ${server.address().port}\n`);
  ready = true;
  report("ready");
});
