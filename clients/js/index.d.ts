/** Of the package, and of the client library in it. */
export const version: string;

export interface FeedRecord<Data = unknown> {
  /** JSON where it parses, else `{base64}`; of a record of more than 4 MiB `{tooLarge: bytes}`. */
  data: Data;
  partitionKey: string;
  sequenceNumber: string;
  /** When the stream took it, in milliseconds since 1970. */
  arrivedAt: number;
}

export interface Hello {
  type: "hello";
  session: string;
  app: string | null;
  revision: string | null;
  feed?: "redis" | "kinesis" | null;
  /** How long the container waits for a client that dropped. */
  graceSeconds?: number;
  cursor: string | null;
}

export interface Gap {
  type: "gap";
  /** Of these shards records may be missing. */
  shards: string[];
  cursor: string;
}

export interface Bye {
  type: "bye";
  reason: string;
  cursor: string | null;
  detail?: string;
}

/** What session apps and their clients say to each other; `type` is always "app". */
export type AppMessage = { type: "app" } & Record<string, unknown>;

export interface Closed {
  code: number;
  reason: string;
  wasClean: boolean;
  opened: boolean;
  bye: Bye | null;
  cursor: string | null;
}

export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

interface Handlers<Data> {
  /** Resume just after it. */
  cursor?: string | null;
  /** For runtimes without a global one: the class of the package `ws`. */
  WebSocket?: new (url: string) => WebSocketLike;
  onHello?(hello: Hello): void;
  onRecords?(records: FeedRecord<Data>[], cursor: string): void;
  onGap?(gap: Gap): void;
  onMessage?(message: AppMessage): void;
  onBye?(bye: Bye): void;
}

export interface ConnectOptions<Data = unknown> extends Handlers<Data> {
  /** Always the last call. */
  onClose?(close: Closed): void;
}

export interface Connection {
  readonly cursor: string | null;
  readonly state: "connecting" | "open" | "closing" | "closed";
  readonly url: string;
  /** To the session app. False when the connection is not open: nothing was sent. */
  send(message: object): boolean;
  close(): void;
}

/** One connection to one container, at the `url` that the dispatcher gave. */
export function connect<Data = unknown>(url: string, options?: ConnectOptions<Data>): Connection;

export interface Session {
  id: string;
  state: string;
  url: string;
  app: string;
  revision: number | string | null;
  warm?: boolean;
  ip?: string;
  port?: number;
  path?: string;
  connectBy?: string | null;
}

export interface Pending {
  id: string;
  state: string;
}

export interface Refusal {
  status?: number;
  code?: string;
  message?: string;
}

export type HeaderFields = Record<string, string>;
export type HeadersOption = HeaderFields | (() => HeaderFields | undefined | Promise<HeaderFields | undefined>);

export interface FollowState {
  phase: "asking" | "joining" | "live" | "waiting" | "offline" | "ended";
  /** Failures in a row. */
  attempt: number;
  /** Of "waiting": until the next try. */
  seconds: number | null;
  error: Refusal | Error | null;
  bye: Bye | null;
  cursor: string | null;
  pending: Pending | null;
}

export interface FollowOptions<Data = unknown> extends Handlers<Data> {
  /** What the dispatcher answered already: the first container. */
  session?: Pick<Session, "url"> & Partial<Session>;
  /** For the dispatcher. */
  headers?: HeadersOption;
  /** Milliseconds the same container is tried again after a drop; 0: never. */
  rejoin?: number;
  /** Reasons of a bye after which to go on all the same. */
  again?: string[];
  onSession?(session: Session): void;
  onState?(state: FollowState): void;
}

export interface Following {
  readonly cursor: string | null;
  readonly phase: FollowState["phase"];
  readonly session: Session | null;
  /** To the session app of the container that is there; false when none is. */
  send(message: object): boolean;
  /** End a wait. */
  retry(): void;
  close(): void;
}

/** One feed over any number of connections and containers, from the URL of GET /session. */
export function follow<Data = unknown>(
  dispatcherUrl: string | URL,
  options?: FollowOptions<Data>,
): Following;

export interface DispatchState {
  phase: "asking" | "pending" | "waiting";
  attempt: number;
  seconds: number | null;
  error: DispatchError | null;
  pending: Pending | null;
}

export interface DispatchOptions {
  headers?: HeadersOption;
  /** Idempotency-Key; a random one unless given. */
  key?: string;
  /** Milliseconds for all of it; 120000. */
  timeout?: number;
  /** Ends it. A session that is still coming is stopped then, unless `key` was given. */
  signal?: AbortSignal;
  onState?(state: DispatchState): void;
}

/** A session with an address, however often 202, 429 or 503 come before it. Throws DispatchError. */
export function dispatch(dispatcherUrl: string | URL, options?: DispatchOptions): Promise<Session>;

export class DispatchError extends Error {
  constructor(
    message: string,
    facts?: { status?: number; code?: string; id?: string | null; cause?: unknown },
  );
  /** Of the dispatcher's answer; 0 where none came. */
  readonly status: number;
  /** That of the answer, the reason of an ended session, "timeout" or "unreachable". */
  readonly code: string;
  readonly id: string | null;
}
